"""Which status of HTTP goes with which outcome that a gateway or a provider reports."""

from __future__ import annotations

from typing import Final

from services.runtime.http_access import HttpAnswer

_DONE: Final = frozenset({"captured", "action_required", "found", "refunded", "activated"})
_SAID: Final = frozenset({"not_found", "declined", "refused", "not_refundable"})


def bears(answer: HttpAnswer, outcome: str) -> bool:
    """Say whether the status of `answer` goes with the outcome in its body."""
    if outcome in _DONE:
        return answer.reports_success
    if outcome in _SAID:
        return answer.reports_answer
    return True
