"""Who looks at the consumer is gone before it is: else an orderly stop would end as a defect."""

from __future__ import annotations

import asyncio

from services.runtime.app.process import ServiceProcess
from tests.faults.processes.orders_process import orders_process
from tests.infrastructure.system import SHARDS, System

LOOKS_SECONDS = 2.5
"""The watch of the topics looks each second at what the process holds."""


def rebalance_while_it_stops(process: ServiceProcess) -> None:
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
        async with orders_process(system) as process:
            running = asyncio.create_task(process.run())
            while len(process.parts.assignment.partitions) < 2 * SHARDS:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            rebalance_while_it_stops(process)
            await asyncio.sleep(LOOKS_SECONDS)
            process.parts.stopping.ask()
            await running
            assert process.parts.stopping.failure is None

    asyncio.run(run())
