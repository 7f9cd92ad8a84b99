"""What must be seen in the end, counted: events and dead letters by phase, messages, accepted orders."""

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

    A fact is told to its customer at once, or as soon as it is known how and in which language.
    """

    phase: int = 0
    events: defaultdict[int, Counts] = field(default_factory=lambda: defaultdict(Counter))
    dead_letters: defaultdict[int, Counts] = field(default_factory=lambda: defaultdict(Counter))
    messages: Counts = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    _contacts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _untold: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def event(self, account_id: str, name: str, detail: str = "") -> None:
        """Expect one event, and the messages about it if it has any."""
        self.events[self.phase][name, detail] += 1
        if name in WORLD["email"]:
            self._untold[account_id].append(WORLD["email"][name])
            self._tell(account_id)

    def contact(self, account_id: str, contact: Mapping[str, Any]) -> None:
        """The customer is told there, and so, from now on: by email where no channel is named."""
        self._contacts[account_id] = contact
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
            "messages": nested(self.messages),
            "orders": dict(sorted(self.orders.items())),
        }

    def _tell(self, account_id: str) -> None:
        contact = self._contacts.get(account_id, {})
        for template in self._untold.pop(account_id, []) if contact else []:
            for channel in contact.get("channels", ["email"]):
                self.messages[f"{template} by {channel}", contact["locale"]] += 1
                self.events[self.phase]["NotificationSent", template] += 1
                self.events[self.phase]["NotificationDelivered", template] += channel == "sms"


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
