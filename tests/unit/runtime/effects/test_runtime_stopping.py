"""A process stops once, for the reason that came first."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime.errors import Halt
from services.runtime.stopping import Stopping


async def fails(error: BaseException) -> None:
    raise error


async def test_who_waits_goes_on_when_a_stop_is_asked_for() -> None:
    stopping = Stopping()
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.sleep(0)
    assert not stopping.is_asked()
    assert not waiting.done()
    stopping.ask()
    await waiting
    assert stopping.is_asked()
    assert stopping.failure is None


def test_first_failure_is_the_reason() -> None:
    stopping = Stopping()
    first = Halt("the topic was made again")
    stopping.fail(first)
    stopping.fail(OSError("the consumer is closed"))
    assert stopping.failure is first
    assert stopping.is_asked()


def test_failure_in_a_group_of_tasks_is_what_ended_the_group() -> None:
    stopping = Stopping()
    halt = Halt("a newer schema")
    stopping.fail(ExceptionGroup("tasks", [ExceptionGroup("inner", [halt])]))
    assert stopping.failure is halt


async def test_watched_task_that_fails_stops_the_process() -> None:
    stopping = Stopping()
    halt = Halt("the log went back")
    stopping.watch(asyncio.create_task(fails(halt)))
    await stopping.wait()
    assert stopping.failure is halt


async def test_watched_task_that_is_cancelled_or_returns_stops_nothing() -> None:
    stopping = Stopping()
    cancelled = asyncio.create_task(asyncio.sleep(60, None))
    returned = asyncio.create_task(asyncio.sleep(0, None))
    stopping.watch(cancelled)
    stopping.watch(returned)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await returned
    await asyncio.sleep(0)
    assert not stopping.is_asked()
