"""Starts the parts of one service, and stops them in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any

from aiokafka.errors import KafkaError

from services.runtime.app.composition import Composition
from services.runtime.errors import Transient


class ServiceProcess:
    """One service that runs until it is asked to stop, or must."""

    def __init__(self, parts: Composition) -> None:
        self.parts = parts

    async def run(self) -> None:
        """Serve until stopped, or raise what made going on impossible."""
        parts = self.parts
        await parts.clock_watch.look()
        # Before whoever watches the topics keeps what they are by then.
        await parts.known_topics.meet(parts.log)
        await parts.health.start()
        work = self._started({"effects": parts.effects.run(), "relay": parts.relay.run()})
        watches = self._started(self._watches())
        try:
            await parts.consumer.start(parts.batches.handle)
            parts.logger.info("started", group=parts.service.group, http_port=parts.health.port)
            await parts.stopping.wait()
        finally:
            await self._shut_down(work, watches)
        if parts.stopping.failure is not None:
            raise parts.stopping.failure

    def _watches(self) -> dict[str, Coroutine[Any, Any, None]]:
        parts = self.parts
        watches = {
            "operator": parts.operator_requests.run(),
            "topics": parts.known_topics.watch(parts.log, parts.consumer, parts.assignment),
            "watchdog": parts.watchdog.run(),
            "parked shards": parts.pauses.run(),
            "log": parts.log_watch.run(),
            "taken events": parts.taken_events.run(),
            "clock": parts.clock_watch.run(),
        }
        if parts.head_writer:
            watches["heads"] = parts.head_writer.run()
        return watches

    def _started(self, parts: Mapping[str, Coroutine[Any, Any, None]]) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(run, name=name) for name, run in parts.items()]
        for task in tasks:
            self.parts.stopping.watch(task)
        return tasks

    async def _shut_down(
        self, work: Sequence[asyncio.Task[None]], watches: Sequence[asyncio.Task[None]]
    ) -> None:
        """Stop fetching, finish the batch, record effects, flush the relay: within the time allowed."""
        parts, budget = self.parts, self.parts.settings.stop_timeout_seconds
        ends_at = time.monotonic() + budget
        parts.logger.info("stopping", within_seconds=budget)
        # Stop the watchers first, or they report the closing consumer as a failure.
        await _cancelled(watches)
        await self._bounded("consumer", parts.consumer.stop(), ends_at)
        await self._bounded("effects", parts.effects.stop(budget / 3), ends_at)
        await _cancelled(work)
        if parts.stopping.failure is None:
            await self._bounded("relay", parts.relay.flush(), ends_at)
        await self._bounded("producer", parts.relay.close(), ends_at)
        await self._bounded("dead letters", parts.letters.close(), ends_at)
        await parts.health.stop()
        await self._bounded("metrics", parts.exposition.close(), ends_at)
        await self._bounded("tracing", parts.tracing.close(), ends_at)
        parts.logger.info("stopped")

    async def _bounded(self, part: str, work: Awaitable[object], ends_at: float) -> None:
        try:
            await asyncio.wait_for(work, max(1.0, ends_at - time.monotonic()))
        except (TimeoutError, Transient, KafkaError, OSError) as error:
            # Nothing is lost: the cursor, the effects and the log are in the database.
            self.parts.logger.warning("stop_incomplete", part=part, error=type(error).__name__)


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
