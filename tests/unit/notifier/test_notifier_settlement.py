"""A person says what became of an email: recorded with who and why, and not sent again."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from schemas.notifier import NotificationFailed, NotificationFailureReason, NotificationSent
from services.notifier.channels.email.effect import EMAIL
from services.notifier.decider import IgnoredReason, decide
from services.notifier.notification.commands import SettleMessage
from services.notifier.notification.evolution import NotificationState, Settled, Untold
from services.runtime.effect import EffectRun
from services.runtime.errors import SettlementRefused
from services.runtime.processor import Decision, Ignored, Settlement
from tests.unit.notifier.builders import NOW, POLICY, fact_of

BY = {"by": "li.wei", "reason": "log of the mail server"}


def settle(state: NotificationState | None = None, **said: Any) -> Decision | Ignored:
    fact = fact_of()
    stream_id = f"notification/{fact.key}"
    run = EffectRun(
        shard=0,
        effect_id=f"email/{fact.key}",
        kind="email",
        account_id="acct-1",
        stream_id=stream_id,
        payload=fact.payload(),
        attempt=3,
        recovered=True,
        checkpoint=None,
    )
    command = EMAIL.settle(Settlement.model_validate(BY | said), run, NOW)
    assert isinstance(command, SettleMessage)
    return decide(command, state or Untold(), POLICY)


def test_email_found_sent_is_recorded_without_bytes_that_nobody_saw() -> None:
    decision = settle(outcome="sent", reference="4Qm1", at=NOW - timedelta(hours=1))

    assert isinstance(decision, Decision)
    (sent,) = decision.events
    assert isinstance(sent, NotificationSent)
    assert (sent.settled_by, sent.settlement_reason) == ("li.wei", "log of the mail server")
    assert (sent.message_id, sent.locale) == ("4Qm1", "und")
    assert sent.message_sha256 == sha256(b"").hexdigest()
    assert sent.sent_at == NOW - timedelta(hours=1)
    assert decision.effects == ()


def test_email_given_up_is_recorded_and_not_tried_again() -> None:
    decision = settle(outcome="not_sent")

    assert isinstance(decision, Decision)
    (failed,) = decision.events
    assert isinstance(failed, NotificationFailed)
    assert failed.reason is NotificationFailureReason.DEADLINE_PASSED
    assert (failed.settled_by, failed.settlement_reason) == ("li.wei", "log of the mail server")
    assert decision.effects == ()


def test_settled_email_is_not_settled_twice() -> None:
    assert settle(Settled(), outcome="not_sent") == Ignored(IgnoredReason.ALREADY_SETTLED)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({"outcome": "sent"}, "sent needs --reference"),
        ({"outcome": "captured", "reference": "4Qm1"}, "is sent or not_sent"),
    ],
)
def test_incomplete_or_foreign_outcome_is_refused(said: dict[str, Any], answer: str) -> None:
    with pytest.raises(SettlementRefused, match=answer):
        settle(**said)
