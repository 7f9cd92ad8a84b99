"""Who looks at the consumer is gone before it is: else an orderly stop would end as a defect."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from pydantic import SecretStr

from services.orders.app import open_orders
from services.orders.settings import OrdersSettings
from services.runtime.clock import DatabaseClock
from services.runtime.composition import Composition
from services.runtime.process import ServiceProcess
from services.runtime.start import open_pool
from services.runtime.stopping import Stopping
from tests.infrastructure.system import SHARDS, System

LOOKS_SECONDS = 2.5
"""The watch of the topics looks each second at what the process holds."""


def rebalance_while_it_stops(process: ServiceProcess[Any]) -> None:
    """Have a partition come back just after the consumer has closed, and the stop go on for long."""
    stop, assignment = process.parts.consumer.stop, process.parts.assignment
    everything = assignment.partitions
    assignment.partitions = everything - {min(everything)}

    async def stop_slowly() -> None:
        await stop()
        assignment.partitions = everything
        await asyncio.sleep(LOOKS_SECONDS)

    process.parts.consumer.stop = stop_slowly  # type: ignore[method-assign]


def test_rebalance_in_the_middle_of_a_stop_does_not_make_it_a_failure(system: System) -> None:
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
                while len(process.parts.assignment.partitions) < 2 * SHARDS:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                rebalance_while_it_stops(process)
                await asyncio.sleep(LOOKS_SECONDS)
                process.parts.stopping.ask()
                await running
                assert process.parts.stopping.failure is None
        finally:
            await pool.close()

    asyncio.run(run())
