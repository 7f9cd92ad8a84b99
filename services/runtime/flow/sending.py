"""Delivers what a decision sends to other streams: in the same unit of work, first in, first out.

What is sent to another shard is no command here: its event is in the log of the sender, and the
same service reads it from its topic like any other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import fields
from typing import Final, Protocol

from services.runtime.errors import PerennialError
from services.runtime.flow.work import Recorded, Work
from services.runtime.log.event_log import ShardHead
from services.runtime.processor import Decision, Ignored, Send, Task

SENDS_MAX: Final = 64
DEPTH_MAX: Final = 8
"""More than a journey needs: beyond them, deciders answer each other without an end."""


class EndlessSends(PerennialError):
    """Deciders send to each other without an end: a defect, and nothing of the command is recorded."""


class Decides(Protocol):
    """Decides one command and stages what follows."""

    def __call__(self, work: Work) -> Decision | Ignored:
        """Raise what `decide` raises, staging nothing."""


async def deliver(
    work: Work,
    decision: Decision,
    *,
    shard_of: Callable[[str], int],
    load: Callable[[list[Work]], Awaitable[None]],
    decide: Decides,
) -> None:
    """Decide what `decision` sends, and what that sends in turn; streams are loaded a level at a time.

    Raises:
        EndlessSends: there is no end to it.
    """
    numbers = _numbers(work)
    level = list(_addressed(work, decision.sends, numbers, shard_of))
    for _ in range(DEPTH_MAX):
        if not level:
            return
        await load(level)
        following: list[Work] = []
        for each in level:
            outcome = decide(each)
            if isinstance(outcome, Decision):
                following += _addressed(each, outcome.sends, numbers, shard_of)
        level = following
    if level:
        raise _endless(work)


def _addressed(
    work: Work, sends: Iterable[Send], numbers: Iterator[int], shard_of: Callable[[str], int]
) -> Iterator[Work]:
    """Yield the commands for streams of the same shard, each with a cause of its own."""
    for send in sends:
        number = next(numbers)
        account_id = send.told.account_id if send.told else work.account_id
        if send.told and shard_of(account_id) != work.shard:
            continue
        yield work._replace(
            task=Task(send.stream_id, send.command),
            account_id=account_id,
            cause=f"{work.cause}/{number}",
            incoming=None,
            effect=None,
        )


def _numbers(work: Work) -> Iterator[int]:
    yield from range(1, SENDS_MAX + 1)
    raise _endless(work)


def _endless(work: Work) -> EndlessSends:
    message = (
        f"what {work.task.stream_id} sends has no end: a defect of this version; deploy the version "
        "that mends it"
    )
    return EndlessSends(message)


@contextmanager
def all_or_nothing(head: ShardHead, recorded: Recorded) -> Iterator[None]:
    """Take back what was staged in one shard when an exception leaves the block."""
    before = copy(head)
    sizes = {each.name: len(getattr(recorded, each.name)) for each in fields(recorded)}
    try:
        yield
    except BaseException:
        for name, size in sizes.items():
            del getattr(recorded, name)[size:]
        for each in fields(before):
            setattr(head, each.name, getattr(before, each.name))
        raise
