"""Moves a virtual clock on, from one due time to the next, and waits at each until all is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import TOPICS
from services.cli.addresses import SERVICES
from services.cli.broker import admitted, broker_settings
from services.cli.connections import connect
from services.cli.words import counted
from services.runtime.clock.virtual_clock import read_ahead, write_ahead
from services.runtime.errors import PerennialError, Transient
from services.runtime.kafka.client import client_options
from services.runtime.kafka.consumers import build_consumer
from services.runtime.watch.service_status import Bounds, ServiceStatus, service_status

_LOOK_SECONDS: Final = 0.05
_NO_RECORD_SECONDS: Final = 5
"""Offsets that stay unread for so long are markers of transactions, not records."""
_EPSILON: Final = timedelta(milliseconds=1)


class Unsettled(PerennialError):
    """Something is due, or under way, for longer than anybody waits."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """What came of it: at how many times the clock stopped, and how many events were recorded."""

    stops: int
    events: int


@dataclass(frozen=True, slots=True)
class _View:
    """How all services stand at one moment."""

    now: datetime
    services: Mapping[str, ServiceStatus]

    @property
    def events(self) -> int:
        return sum(sum(each.heads.values()) for each in self.services.values())

    @property
    def place(self) -> object:
        """What changes when anything was done."""
        return [(each.heads, each.partitions, each.effects) for each in self.services.values()]

    def under_way(self, *, lag_counts: bool) -> Iterator[str]:
        """Yield what is not done yet, with the command that shows more."""
        for name, each in self.services.items():
            if each.unpublished:
                yield f"{name} has {counted(each.unpublished, 'event')} to publish"
            parked = {parking.shard for parking in each.parked}
            lag = sum(one.lag for one in each.partitions if one.partition not in parked)
            if lag and lag_counts:
                yield f"{name} has {counted(lag, 'record')} to read"
            for effects in each.effects:
                if effects.oldest_due_at is not None and effects.oldest_due_at <= self.now:
                    waits = f", and {counted(len(parked), 'shard')} parked" if parked else ""
                    yield (
                        f"{name} has a {effects.kind} due since {effects.oldest_due_at:%F %T}{waits}: "
                        f"`perennial effects list --service {name}`"
                    )

    def next_due(self) -> datetime | None:
        """Return when the next effect is due."""
        return min(
            (
                effects.oldest_due_at
                for each in self.services.values()
                for effects in each.effects
                if effects.oldest_due_at is not None
            ),
            default=None,
        )


class Advance:
    """Moves the clock of one stack; no other command may move it meanwhile."""

    def __init__(self, file: Path, step: timedelta, timeout_seconds: float) -> None:
        """Move the clock of `file`; what is due within `step` is done together."""
        self._file = file
        self._step = step
        self._timeout = timeout_seconds
        self._connections: dict[str, asyncpg.Connection] = {}
        self._consumer: AIOKafkaConsumer
        self._partitions: list[TopicPartition] = []

    async def by(self, length: timedelta) -> Advanced:
        """Move on by `length` from what the clock says now.

        Raises:
            Unsettled: what is due is not done in time.
            Transient: a database or the broker cannot be reached.
        """
        async with AsyncExitStack() as resources:
            for service in SERVICES:
                connection = await resources.enter_async_context(connect(service))
                self._connections[service] = connection
            options = client_options(await admitted(broker_settings()))
            self._partitions = await _partitions(options)
            self._consumer = build_consumer(options)
            await self._consumer.start()
            resources.push_async_callback(self._consumer.stop)
            view = await self._settled()
            before, stops, until = view.events, 0, view.now + length
            while (due_at := view.next_due()) is not None and due_at <= until:
                await self._move(min(until, due_at + self._step))
                view, stops = await self._settled(), stops + 1
            await self._move(until)
            view = await self._settled()
        return Advanced(stops, view.events - before)

    async def _move(self, to: datetime) -> None:
        real = await self._connections[SERVICES[0]].fetchval("SELECT clock_timestamp()")
        ahead = to - real + _EPSILON
        if ahead > read_ahead(self._file):  # else real time was there first
            write_ahead(self._file, ahead)

    async def _settled(self) -> _View:
        """Return how all stands once nothing is due and nothing is under way.

        Nothing moved between two looks of which the first found everything done: so nobody was
        handing on what another had to do.
        """
        view, since = await self._look(), time.monotonic()
        moved_at = since
        done = False
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            seen = await self._look()
            if seen.place != view.place:
                moved_at, done = time.monotonic(), False
            stood = time.monotonic() - moved_at
            left = list(seen.under_way(lag_counts=stood < _NO_RECORD_SECONDS))
            if not left and done:
                return seen
            view, done = seen, not left
            if left and time.monotonic() - since > self._timeout:
                message = f"not done within {self._timeout:.0f} s: {'; '.join(left)}"
                raise Unsettled(message)

    async def _look(self) -> _View:
        ends = await self._ends()
        services = {}
        for service, connection in self._connections.items():
            own = {topic.name for topic in TOPICS if service in topic.groups}
            bounds = {key: end for key, end in ends.items() if key[0] in own}
            services[service] = await service_status(connection, service, bounds)
        real = await self._connections[SERVICES[0]].fetchval("SELECT clock_timestamp()")
        return _View(real + read_ahead(self._file), services)

    async def _ends(self) -> dict[tuple[str, int], Bounds]:
        ends = await self._consumer.end_offsets(self._partitions)
        return {(tp.topic, tp.partition): Bounds(0, end) for tp, end in ends.items()}


async def _partitions(options: Mapping[str, Any]) -> list[TopicPartition]:
    """Return the partitions of all topics that a service reads."""
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        described = await admin.describe_topics([topic.name for topic in TOPICS if topic.groups])
    finally:
        await admin.close()
    if missing := [each["topic"] for each in described if each["error_code"]]:
        message = f"no topic {', '.join(missing)}: run `perennial setup`"
        raise Transient(message)
    return [
        TopicPartition(each["topic"], partition["partition"])
        for each in described
        for partition in each["partitions"]
    ]
