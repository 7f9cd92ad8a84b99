"""How many dead letters of outsiders are kept whole; what is beyond is counted and sent on, not lost.

A record of an outsider never stops a service, however many are bad: anybody may send them. So the
table must not grow with them. Each source and each account has room for some open letters; the rest
goes to the dead-letter topic, acknowledged before the cursor moves, and is counted by source, reason
and day. So it is on topics of our own: what shows that it is ours and cannot be handled parks its
shard, and what does not is a letter like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from schemas.topics import TOPICS
from services.runtime.log.event_log import DeadLetter, Overflow, Transaction

PER_SOURCE_MAX: Final = 500
PER_ACCOUNT_MAX: Final = 20
SOURCES_MAX: Final = 20
"""Whoever writes to a topic invents as many sources as he likes; those beyond share one room."""
OTHER_SOURCES: Final = "others"
COUNTED_AGAIN_AFTER: Final = timedelta(seconds=5)
OWN_TOPICS: Final = frozenset(topic.name for topic in TOPICS if not topic.external)

Publish = Callable[[Sequence[DeadLetter]], Awaitable[None]]
"""Returns when the broker has each letter; raises `Transient` when it does not take them."""
KeepLetters = Callable[[Transaction, Sequence[DeadLetter], datetime], Awaitable[None]]


@dataclass(slots=True)
class _Open:
    """Open letters: as counted in the table, and those added since."""

    at: datetime
    by_source: Counter[str] = field(default_factory=Counter)
    by_account: Counter[tuple[str, str]] = field(default_factory=Counter)

    def room_of(self, source: str) -> str:
        known = source in self.by_source or len(self.by_source) < SOURCES_MAX
        return source if known else OTHER_SOURCES

    def take(self, letter: DeadLetter) -> bool:
        """Take a place for a letter, or say that there is none."""
        account = (letter.source, letter.account_id or "")
        if self.by_source[letter.source] >= PER_SOURCE_MAX:
            return False
        if letter.account_id is not None and self.by_account[account] >= PER_ACCOUNT_MAX:
            return False
        self.by_source[letter.source] += 1
        self.by_account[account] += 1
        return True


class LetterRoom:
    """Keeps the dead letters of one service."""

    def __init__(self, publish: Publish) -> None:
        """Give to `publish` what there is no room for."""
        self._publish = publish
        self._open: _Open | None = None

    async def keep(self, tx: Transaction, letters: Sequence[DeadLetter], now: datetime) -> None:
        """Keep each letter in the table or on the dead-letter topic, before `tx` moves the cursor.

        Raises:
            Transient: the broker does not take what the table has no room for.
        """
        whole, beyond = await self._sorted(tx, letters, now)
        await tx.add_dead_letters(whole)
        if beyond:
            await self._publish(beyond)
            await tx.count_overflow(_counted(beyond))

    async def _sorted(
        self, tx: Transaction, letters: Sequence[DeadLetter], now: datetime
    ) -> tuple[list[DeadLetter], list[DeadLetter]]:
        taken = self._open
        # Counted anew now and then: letters are closed, and other processes keep theirs. What a
        # transaction counted here and rolled back is forgotten then.
        if taken is None or not timedelta() <= now - taken.at < COUNTED_AGAIN_AFTER:
            taken = _Open(now)
            for source, account_id, count in await tx.open_letters():
                taken.by_source[source] += count
                taken.by_account[source, account_id or ""] += count
            self._open = taken
        whole: list[DeadLetter] = []
        beyond: list[DeadLetter] = []
        for letter in letters:
            room = taken.room_of(letter.source)
            roomed = letter if room == letter.source else replace(letter, source=room)
            (whole if taken.take(roomed) else beyond).append(roomed)
        return whole, beyond


def _counted(letters: Sequence[DeadLetter]) -> list[Overflow]:
    counts = Counter((each.topic, each.source, each.reason) for each in letters)
    newest = {(each.topic, each.source, each.reason): each for each in letters}
    return [
        Overflow(*key, counts[key], each.dead_lettered_at, each.partition, each.record_offset)
        for key, each in sorted(newest.items())
    ]


async def keep_all(tx: Transaction, letters: Sequence[DeadLetter], _now: datetime) -> None:
    """Keep every letter in the table."""
    await tx.add_dead_letters(letters)
