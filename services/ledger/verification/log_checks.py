"""Checks of what the ledger numbers and takes: streams, sequences, cursors, dead letters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from schemas.topics import ORDERS, Source
from services.ledger.verification.body_check import RESTORE
from services.ledger.wallets import WALLETS
from services.runtime.log.event_log import ShardHead, StoredEvent
from services.runtime.log.stream_ids import REFUSED, of_kind
from services.runtime.log.tables import cursors, dead_letters
from services.runtime.verify.checks import Check
from services.runtime.verify.slices import SliceMark

if TYPE_CHECKING:
    import asyncpg

EVENTS_AT_ONCE: Final = 20_000
_LAST_ACCOUNT: Final = """
SELECT max(account_id) FROM (
    SELECT account_id FROM event WHERE account_id > $1 ORDER BY account_id LIMIT $2
) AS next
"""
_WALLETS: Final = f"{of_kind(WALLETS.name)}%"
_WALLET_STREAMS: Final = f"""
SELECT stream_id, count(*) AS events, max(stream_version) AS newest FROM event
WHERE stream_id LIKE '{_WALLETS}' AND account_id > $1 AND account_id <= $2 GROUP BY stream_id
HAVING min(stream_version) <> 1 OR max(stream_version) <> count(*)
ORDER BY stream_id LIMIT 1
"""  # noqa: S608 - constants
_FILED_STREAMS: Final = f"""
SELECT max(stream_id) FILTER (WHERE NOT moved) AS stream_id, count(*) AS events,
    max(stream_version) FILTER (WHERE NOT moved) AS newest
FROM (
    SELECT stream_id, stream_version, stream_id LIKE '{_WALLETS}' AS moved,
        CASE WHEN stream_id LIKE '{_WALLETS}' THEN correlation_id
            WHEN stream_id LIKE '{REFUSED}%' THEN stream_id
            ELSE split_part(stream_id, '/', 2) END AS order_id
    FROM event WHERE source = $3 AND account_id > $1 AND account_id <= $2
) AS told
GROUP BY order_id HAVING max(stream_version) FILTER (WHERE NOT moved) > count(*)
ORDER BY stream_id LIMIT 1
"""  # noqa: S608 - constants
_STREAMS: Final = (
    "SELECT count(DISTINCT stream_id) FROM event WHERE account_id > $1 AND account_id <= $2"
)


async def check_streams(connection: asyncpg.Connection) -> Check:
    """Look for versions missing from a stream, some accounts at a time.

    A wallet's stream is numbered here. An order's stream keeps the numbers that orders gave; those
    of its events that concern the wallet are in the wallet's stream, of the same account.
    """
    streams, problem = 0, None
    last = ""
    while end := await connection.fetchval(_LAST_ACCOUNT, last, EVENTS_AT_ONCE):
        streams += await connection.fetchval(_STREAMS, last, end)
        row = await connection.fetchrow(_WALLET_STREAMS, last, end)
        row = row or await connection.fetchrow(_FILED_STREAMS, last, end, Source.ORDERS)
        if row is not None and problem is None:
            problem = (
                f"{row['stream_id']} goes up to version {row['newest']} and the log holds "
                f"{row['events']} of its events"
            )
        last = end
    return Check("dense stream versions", f"{streams} streams", problem, RESTORE)


@dataclass(slots=True)
class _Numbers:
    events: int = 0
    newest: int = 0
    gap: int | None = None


@dataclass(slots=True)
class SequenceCheck:
    """What each source numbered 1..n is held, in order, and n is the high-water mark of the source."""

    marks: Mapping[tuple[str, int], int]
    _held: dict[tuple[str, int], _Numbers] = field(default_factory=lambda: defaultdict(_Numbers))

    @classmethod
    def of(
        cls, marks: Mapping[tuple[str, int], SliceMark], heads: Mapping[int, ShardHead]
    ) -> SequenceCheck:
        """Expect what was taken last of others, and the own numbers that the heads hold."""
        own = {
            (str(Source.LEDGER), shard): head.sequence
            for shard, head in heads.items()
            if head.sequence
        }
        return cls({key: mark.sequence for key, mark in marks.items()} | own)

    def look(self, events: Sequence[StoredEvent]) -> None:
        """Count on the numbers of each source."""
        for stored in events:
            held = self._held[stored.source, stored.shard]
            if stored.sequence != held.newest + 1 and held.gap is None:
                held.gap = held.newest + 1
            held.events, held.newest = held.events + 1, max(held.newest, stored.sequence)

    def events_of(self, source: str) -> dict[int, int]:
        """Return how many events of a source each shard holds; after the walk."""
        return {
            shard: held.events for (of, shard), held in sorted(self._held.items()) if of == source
        }

    def result(self) -> Check:
        keys = sorted(self.marks.keys() | self._held.keys())
        problem = None
        for key in keys:
            held, mark = self._held.get(key, _Numbers()), self.marks.get(key, 0)
            if problem is None and (held.gap is not None or held.newest != mark):
                where = f"sequence {held.gap or held.events + 1}" if held.events else "everything"
                problem = (
                    f"{where} of {key[0]} in shard {key[1]} is missing: {held.events} "
                    f"events up to {held.newest}, high-water mark {mark}"
                )
        events = sum(held.events for held in self._held.values())
        compared = f"{events} sequences of {len(keys)} sources and shards"
        return Check("complete sequences", compared, problem, RESTORE)


async def check_cursors(connection: asyncpg.Connection, held: Mapping[int, int]) -> Check:
    """Look for events of orders, `held` by shard, that the cursors say have not been read yet."""
    nexts = {row[0]: row[1] for row in await connection.fetch(cursors.OF_TOPIC, ORDERS.name)}
    problem = None
    for shard, events in held.items():
        if problem is None and nexts.get(shard, 0) < events:
            problem = (
                f"shard {shard} holds {events} events of orders and its cursor "
                f"stands at offset {nexts.get(shard)}"
            )
    compared = f"{len(held)} cursors of {ORDERS.name}"
    return Check("cursors", compared, problem, RESTORE)


async def check_dead_letters(connection: asyncpg.Connection) -> Check:
    """Look for open dead letters: the books may lack them."""
    kept = await connection.fetchval(dead_letters.KEPT)
    row = await connection.fetchrow(dead_letters.FIRST_OPEN)
    problem = f"dead letter {row['dead_letter_id']} is open ({row['reason']})" if row else None
    advice = "see `perennial dlq list --service ledger`, then redrive it or discard it"
    return Check("no open dead letter", f"{kept} dead letters", problem, advice)
