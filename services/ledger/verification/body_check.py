"""The check of the books that reads every event once, and what to do about what it finds. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from schemas import BILLING
from schemas.envelope import Event
from services.ledger.books.projection import AMOUNT_COLUMNS, amount_rows
from services.ledger.rules.amounts import Amount, amounts_of
from services.ledger.rules.postings import Balances, post
from services.ledger.rules.rule_set import RuleSet
from services.ledger.verification.refund_check import RefundCheck
from services.runtime.errors import Park
from services.runtime.kafka.records.cloudevents import validation_summary
from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.checks import Check, place

RESTORE = "stop the ledger and restore the newest backup that passes; Kafka fills in the rest"
REBUILD = "run `perennial ledger rebuild-cache`; when it comes back, look for another writer"
_GATEWAY: Final = AMOUNT_COLUMNS.index("gateway")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events of one shard with their rows of the amount table, by position."""

    events: Sequence[StoredEvent]
    amounts: Mapping[int, list[tuple[object, ...]]]


@dataclass(slots=True)
class BodyCheck:
    """Reads every body, posts it by the rules, and compares its rows of the amount table."""

    rules: RuleSet
    balances: Balances = field(default_factory=lambda: defaultdict(int))
    refunds: RefundCheck = field(default_factory=RefundCheck)
    events: int = 0
    rows: int = 0
    unreadable: str | None = None
    differing: str | None = None
    stray: str | None = None

    def take(self, chunk: Chunk) -> None:
        for stored in chunk.events:
            self.events += 1
            try:
                self._book(stored, stored.event(BILLING), chunk.amounts.get(stored.position, []))
            except ValidationError as error:
                self._cannot_read(stored, validation_summary(error, BILLING.field_names))
            except Park as error:
                self._cannot_read(stored, str(error))
        positions = {stored.position for stored in chunk.events}
        for position in sorted(chunk.amounts.keys() - positions):
            self.see_stray((chunk.events[0].shard, position))

    def see_stray(self, where: tuple[int, int] | None) -> None:
        """Note the shard and the position of amounts that belong to no event."""
        if where is not None and self.stray is None:
            self.stray = f"shard {where[0]} position {where[1]} has amounts and no event"

    def _book(self, stored: StoredEvent, event: Event, found: list[tuple[object, ...]]) -> None:
        for posting in post(event, stored.occurred_at, self.rules).postings:
            key = (stored.shard, posting.account, posting.currency)
            self.balances[key] += posting.amount_minor
        self.refunds.look(stored, event)
        stated = amounts_of(event)
        kept = [
            self._as_kept(amount, row, stored.occurred_at)
            for amount, row in zip(stated, found, strict=False)
        ]
        expected = amount_rows(stored, kept + stated[len(kept) :])
        self.rows += len(expected)
        if expected != found and self.differing is None:
            self.differing = f"{place(stored)}: {_first_difference(expected, found)}"

    def _as_kept(self, amount: Amount, row: tuple[object, ...], occurred_at: datetime) -> Amount:
        """Return the amount without its gateway where the row has none and no account needs it.

        Versions before kept none.
        """
        if row[_GATEWAY] is None and not self.rules.for_kind(amount.kind, occurred_at).names(
            "gateway"
        ):
            return replace(amount, gateway=None)
        return amount

    def _cannot_read(self, stored: StoredEvent, why: str) -> None:
        if self.unreadable is None:
            self.unreadable = f"{place(stored)}: {why}"

    def result(self) -> Check:
        """Say whether every event could be read and posted."""
        compared = f"{self.events} bodies, posted by the rules of {self.rules.name}"
        return Check("bodies and rules", compared, self.unreadable, RESTORE)

    def amounts(self) -> Check:
        """Say whether the amount table is what the bodies state, and of no other events."""
        compared = f"{self.rows} rows of the amount table with the bodies"
        return Check("amount table", compared, self.differing or self.stray, RESTORE)


def _first_difference(expected: list[tuple[object, ...]], found: list[tuple[object, ...]]) -> str:
    for ordinal, (wanted, row) in enumerate(zip(expected, found, strict=False)):
        for name, first, second in zip(AMOUNT_COLUMNS, wanted, row, strict=True):
            if first != second:
                return f"{name} of amount {ordinal} is {second}, the body says {first}"
    return f"{len(found)} amounts where the body states {len(expected)}"
