"""Counts what a downstream system sees on the topics; whatever is not as it must be counts apart."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from deploy.demo.expected.outcomes import Counts
from schemas import EVENTS

UNREADABLE: Final = "unreadable"
CONTRADICTING: Final = "another event with its id"
_NAMES: Final = {model.wire_type(): model.__name__ for model, _ in EVENTS}
_ORDER_ID: Final = {"RenewalAccepted": "renewal_id", "TopUpAccepted": "topup_id"}


@dataclass(slots=True)
class Tally:
    """Counts by name and by the field that the manifest tells apart.

    An event of an unknown type, or of another version, counts under its whole type. `notifications`
    is (template, locale) by Message-ID, `orders` the accepted orders as (account id, order id),
    `last_seen` the monotonic time of the last event of each name.
    """

    detail_fields: Mapping[str, str]
    counts: Counts = field(default_factory=Counter)
    notifications: dict[str, tuple[str, str]] = field(default_factory=dict)
    orders: set[tuple[str, str]] = field(default_factory=set)
    last_seen: dict[str, float] = field(default_factory=dict)
    _seen: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.counts.total()

    def missing(self, expected: Counts) -> int:
        """Return how many of the expected events have not been seen yet."""
        return (expected - self.counts).total()

    def orders_by_account(self) -> Counts:
        """Return (account id, "") -> how many orders were accepted."""
        return Counter((account_id, "") for account_id, _ in self.orders)

    def see(self, headers: Iterable[tuple[str, bytes]], value: bytes | None) -> None:
        try:
            told = dict(headers)
            identity, wire_type = (told["ce_source"], told["ce_id"]), told["ce_type"]
            data = json.loads(value or b"")
            name = _NAMES.get(wire_type.decode(), wire_type.decode())
            detail = str(data.get(self.detail_fields.get(name, ""), ""))
        except (KeyError, ValueError, AttributeError):
            self.counts[UNREADABLE, ""] += 1
            return
        content = (wire_type, value or b"")
        # A relay may publish an event again after a crash; a consumer goes by its id.
        known = self._seen.setdefault(identity, content)
        if known is content:
            self._count(name, detail, data)
        elif known != content:
            self.counts[name, CONTRADICTING] += 1

    def _count(self, name: str, detail: str, data: dict[str, Any]) -> None:
        self.last_seen[name] = time.monotonic()
        self.counts[name, detail] += 1
        if name == "NotificationSent":
            self.notifications[data["message_id"]] = (data["template"], data["locale"])
        if name in _ORDER_ID:
            self.orders.add((data["account_id"], data[_ORDER_ID[name]]))
