"""How many dead letters of outsiders are kept whole; what is beyond is counted and sent on, not lost.

A record of an outsider never stops a service, however many are bad: anybody may send them. So the
table must not grow with them. Each source and each account has room for some open letters; the rest
goes to the dead-letter topic, acknowledged before the cursor moves, and is counted by source, reason
and day. So it is on topics of our own: what shows that it is ours and cannot be handled parks its
shard, and what does not is a letter like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from schemas.registry import Topic
from services.runtime.flow.letters.letters import (
    RefusedRecord,
    account_of,
    passing_letter,
    source_of,
)
from services.runtime.flow.pace import shared
from services.runtime.log.event_log import DeadLetter, Overflow, Transaction

PER_SOURCE_MAX: Final = 500
PER_ACCOUNT_MAX: Final = 20
SOURCES_MAX: Final = 20
"""A writer can invent any number of sources; those beyond the limit share one room."""
OTHER_SOURCES: Final = "others"
COUNTED_AGAIN_AFTER: Final = timedelta(seconds=5)

Publish = Callable[[Sequence[DeadLetter]], Awaitable[None]]
"""Returns when the broker has each letter; raises `Transient` when it does not take them."""
Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


class Letters(Protocol):
    """Where an intake keeps dead letters."""

    async def send_ahead(
        self, refused: Sequence[RefusedRecord], now: datetime
    ) -> Mapping[Place, DeadLetter]:
        """Publish the letters that there is no room for, before any lock is held; return them."""

    async def keep(
        self,
        tx: Transaction,
        letters: Sequence[DeadLetter],
        now: datetime,
        sent: Collection[Place] = (),
    ) -> None:
        """Keep each letter in the table or on the dead-letter topic, before `tx` moves the cursor."""


@dataclass(slots=True)
class _Open:
    """Open letters: as counted in the table, and those added since."""

    at: datetime
    by_source: Counter[str] = field(default_factory=Counter)
    by_account: Counter[tuple[str, str]] = field(default_factory=Counter)

    def room_of(self, source: str) -> str:
        known = source in self.by_source or len(self.by_source) < SOURCES_MAX
        return source if known else OTHER_SOURCES

    def has_none_left(self, source: str) -> bool:
        """Say whether a source has used up its room."""
        return self.by_source[source] >= PER_SOURCE_MAX

    def is_full(self, source: str, account_id: str | None) -> bool:
        """Say whether there is no place for a letter."""
        if self.has_none_left(source):
            return True
        return account_id is not None and self.by_account[source, account_id] >= PER_ACCOUNT_MAX

    def take(self, letter: DeadLetter) -> None:
        """Take a place for a letter."""
        self.by_source[letter.source] += 1
        self.by_account[letter.source, letter.account_id or ""] += 1

    def is_recent(self, now: datetime) -> bool:
        """Say whether it is not yet to be counted anew."""
        return timedelta() <= now - self.at < COUNTED_AGAIN_AFTER


class LetterRoom:
    """Keeps the dead letters of one service."""

    def __init__(self, publish: Publish, topics: Mapping[str, Topic]) -> None:
        """Give to `publish` what there is no room for; `topics` say who may write where."""
        self._topics = topics
        self._publish = publish
        self._open: _Open | None = None

    async def send_ahead(
        self, refused: Sequence[RefusedRecord], now: datetime
    ) -> Mapping[Place, DeadLetter]:
        """Publish the letters that surely have no room, as the table was counted lately.

        Whoever waits for a shard does not wait for the broker then. When their records come again,
        because nothing was recorded, so do the letters.

        Raises:
            Transient: the broker does not take what the table has no room for.
        """
        taken = self._open
        if taken is None or not taken.is_recent(now):
            return {}
        found = [self._beyond(each, taken, now) async for each in shared(refused)]
        beyond = [each for each in found if each is not None]
        if beyond:
            await self._publish(beyond)
        return {place_of(each): each for each in beyond}

    async def keep(
        self,
        tx: Transaction,
        letters: Sequence[DeadLetter],
        now: datetime,
        sent: Collection[Place] = (),
    ) -> None:
        """Keep each letter in the table or on the dead-letter topic, before `tx` moves the cursor.

        Those in places that were `sent` ahead are counted.

        Raises:
            Transient: the broker does not take what the table has no room for.
        """
        taken = await self._counted_lately(tx, now)
        whole: list[DeadLetter] = []
        beyond: list[DeadLetter] = []
        for letter in letters:
            roomed = _roomed(letter, taken)
            if place_of(letter) in sent or taken.is_full(roomed.source, roomed.account_id):
                beyond.append(roomed)
            else:
                taken.take(roomed)
                whole.append(roomed)
        if whole:
            await tx.add_dead_letters(whole)
        if unsent := [each for each in beyond if place_of(each) not in sent]:
            await self._publish(unsent)
        if beyond:
            await tx.count_overflow(_counted(beyond))

    async def _counted_lately(self, tx: Transaction, now: datetime) -> _Open:
        taken = self._open
        # Counted anew now and then: letters are closed, and other processes keep theirs. What a
        # transaction counted here and rolled back is forgotten then.
        if taken is None or not taken.is_recent(now):
            taken = _Open(now)
            for source, account_id, count in await tx.open_letters():
                taken.by_source[source] += count
                taken.by_account[source, account_id or ""] += count
            self._open = taken
        return taken

    def _beyond(self, refused: RefusedRecord, taken: _Open, now: datetime) -> DeadLetter | None:
        """Return the letter of a record when there is no place for it."""
        room = taken.room_of(source_of(refused.record, self._topics))
        if taken.has_none_left(room):
            return passing_letter(refused, room, None, now)
        account_id = account_of(refused.record)
        if taken.is_full(room, account_id):
            return passing_letter(refused, room, account_id, now)
        return None


class KeepAll:
    """Keeps every letter in the table."""

    async def send_ahead(
        self, _refused: Sequence[RefusedRecord], _now: datetime
    ) -> Mapping[Place, DeadLetter]:
        return {}

    async def keep(
        self,
        tx: Transaction,
        letters: Sequence[DeadLetter],
        _now: datetime,
        _sent: Collection[Place] = (),
    ) -> None:
        await tx.add_dead_letters(letters)


def place_of(letter: DeadLetter) -> Place:
    """Return where the record of a letter lies."""
    return letter.topic, letter.partition, letter.record_offset


def _roomed(letter: DeadLetter, taken: _Open) -> DeadLetter:
    """Return the letter under the source whose room it uses."""
    room = taken.room_of(letter.source)
    return letter if room == letter.source else letter._replace(source=room)


def _counted(letters: Sequence[DeadLetter]) -> list[Overflow]:
    counts = Counter((each.topic, each.source, each.reason) for each in letters)
    newest = {(each.topic, each.source, each.reason): each for each in letters}
    return [
        Overflow(*key, counts[key], each.dead_lettered_at, each.partition, each.record_offset)
        for key, each in sorted(newest.items())
    ]
