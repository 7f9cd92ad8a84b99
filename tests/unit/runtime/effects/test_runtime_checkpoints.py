"""Checkpoints that are asked for while one is being committed share the next commit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from services.runtime.effect import RunKey
from services.runtime.errors import Transient
from services.runtime.flow.effects.checkpoints import Checkpoints
from services.runtime.log.memory_log import MemoryEventLog
from tests.unit.runtime.toy import memory_log


class SlowLog(MemoryEventLog):
    """Holds every run, and commits when told."""

    def __init__(self) -> None:
        self.commits: list[dict[RunKey, str]] = []
        self.go = asyncio.Semaphore(0)
        self.error: Exception | None = None
        self.lost: set[RunKey] = set()

    async def mark_effects(self, checkpoints: Mapping[RunKey, str]) -> set[RunKey]:
        self.commits.append(dict(checkpoints))
        await self.go.acquire()
        if self.error is not None:
            raise self.error
        return checkpoints.keys() - self.lost


def run(number: int) -> RunKey:
    return 0, f"email/{number}", 1


async def test_marks_that_wait_share_a_commit() -> None:
    log = SlowLog()
    checkpoints = Checkpoints(log)
    marks = [asyncio.create_task(checkpoints.mark(run(n), "dot_sent")) for n in range(3)]
    await asyncio.sleep(0)
    late = asyncio.create_task(checkpoints.mark(run(9), "dot_sent"))
    await asyncio.sleep(0)
    assert not any(mark.done() for mark in marks), "nobody goes on before the commit"

    log.go.release()
    await asyncio.gather(*marks)
    assert not late.done()
    log.go.release()
    await late

    assert log.commits == [
        {run(n): "dot_sent" for n in range(3)},
        {run(9): "dot_sent"},
    ]


async def test_only_the_run_that_lost_its_lease_is_told_so() -> None:
    log = SlowLog()
    log.lost = {run(2)}
    log.go.release()
    checkpoints = Checkpoints(log)
    marks = [checkpoints.mark(run(n), "dot_sent") for n in (1, 2)]
    first, second = await asyncio.gather(*marks, return_exceptions=True)
    assert first is None
    assert isinstance(second, Transient)


async def test_failed_commit_fails_all_that_waited_and_the_next_one_works() -> None:
    log = SlowLog()
    log.error = Transient("no answer")
    log.go.release()
    checkpoints = Checkpoints(log)
    marks = [checkpoints.mark(run(n), "dot_sent") for n in (1, 2)]
    assert await asyncio.gather(*marks, return_exceptions=True) == [log.error, log.error]
    log.error = None
    log.go.release()
    await checkpoints.mark(run(3), "dot_sent")


async def test_cancelled_mark_does_not_hold_up_the_others() -> None:
    log = SlowLog()
    checkpoints = Checkpoints(log)
    gone = asyncio.create_task(checkpoints.mark(run(1), "dot_sent"))
    stays = asyncio.create_task(checkpoints.mark(run(2), "dot_sent"))
    await asyncio.sleep(0)
    gone.cancel()
    log.go.release()
    await stays
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_run_without_a_row_is_told_by_the_real_log() -> None:
    with pytest.raises(Transient, match="lost its lease"):
        await Checkpoints(memory_log()).mark(run(1), "dot_sent")
