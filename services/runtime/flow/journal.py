"""Decides commands in order on their streams and records what follows, in one transaction.

The same path serves consumed events (`intake`) and the results of effects (`effects`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from services.runtime.flow.log_ends import in_the_log, positions_of, refuse_lost
from services.runtime.flow.session import Session, Stream
from services.runtime.flow.work import (
    Recorded,
)
from services.runtime.log.event_log import LogEnd, Transaction
from services.runtime.processor import Processor

CACHED_STREAMS_MAX: Final = 10_000
CACHED_EVENTS_MAX: Final = 400_000
"""What a state keeps grows with the events behind it, so a long stream takes the room of many."""


def _unsharded(account_id: str) -> int:
    message = f"nothing says which shard is {account_id}'s: give the journal `shard_of`"
    raise TypeError(message)


class Journal:
    """Folds, decides and appends for one service, a transaction at a time.

    Stream states are cached per shard and trusted only while the locked head is the one they were
    folded up to: any other writer moves the head, and the shard's cached states are forgotten. So
    they are when events of the shard leave for files.
    """

    def __init__(
        self,
        processor: Processor,
        *,
        on_committed: Callable[[Recorded], None] = lambda _: None,
        shard_of: Callable[[str], int] = _unsharded,
    ) -> None:
        """Serve `processor`; `on_committed` gets what each committed transaction recorded, once.

        `shard_of` tells the shard of an account that something is sent to.
        """
        self._shard_of = shard_of
        self._processor = processor
        self._on_committed = on_committed
        self._cache: dict[int, OrderedDict[str, Stream[Any]]] = {}
        self._cached_events: dict[int, int] = {}
        self.heads: dict[int, LogEnd] = {}
        self._archived: dict[int, int] = {}
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def session(
        self, transaction: AbstractAsyncContextManager[Transaction]
    ) -> AsyncIterator[Session]:
        """Decide inside `transaction` when it is its turn; keep the states that it committed.

        The transactions of a process want the same shards. One that waited in the database for the
        one before it would find its head, but not yet its states.
        """
        async with self._turn:
            async with transaction as tx:
                session = await self._open(tx)
                yield session
            self._committed(session)

    async def _open(self, tx: Transaction) -> Session:
        """Trust what is cached where the log still ends as we left it, and nothing that went back.

        Raises:
            Halt: what we committed is not there any more.
        """
        moved = {
            shard: known
            for shard, head in tx.heads.items()
            if (known := self.heads.get(shard)) != LogEnd(head.position, head.hash)
            or self._archived[shard] != head.archived
        }
        self._archived |= {shard: head.archived for shard, head in tx.heads.items()}
        left = {shard: known for shard, known in moved.items() if known is not None}
        if left := in_the_log(left, self._archived):
            refuse_lost(left, await tx.hashes_at(positions_of(left)))
        for shard in moved:
            self._cache[shard] = OrderedDict()
            self._cached_events[shard] = 0
            self.heads[shard] = LogEnd(tx.heads[shard].position, tx.heads[shard].hash)
        return Session(self._processor, tx, self._cache, self._shard_of)

    def _committed(self, session: Session) -> None:
        self._on_committed(session.recorded)
        for shard, head in session.tx.heads.items():
            self.heads[shard] = LogEnd(head.position, head.hash)
            streams = self._cache[shard]
            for stream_id, stream in session.streams.items():
                if stream.shard == shard:
                    before = streams.get(stream_id)
                    grown = stream.stream_version - (before.stream_version if before else 0)
                    self._cached_events[shard] += grown
                    streams[stream_id] = stream
                    streams.move_to_end(stream_id)
            while len(streams) > 1 and (
                len(streams) > CACHED_STREAMS_MAX // len(self._cache)
                or self._cached_events[shard] > CACHED_EVENTS_MAX // len(self._cache)
            ):
                self._cached_events[shard] -= streams.popitem(last=False)[1].stream_version
