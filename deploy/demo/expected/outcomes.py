"""What must be seen in the end, counted: events and dead letters by phase, emails, accepted orders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.demo.expected.prices import WORLD

Counts = Counter[tuple[str, str]]
"""(name, detail) -> how many."""


@dataclass(slots=True)
class Outcomes:
    """Everything that is expected because of what phase `phase`, and those before it, send.

    A fact is told to its customer at once, or as soon as it is known in which language.
    """

    phase: int = 0
    events: defaultdict[int, Counts] = field(default_factory=lambda: defaultdict(Counter))
    dead_letters: defaultdict[int, Counts] = field(default_factory=lambda: defaultdict(Counter))
    emails: Counts = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    _locales: dict[str, str] = field(default_factory=dict)
    _untold: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def event(self, account_id: str, name: str, detail: str = "") -> None:
        """Expect one event, and the email about it if it has one."""
        self.events[self.phase][name, detail] += 1
        if name in WORLD["email"]:
            self._untold[account_id].append(WORLD["email"][name])
            self._tell(account_id)

    def contact(self, account_id: str, locale: str) -> None:
        """The customer's emails are in this language from now on."""
        self._locales[account_id] = locale
        self._tell(account_id)

    def as_json(self) -> dict[str, Any]:
        """Return everything with its sums over all phases."""
        return {
            "detail_fields": WORLD["detail"],
            "outcomes": nested(sum(self.events.values(), Counter())),
            "outcomes_by_phase": {str(key): nested(each) for key, each in self.events.items()},
            "dead_letters": nested(sum(self.dead_letters.values(), Counter())),
            "dead_letters_by_phase": {
                str(key): nested(each) for key, each in self.dead_letters.items()
            },
            "emails": nested(self.emails),
            "orders": dict(sorted(self.orders.items())),
        }

    def _tell(self, account_id: str) -> None:
        if account_id in self._locales:
            for template in self._untold.pop(account_id, []):
                self.emails[template, self._locales[account_id]] += 1
                self.events[self.phase]["NotificationSent", template] += 1


def nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Return `{name: {detail: count}}`, in order and without zeros."""
    result: dict[str, dict[str, int]] = {}
    for (outer, inner), count in sorted(counts.items()):
        if count:
            result.setdefault(outer, {})[inner] = count
    return result


def flat(counts: Mapping[str, Mapping[str, int]]) -> Counts:
    """Return `{name: {detail: count}}` as one counter."""
    return Counter({(name, key): n for name, row in counts.items() for key, n in row.items()})
