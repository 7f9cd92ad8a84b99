"""Orders on a machine whose clock is wrong by hours, on the real stack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from services.runtime.app.process import ServiceProcess
from tests.faults.processes.orders_process import orders_process
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System

HOURS: Final = 5 * 3_600.0


class Machine:
    """A machine that runs orders; its clock is `wrong` by so many seconds."""

    def __init__(self, system: System) -> None:
        """Run on `system`."""
        self.system = system
        self.wrong = 0.0
        self.began_at = datetime.now(UTC)

    @asynccontextmanager
    async def orders(self, watchdog_seconds: int = 60) -> AsyncIterator[ServiceProcess]:
        """Run orders until the end of the block."""
        async with orders_process(
            self.system,
            watchdog_seconds=watchdog_seconds,
            wall=lambda: time.time() + self.wrong,
        ) as process:
            running = asyncio.create_task(process.run())
            yield process
            process.parts.stopping.ask()
            await running

    async def publish(self, renewal: dict[str, Any]) -> None:
        """Have a customer ask."""
        prefix = renewal["renewal_id"]
        await asyncio.to_thread(self.system.publish, "RenewalRequested", renewal, prefix=prefix)

    async def count(self, event: str) -> int:
        """Return how many of an event orders has recorded."""
        return len(await asyncio.to_thread(self.system.events, "orders", event))

    async def have(self, event: str, wanted: int) -> None:
        """Wait until so many of an event are recorded."""
        async with asyncio.timeout(60):
            while await self.count(event) < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def check_times(self) -> None:
        """See that everything is dated when it happened, in order, and nothing expired."""
        rows = await asyncio.to_thread(
            self.system.query,
            "orders",
            "SELECT shard, occurred_at, recorded_at FROM event ORDER BY shard, position",
        )
        earliest = self.began_at - timedelta(seconds=5)
        latest = datetime.now(UTC) + timedelta(seconds=5)
        for row in rows:
            assert earliest <= row["occurred_at"] <= latest
            assert earliest <= row["recorded_at"] <= latest
        assert await self.count("OrderExpired") == 0
        assert await self.count("PaymentFailed") == 0
        for accepted in await asyncio.to_thread(self.system.events, "orders", "RenewalAccepted"):
            assert earliest <= datetime.fromisoformat(accepted["accepted_at"]) <= latest


def awaiting_confirmation(number: int) -> dict[str, Any]:
    """Return a renewal that the customer pays in an app, within an hour."""
    renewal = card_renewal(number, "unpaid", token="tok_ok", ending="0000")
    return renewal | {
        "payment": {"method": "card", "mode": "await_confirmation", "currency": "USD"}
    }


def paid(number: int) -> dict[str, Any]:
    """Return a renewal that a card pays at once."""
    return card_renewal(number, "paid", token="tok_ok", ending="0000")


def test_orders_that_begins_under_a_wrong_clock_does_nothing_until_it_is_right(
    system: System,
) -> None:
    async def run() -> None:
        machine = Machine(system)
        async with machine.orders():
            await machine.publish(awaiting_confirmation(1))
            await machine.have("RenewalAccepted", 1)
        machine.wrong = HOURS
        async with machine.orders(watchdog_seconds=6) as process:
            await machine.publish(paid(2))
            while not process.parts.assignment.partitions:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            await asyncio.sleep(10)  # more than the watchdog waits for a service that does nothing
            assert await machine.count("RenewalAccepted") == 1
            problems = (await process.parts.readiness()).problems
            assert any("18000 s apart" in problem for problem in problems)
            await machine.check_times()
            machine.wrong = 0
            await machine.have("PlanActivated", 1)
        await machine.check_times()

    asyncio.run(asyncio.wait_for(run(), 180))


def test_clock_of_the_machine_that_is_set_wrong_meanwhile_neither_ages_nor_dates_anything(
    system: System,
) -> None:
    async def run() -> None:
        machine = Machine(system)
        async with machine.orders() as process:
            await machine.publish(awaiting_confirmation(1))
            await machine.have("RenewalAccepted", 1)
            for number, wrong in enumerate((HOURS, -HOURS), start=1):
                machine.wrong = wrong
                await asyncio.sleep(2)
                await machine.publish(paid(number))
                await machine.have("PlanActivated", number)
            page, _ = await process.parts.exposition.text("text/plain")
            assert b'perennial_clock_difference_seconds{clock="process"} -1' in page
            assert b"perennial_clock_jumps_total 0.0" in page
        await machine.check_times()

    asyncio.run(asyncio.wait_for(run(), 180))
