"""What a kind of effect says it needs after a loss is in the table, to be looked up first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.cli.connections import connect
from services.runtime.effect import Release, Start
from services.runtime.effect_definition import EffectDefinition, Restored
from services.runtime.log.event_log import EffectOrigin
from services.runtime.recovery.restoration import restore_effects, streams_of
from tests.controls import T0, dsn_for
from tests.integration.toy_database import ROLE, open_toy_database
from tests.unit.runtime.effects.test_runtime_effect_definition import KNOCK, Knock, Street
from tests.unit.runtime.toy import ACCOUNT, SHARD, Toy, request

STREAM = "order/t-1"


async def restore(
    connection: asyncpg.Connection, restored: Restored
) -> tuple[int, dict[str, tuple[Any, ...]]]:
    """Restore one stream; return how many were written, and what is in the table then."""
    knock: EffectDefinition[Any, Street, Any] = KNOCK
    definition = replace(knock, restore=lambda past: past)
    streams = await streams_of(connection, [STREAM, "order/none"])
    assert [[each.stream_version for each in stored] for stored in streams] == [[1, 2]]
    count = await restore_effects(connection, streams, [definition], lambda _: restored)
    rows = await connection.fetch(
        "SELECT effect_id, kind, stream_id, account_id, payload::text, hold_key, due_at IS NOT NULL,"
        " interrupted FROM effect ORDER BY effect_id"
    )
    return count, {row[0]: tuple(row)[1:] for row in rows}


async def test_kind_is_restored_as_its_definition_says(fresh_database: str) -> None:
    async with open_toy_database(fresh_database, Toy()) as toys:
        await toys.intake.handle([request(0), request(1, amount=6)])
        origin = EffectOrigin(SHARD, ACCOUNT, STREAM, UUID(int=1), "t-1", None)
        left = [Start(name, "knock", hold_key=f"h/{name}") for name in ("held", "old", "stale")]
        left.append(Start("other", "e", due_at=T0 + timedelta(days=9)))
        async with toys.log.transaction(shards=[SHARD]) as tx:
            await tx.start_effects([(origin, each) for each in left], now=T0)
        async with connect("orders", dsn_for(fresh_database, ROLE)) as connection:
            kept = Restored(
                (Release("h/held"), Start("new", "knock", Knock(door="7").model_dump()))
            )
            count, rows = await restore(connection, kept)
            assert count == 1
            assert rows["new"] == ("knock", STREAM, ACCOUNT, '{"door": "7"}', None, True, True)
            assert rows["held"] == ("knock", STREAM, ACCOUNT, "{}", None, True, True)
            assert rows["old"] == ("knock", STREAM, ACCOUNT, "{}", "h/old", False, False)
            assert set(rows) == {"new", "held", "old", "stale", "other"}

            again = Restored((Start("old", "knock", hold_key="h/again"),), drop_others=True)
            count, rows = await restore(connection, again)
            assert count == 1
            assert rows["old"] == ("knock", STREAM, ACCOUNT, "{}", "h/again", False, True)
            assert set(rows) == {"old", "other"}
