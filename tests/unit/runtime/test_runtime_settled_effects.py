"""What a person says of an effect ends it, unless the stream ignores it; a result always ends it."""

from __future__ import annotations

from uuid import UUID

import pytest

from services.runtime.effect import Start
from services.runtime.flow.journal import Journal
from services.runtime.flow.work import Work
from services.runtime.processor import Ignored, Task
from tests.controls import T0
from tests.unit.runtime.toy import (
    ORDERS_OF,
    SHARD,
    Count,
    Toy,
    begin,
    intake_of,
    memory_log,
    request,
)

GREETING = Start("greet/t-1", "greet", {})
NOTHING, MORE = 0, 7
"""What the toy ignores, and what it counts without another effect."""


@pytest.mark.parametrize(
    ("amount", "by_person", "left"),
    [(NOTHING, True, 1), (NOTHING, False, 0), (MORE, True, 0), (MORE, False, 0)],
)
async def test_effect_goes_on_when_what_a_person_said_of_it_is_ignored(
    amount: int, *, by_person: bool, left: int
) -> None:
    log = memory_log()
    await begin(log)
    toy = Toy(effects=lambda command: (GREETING,) if command.amount == 5 else ())
    processor = toy.processor()
    [effect] = (await intake_of(log, processor).handle([request(0)])).leased
    command = Count(effect.origin.account_id, "t-1", amount, T0)
    work = Work(
        task=Task(ORDERS_OF.stream_id("t-1"), command),
        shard=SHARD,
        account_id=effect.origin.account_id,
        cause="request/1",
        cause_event_id=UUID(int=1),
        correlation_id="t-1",
        traceparent=None,
        effect=effect,
        by_person=by_person,
    )
    async with Journal(processor).session(log.transaction(shards={SHARD})) as session:
        await session.load([work])
        outcome = await session.apply(work, T0)
        await session.flush(T0)
    assert isinstance(outcome, Ignored) is (amount == NOTHING)
    assert len(log._tables.effects) == left  # noqa: SLF001 - waiting or running
