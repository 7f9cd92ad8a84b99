"""Orders in the process of the test, for what no fault from outside brings about on demand."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from pydantic import SecretStr

from services.orders.app import open_orders
from services.orders.settings import OrdersSettings
from services.runtime.app.composition import Composition
from services.runtime.app.process import ServiceProcess
from services.runtime.app.start import open_pool
from services.runtime.clock.database_clock import DatabaseClock
from services.runtime.stopping import Stopping
from tests.infrastructure.system import SHARDS, System


@asynccontextmanager
async def orders_process(
    system: System, *, watchdog_seconds: int = 60, wall: Callable[[], float] = time.time
) -> AsyncIterator[ServiceProcess]:
    """Give orders of `system`, not started; `wall` is the clock of its machine."""
    settings = OrdersSettings(
        perennial_environment="demo",
        gateway="sandbox",
        provider="sandbox",
        postgres_dsn=SecretStr(system.dsn("orders")),
        bootstrap_servers=system.infrastructure.bootstrap_servers,
        shard_count=SHARDS,
        esim_hash_salt=SecretStr("salt-for-tests"),
        sandbox_journal_folder=system.folder / "sandbox",
        watchdog_seconds=watchdog_seconds,
    )
    logger = structlog.get_logger()
    pool = await open_pool("orders", settings)
    try:
        clock = DatabaseClock(logger, wall=wall)
        async with open_orders(settings, pool, clock.counted) as processor:
            yield ServiceProcess(
                Composition(
                    settings=settings,
                    processor=processor,
                    pool=pool,
                    clock=clock,
                    logger=logger,
                    stopping=Stopping(),
                )
            )
    finally:
        await pool.close()
