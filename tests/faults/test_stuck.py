"""A service that is made to stand still on the real broker ends, to be started again."""

# ruff: noqa: SLF001 - it reaches inside to break what no fault from outside breaks on demand

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import structlog
from pydantic import SecretStr

from services.orders.app import open_orders
from services.orders.settings import OrdersSettings
from services.runtime.clock import DatabaseClock
from services.runtime.composition import Composition
from services.runtime.errors import Stuck
from services.runtime.process import ServiceProcess
from services.runtime.start import open_pool
from services.runtime.stopping import Stopping
from tests.faults.requests import card_renewal
from tests.infrastructure.system import SHARDS, System

Break = Callable[[ServiceProcess[object]], None]


def stop_fetching(process: ServiceProcess[object]) -> None:
    """End the client's fetch task: nothing comes any more, and nothing fails."""
    process.parts.consumer.consumer._fetcher._fetch_task.cancel()


def stop_publishing(process: ServiceProcess[object]) -> None:
    """Make the relay wait for ever, as for an acknowledgement that is lost."""

    async def never(*_: object) -> int:
        await asyncio.Event().wait()
        return 0

    process.parts.relay._send_first = never  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize(
    ("break_it", "part"), [(stop_fetching, "consumer"), (stop_publishing, "relay")]
)
def test_stuck_service_ends(system: System, break_it: Break, part: str) -> None:
    async def run() -> None:
        settings = OrdersSettings(
            perennial_environment="demo",
            gateway="sandbox",
            provider="sandbox",
            postgres_dsn=SecretStr(system.dsn("orders")),
            bootstrap_servers=system.infrastructure.bootstrap_servers,
            shard_count=SHARDS,
            esim_hash_salt=SecretStr("salt-for-tests"),
            sandbox_journal_folder=system.folder / "sandbox",
            watchdog_seconds=3,
        )
        pool = await open_pool("orders", settings)
        try:
            clock = DatabaseClock(structlog.get_logger())
            async with open_orders(settings, pool, clock.counted) as processor:
                process = ServiceProcess(
                    Composition(
                        settings=settings,
                        processor=processor,
                        pool=pool,
                        clock=clock,
                        logger=structlog.get_logger(),
                        stopping=Stopping(),
                    )
                )
                running = asyncio.create_task(process.run())
                while not process.parts.assignment.partitions:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                break_it(process)  # type: ignore[arg-type]
                await asyncio.to_thread(
                    system.publish, "RenewalRequested", card_renewal(1, "stuck")
                )
                await running
        finally:
            await pool.close()

    with pytest.raises(Stuck, match=f"the {part} stood still for 3 s"):
        asyncio.run(asyncio.wait_for(run(), 90))
    assert system.dead_letters("orders") == []
