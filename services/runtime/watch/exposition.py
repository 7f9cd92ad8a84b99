"""The page of `/metrics`: what was counted and what is observed, in the format that was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import asyncpg
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from services.runtime.clock.database_clock import ClockCounts
from services.runtime.flow.publishing.relay import RelayCounts
from services.runtime.kafka.client import Assignment, BatchConsumer
from services.runtime.kafka.held_back import HeldBack
from services.runtime.metrics.metrics import Metrics
from services.runtime.processor import Processor
from services.runtime.settings import RuntimeSettings
from services.runtime.verify.head_writer import KeptHeads
from services.runtime.watch.gauges import ObservedCollector
from services.runtime.watch.observed import Observer, View


class MetricsPage:
    """Looks first, then writes everything down beside the event loop."""

    def __init__(
        self,
        registry: CollectorRegistry,
        collector: ObservedCollector,
        look: Callable[[], Awaitable[View]],
    ) -> None:
        """Write what `registry` holds, with `collector` in it, after each `look`."""
        self._registry = registry
        self._collector = collector
        self._look = look
        registry.register(collector)

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Return the page and its content type, in the format that `accept` asks for."""
        self._collector.view = await self._look()
        encode, content_type = choose_encoder(accept)
        return await asyncio.to_thread(encode, self._registry), content_type


class Exposition(MetricsPage):
    """The page of one running service."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        metrics: Metrics,
        processor: Processor,
        settings: RuntimeSettings,
        pool: asyncpg.Pool,
        relay: RelayCounts,
        clock: ClockCounts,
        consumer: BatchConsumer,
        assignment: Assignment,
        held_back: HeldBack,
        heads: KeptHeads | None,
    ) -> None:
        """Show `metrics`, `relay`, `clock` and `heads`, and what `pool` and `consumer` say."""
        self._observer = Observer(
            pool=pool,
            consumer=lambda: consumer.consumer,
            partitions=lambda: assignment.partitions,
            held_back=held_back,
            monotonic=time.monotonic,
        )
        collector = ObservedCollector(
            events=processor.events,
            kinds=tuple(processor.effects),
            topics=[subscription.topic for subscription in processor.subscriptions],
            shards=settings.shard_count,
            dead_letter_limit=settings.dead_letter_limit,
            relay=relay,
            clock=clock,
            heads=heads,
        )
        super().__init__(metrics.registry, collector, self._observer.look)

    async def close(self) -> None:
        """Give up what is being read."""
        await self._observer.close()
