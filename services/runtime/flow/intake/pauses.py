"""Keeps the partitions of parked shards still, and moves them when their shard goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from services.runtime.errors import Transient
from services.runtime.kafka.client import Assignment, BatchConsumer
from services.runtime.log.event_log import EventLog, Parking

POLL_SECONDS: Final = 1.0


class Pauses:
    """What this process knows of parked shards; the table says so after a rebalance or a restart.

    A batch that was fetched before is refused by the intake, which sees the mark of a shard under
    its lock. So this only spares fetching what cannot be handled.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        consumer: BatchConsumer,
        assignment: Assignment,
    ) -> None:
        self._log = log
        self._consumer = consumer
        self._assignment = assignment
        self.parkings: Sequence[Parking] = ()

    def shards(self) -> frozenset[int]:
        """Return the shards that wait for a person."""
        return frozenset(parking.shard for parking in self.parkings)

    def said(self) -> list[str]:
        """Return what the readiness probe says of them."""
        return [
            f"shard {parking.shard} is parked at {parking.event_type or 'no event'}"
            f" {parking.event_id or ''} ({parking.reason})"
            for parking in self.parkings
        ]

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with suppress(Transient):  # whoever reads or publishes says so
                await self.look()
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> None:
        """Read which shards are parked, and pause or resume what this process holds."""
        self.parkings = await self._log.parkings()
        parked, consumer = self.shards(), self._consumer
        held = self._assignment.partitions
        if not held:
            return
        paused = consumer.paused() & held
        for partition in held - paused:
            if partition[1] in parked:
                consumer.pause(*partition)
        if moving := [partition for partition in paused if partition[1] not in parked]:
            cursors = await self._log.cursors()
            for partition in moving:
                if partition in cursors:
                    consumer.seek(*partition, cursors[partition])
                consumer.resume(*partition)
