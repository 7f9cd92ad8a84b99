"""A request of a person that cannot be decided is answered, and the others are served."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from services.cli.connections import connect
from services.runtime.effect import EffectRun, Start
from services.runtime.flow.journal import Journal
from services.runtime.flow.operator.effect_table import EffectTable
from services.runtime.flow.operator.settlements import SettlementRequests
from services.runtime.flow.work import Recorded
from services.runtime.log.event_log import EffectOrigin
from services.runtime.processor import Decision, Effect, Mark, Settlement
from tests.controls import T0, dsn_for
from tests.integration.toy_database import ROLE, open_toy_database
from tests.unit.runtime.toy import ACCOUNT, SHARD, Done, Toy, counted


async def never(run: EffectRun, _mark: Mark) -> object:
    message = f"{run.effect_id} runs"
    raise AssertionError(message)


def settle(said: Settlement, _run: EffectRun, _now: datetime) -> Done:
    """Settle as done, or fail as nobody foresaw."""
    if said.outcome == "overflow":
        raise OverflowError(said.reason)
    return Done(Decision((counted(),)))


async def test_request_that_fails_is_refused_and_the_next_is_served(fresh_database: str) -> None:
    async with open_toy_database(fresh_database, Toy()) as toys:
        processor = replace(toys.toy.processor(), effects={"e": Effect(never, settle)})
        origin = EffectOrigin(SHARD, ACCOUNT, "order/t-1", UUID(int=1), "t-1", None)
        async with toys.log.transaction(shards=[SHARD]) as tx:
            for name in ("e-1", "e-2"):
                held = Start(name, "e", hold_key="h")
                await tx.start_effects([(origin, held)], now=T0)
        recorded: list[Recorded] = []
        requests = SettlementRequests(
            pool=toys.pool,
            log=toys.log,
            processor=processor,
            journal=Journal(processor, on_committed=recorded.append),
            clock=lambda: T0,
            logger=structlog.get_logger(),
        )
        async with connect("orders", dsn_for(fresh_database, ROLE)) as connection:
            table = EffectTable(connection)
            for number, outcome in ((1, "overflow"), (2, "done")):
                asked = Settlement(outcome=outcome, by="li.wei", reason="secret text")
                assert await table.ask(UUID(int=number), f"e-{number}", asked)
            await requests.serve()
            failed, served = [await table.answer(UUID(int=number)) for number in (1, 2)]
            left = [row.effect_id for row in await table.listed(include_held=True)]
        assert failed is not None
        assert served is not None
        assert (failed.closed_as, served.closed_as) == ("refused", "applied")
        assert "OverflowError" in failed.note
        assert "secret" not in failed.note
        assert left == ["e-1"]
        assert [len(each.events) for each in recorded] == [1]
        assert await toys.count("order/t-1") == 1


async def test_request_is_served_as_an_older_command_line_wrote_it(fresh_database: str) -> None:
    told: list[Settlement] = []

    def note(said: Settlement, run: EffectRun, now: datetime) -> Done:
        told.append(said)
        return settle(said, run, now)

    async with open_toy_database(fresh_database, Toy()) as toys:
        processor = replace(toys.toy.processor(), effects={"e": Effect(never, note)})
        origin = EffectOrigin(SHARD, ACCOUNT, "order/t-1", UUID(int=1), "t-1", None)
        async with toys.log.transaction(shards=[SHARD]) as tx:
            await tx.start_effects([(origin, Start("e-1", "e", hold_key="h"))], now=T0)
        await toys.pool.execute(
            "INSERT INTO operator_request (request_id, shard, effect_id, content)"
            " VALUES ($1, $2, 'e-1', $3::jsonb)",
            UUID(int=7),
            SHARD,
            '{"outcome": "captured", "by": "li.wei", "reason": "statement of 3 May", "gateway": "bank",'
            ' "reference": "txn-1", "at": "2026-05-03T09:00:00Z"}',
        )
        requests = SettlementRequests(
            pool=toys.pool,
            log=toys.log,
            processor=processor,
            journal=Journal(processor),
            clock=lambda: T0,
            logger=structlog.get_logger(),
        )
        await requests.serve()
        assert await toys.count("order/t-1") == 1
    assert told == [
        Settlement(
            outcome="captured",
            by="li.wei",
            reason="statement of 3 May",
            gateway="bank",
            reference="txn-1",
            at=datetime(2026, 5, 3, 9, tzinfo=UTC),
        )
    ]
