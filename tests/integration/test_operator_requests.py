"""A request of a person that cannot be decided is answered, and the others are served."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from services.cli.connections import connect
from services.runtime.flow.effect_box import EffectBox
from services.runtime.flow.give_ups import GiveUpDesk
from services.runtime.flow.journal import Journal
from services.runtime.flow.work import Recorded
from services.runtime.log.event_log import EffectOrigin
from services.runtime.processor import Decision, EffectRun, GiveUp, Start
from tests.controls import T0, dsn_for
from tests.integration.toy_database import ROLE, open_toy_database
from tests.unit.runtime.toy import ACCOUNT, SHARD, Done, Toy, counted


def settle(ruling: GiveUp, _run: EffectRun, _now: datetime) -> Done:
    """Settle as done, or fail as nobody foresaw."""
    if ruling.outcome == "overflow":
        raise OverflowError(ruling.reason)
    return Done(Decision((counted(),)))


async def test_request_that_fails_is_refused_and_the_next_is_served(fresh_database: str) -> None:
    async with open_toy_database(fresh_database, Toy()) as toys:
        processor = replace(toys.toy.processor(), give_ups={"e": settle})
        origin = EffectOrigin(SHARD, ACCOUNT, "order/t-1", UUID(int=1), "t-1", None)
        async with toys.log.transaction(shards=[SHARD]) as tx:
            for name in ("e-1", "e-2"):
                held = Start(name, "e", hold_key="h")
                await tx.start_effects([(origin, held)], now=T0)
        recorded: list[Recorded] = []
        desk = GiveUpDesk(
            pool=toys.pool,
            log=toys.log,
            processor=processor,
            journal=Journal(processor, on_committed=recorded.append),
            clock=lambda: T0,
            logger=structlog.get_logger(),
        )
        async with connect("orders", dsn_for(fresh_database, ROLE)) as connection:
            box = EffectBox(connection)
            for number, outcome in ((1, "overflow"), (2, "done")):
                asked = GiveUp(outcome=outcome, by="li.wei", reason="secret text")
                assert await box.ask(UUID(int=number), f"e-{number}", asked)
            await desk.serve()
            failed, served = [await box.answer(UUID(int=number)) for number in (1, 2)]
            left = [row.effect_id for row in await box.listed(include_held=True)]
        assert failed is not None
        assert served is not None
        assert (failed.closed_as, served.closed_as) == ("refused", "applied")
        assert "OverflowError" in failed.note
        assert "secret" not in failed.note
        assert left == ["e-1"]
        assert [len(each.events) for each in recorded] == [1]
        assert await toys.count("order/t-1") == 1
