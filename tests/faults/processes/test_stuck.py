"""A service that is made to stand still on the real broker ends, to be started again."""

# ruff: noqa: SLF001 - it reaches inside to break what no fault from outside breaks on demand

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from services.runtime.app.process import ServiceProcess
from services.runtime.errors import Stuck
from tests.faults.processes.orders_process import orders_process
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System

Break = Callable[[ServiceProcess], None]


def stop_fetching(process: ServiceProcess) -> None:
    """End the client's fetch task: nothing comes any more, and nothing fails."""
    process.parts.consumer.consumer._fetcher._fetch_task.cancel()


def stop_publishing(process: ServiceProcess) -> None:
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
        async with orders_process(system, watchdog_seconds=3) as process:
            running = asyncio.create_task(process.run())
            while not process.parts.assignment.partitions:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            break_it(process)
            await asyncio.to_thread(system.publish, "RenewalRequested", card_renewal(1, "stuck"))
            await running

    with pytest.raises(Stuck, match=f"the {part} stood still for 3 s"):
        asyncio.run(asyncio.wait_for(run(), 90))
    assert system.dead_letters("orders") == []
