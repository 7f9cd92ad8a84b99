"""Verifies the logs of several services: each against itself, and what they took of each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.runtime.archive.ranges import Archive
from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.across import Claim, ClaimCheck, FiledCheck, MarkCheck
from services.runtime.verify.checks import (
    NOTHING_BEFORE,
    ChainCheck,
    Check,
    LogCheck,
    LogHead,
    NumberCheck,
    PositionCheck,
    archive_checks,
    published_check,
)
from services.runtime.verify.slices import SliceMark, heads_of, marks_of, slices_of
from services.runtime.verify.streams import check_versions

if TYPE_CHECKING:
    import asyncpg

Progress = Callable[[int], None]
"""Told how many events were read."""


@dataclass(frozen=True, slots=True)
class Filing:
    """A service that files every event of `producer`; it numbers those in `moved_to` streams itself."""

    producer: str
    moved_to: str


@dataclass(slots=True)
class Log:
    """One service's log under verification; `source` is that of what it writes itself.

    `reads` and `claim` say what it takes of others.
    """

    service: str
    source: str
    connection: asyncpg.Connection
    reads: tuple[str, ...] = ()
    filing: Filing | None = None
    claim: Claim | None = None
    archive: Archive = field(default_factory=Archive)
    marks: Mapping[tuple[str, int], SliceMark] = field(default_factory=dict)
    marked_heads: Mapping[int, LogHead] = field(default_factory=dict)
    heads: Mapping[int, LogHead] = field(default_factory=dict)

    async def take_heads(self) -> None:
        """Note where the log ends, and where what is read of it begins."""
        self.heads = await heads_of(self.connection)
        for shard, head in self.heads.items():
            if self.archive.is_read(shard):
                head.begin = NOTHING_BEFORE

    async def slices(self, shard: int) -> AsyncIterator[list[StoredEvent]]:
        """Yield what is read of a shard up to its head: its files first, where they are read."""
        async for events in self.archive.slices(shard):
            yield events
        async for events in slices_of(self.connection, shard, self.heads):
            yield events

    def own_checks(self) -> list[LogCheck]:
        """Return the checks of the log against itself."""
        return [
            ChainCheck(self.heads),
            PositionCheck(self.heads),
            NumberCheck(self.source, self.heads),
        ]


async def verify_logs(
    logs: Sequence[Log],
    further: Mapping[str, Sequence[LogCheck]] | None = None,
    on_progress: Progress | None = None,
) -> dict[str, list[Check]]:
    """Return the checks of each service's log, by service; everything may go on meanwhile.

    With several logs, what each took of the others is compared too. `further` checks see the whole
    log of a service in the same walk.
    """
    for log in logs:
        await _take_marks(log)
    for log in sorted(logs, key=_consumers_first):
        # After every mark, and before its producers: nothing was taken that they did not have then.
        await log.take_heads()
    by_service = {log.service: log for log in logs}
    checks = {log.service: log.own_checks() for log in logs}
    for log in logs:
        checks[log.service] += (further or {}).get(log.service, ())
        checks[log.service] += _mark_checks(log, logs)
    claims = {
        log.service: ClaimCheck(log.service, log.claim)
        for log in logs
        if log.claim is not None and set(log.reads) <= by_service.keys()
    }
    for shard in sorted({shard for log in logs for shard in log.heads}):
        await _walk_shard(shard, logs, checks, claims, on_progress)
    return {
        log.service: await _results(log, checks[log.service], claims.get(log.service), by_service)
        for log in logs
    }


async def _results(
    log: Log,
    checks: Sequence[LogCheck],
    claim: ClaimCheck | None,
    by_service: Mapping[str, Log],
) -> list[Check]:
    found = [
        *(check.result() for check in checks),
        published_check(log.heads),
        *archive_checks(log.archive),
        *([claim.result()] if claim is not None else []),
    ]
    if log.filing is None:
        # What a service files keeps the versions that its producer gave.
        found.append(await check_versions(log.connection))
    elif log.filing.producer in by_service:
        found.append(await _filed(log, by_service[log.filing.producer], log.filing))
    return found


async def _take_marks(log: Log) -> None:
    async with log.connection.transaction(isolation="repeatable_read", readonly=True):
        log.marks = await marks_of(log.connection)
        log.marked_heads = await heads_of(log.connection)


def _mark_checks(producer: Log, logs: Iterable[Log]) -> list[LogCheck]:
    """Return the checks that look in the log of `producer` for what others took last of it."""
    found: list[LogCheck] = []
    for log in logs:
        if producer.service in log.reads:
            marks = {
                shard: mark
                for (source, shard), mark in log.marks.items()
                if source == producer.source
            }
            found.append(MarkCheck(producer.source, log.service, marks, producer.heads))
    return found


async def _walk_shard(
    shard: int,
    logs: Sequence[Log],
    checks: Mapping[str, Sequence[LogCheck]],
    claims: Mapping[str, ClaimCheck],
    on_progress: Progress | None,
) -> None:
    # Consumers before their producers: a claim must be known when its event is passed.
    for log in sorted(logs, key=_consumers_first):
        if shard not in log.heads:
            continue
        founded = [claim for name, claim in claims.items() if name != log.service]
        async for events in log.slices(shard):
            for check in checks[log.service]:
                check.look(events)
            if log.service in claims:
                claims[log.service].look(events)
            for claim in founded:
                claim.found(events)
            if on_progress is not None:
                on_progress(len(events))
    for claim in claims.values():
        claim.end_shard()


def _consumers_first(log: Log) -> tuple[bool, int]:
    return log.claim is None, -len(log.reads)


async def _filed(consumer: Log, producer: Log, filing: Filing) -> Check:
    check = FiledCheck(producer.source, filing.moved_to)
    for shard in sorted(consumer.marked_heads.keys() & producer.heads.keys()):
        mark = consumer.marks.get((producer.source, shard))
        await check.compare(
            shard,
            producer.heads[shard].begin.sequence,
            mark.sequence if mark else 0,
            producer.slices(shard),
            slices_of(consumer.connection, shard, consumer.marked_heads),
        )
    return check.result()
