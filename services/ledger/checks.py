"""What a check of the books says, and the checks that read every event once. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import ValidationError

from schemas.envelope import Event
from services.ledger.amounts import amounts_of
from services.ledger.postings import Balances, post
from services.ledger.projection import AMOUNT_COLUMNS, amount_rows
from services.ledger.rules import RuleSet
from services.runtime.errors import Halt
from services.runtime.kafka.cloudevents import validation_summary
from services.runtime.log.event_log import GENESIS_HASH, ShardHead, StoredEvent, chain_hash

RESTORE = "stop the ledger and restore the newest backup that passes; Kafka fills in the rest"
REBUILD = "run `perennial ledger rebuild-cache`; when it comes back, look for another writer"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `problem` is the first thing that differs, None when all is well."""

    name: str
    compared: str
    problem: str | None = None
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Say whether nothing differs."""
        return self.problem is None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive events of one shard with their rows of the amount table, by position."""

    events: Sequence[StoredEvent]
    amounts: Mapping[int, list[tuple[object, ...]]]


class EventCheck(Protocol):
    """A check that sees the whole log, shard after shard, each in the order of positions."""

    def take(self, chunk: Chunk) -> None:
        """Look at the next events."""

    def result(self) -> Check:
        """Say what was found."""


@dataclass(slots=True)
class ChainCheck:
    """Recomputes the hash of every event from its columns, its body and the hash before it."""

    heads: Mapping[int, ShardHead]
    events: int = 0
    problem: str | None = None
    _last: dict[int, bytes] = field(default_factory=dict)

    def take(self, chunk: Chunk) -> None:
        """Chain the next events; a break is reported once, and the chain goes on behind it."""
        for stored in chunk.events:
            self.events += 1
            previous = self._last.get(stored.shard, GENESIS_HASH)
            if chain_hash(previous, stored) != stored.hash and self.problem is None:
                self.problem = f"{place(stored)} is not what was hashed when it was recorded"
            self._last[stored.shard] = stored.hash

    def result(self) -> Check:
        """Compare the ends of the chains with the heads, too."""
        for shard, head in sorted(self.heads.items()):
            if self.problem is None and self._last.get(shard, GENESIS_HASH) != head.hash:
                self.problem = f"the chain of shard {shard} does not end in the hash of its head"
        compared = f"{self.events} hashes in {len(self.heads)} shards"
        return Check("hash chain", compared, self.problem, RESTORE)


@dataclass(slots=True)
class PositionCheck:
    """Looks for missing positions: each shard holds 1..head."""

    heads: Mapping[int, ShardHead]
    problem: str | None = None
    _last: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, chunk: Chunk) -> None:
        """Count on from the last position."""
        for stored in chunk.events:
            expected = self._last[stored.shard] + 1
            if stored.position != expected and self.problem is None:
                self.problem = f"position {expected} of shard {stored.shard} is missing"
            self._last[stored.shard] = stored.position

    def result(self) -> Check:
        """Compare the last positions with the heads, too."""
        for shard, head in sorted(self.heads.items()):
            if self.problem is None and self._last[shard] != head.position:
                last = self._last[shard]
                self.problem = f"shard {shard} ends at {last} and its head at {head.position}"
        positions = sum(head.position for head in self.heads.values())
        compared = f"{positions} positions in {len(self.heads)} shards"
        return Check("dense positions", compared, self.problem, RESTORE)


@dataclass(slots=True)
class BodyCheck:
    """Reads every body, posts it by the rules, and compares its rows of the amount table."""

    rules: RuleSet
    balances: Balances = field(default_factory=lambda: defaultdict(int))
    events: int = 0
    rows: int = 0
    unreadable: str | None = None
    differing: str | None = None

    def take(self, chunk: Chunk) -> None:
        """Post the next events."""
        for stored in chunk.events:
            self.events += 1
            try:
                self._book(stored, stored.event(), chunk.amounts.get(stored.position, []))
            except ValidationError as error:
                self._cannot_read(stored, validation_summary(error))
            except Halt as error:
                self._cannot_read(stored, str(error))

    def _book(self, stored: StoredEvent, event: Event, found: list[tuple[object, ...]]) -> None:
        for posting in post(event, stored.occurred_at, self.rules).postings:
            key = (stored.shard, posting.account, posting.currency)
            self.balances[key] += posting.amount_minor
        expected = amount_rows(stored, amounts_of(event))
        self.rows += len(expected)
        if expected != found and self.differing is None:
            self.differing = f"{place(stored)}: {_first_difference(expected, found)}"

    def _cannot_read(self, stored: StoredEvent, why: str) -> None:
        if self.unreadable is None:
            self.unreadable = f"{place(stored)}: {why}"

    def result(self) -> Check:
        """Say whether every event could be read and posted."""
        compared = f"{self.events} bodies, posted by the rules of {self.rules.name}"
        return Check("bodies and rules", compared, self.unreadable, RESTORE)

    def amounts(self, beyond: str | None) -> Check:
        """Say whether the amount table is what the bodies state; `beyond`: a row of no event."""
        compared = f"{self.rows} rows of the amount table with the bodies"
        return Check("amount table", compared, self.differing or beyond, RESTORE)


def place(stored: StoredEvent) -> str:
    """Name an event by its place in the log."""
    return f"shard {stored.shard} position {stored.position} ({stored.type} {stored.event_id})"


def _first_difference(expected: list[tuple[object, ...]], found: list[tuple[object, ...]]) -> str:
    for ordinal, (wanted, row) in enumerate(zip(expected, found, strict=False)):
        for name, first, second in zip(AMOUNT_COLUMNS, wanted, row, strict=True):
            if first != second:
                return f"{name} of amount {ordinal} is {second}, the body says {first}"
    return f"{len(found)} amounts where the body states {len(expected)}"
