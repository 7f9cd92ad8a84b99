"""`perennial shards`: which shards wait for a person and why, and letting them go on."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Final

import typer
from rich.table import Column, Table
from rich.text import Text

from schemas.envelope import utc_text
from services.cli.connections import connect
from services.cli.tables import print_table
from services.cli.words import counted
from services.runtime.flow.operator.parking import RESUMED, ParkedShard, ParkedShardTable

EXIT_NOT_DONE: Final = 1
_POLLS_PER_SECOND: Final = 5
_SETTLE_SECONDS: Final = 3
"""What fails again parks its shard again soon after it was read again."""

app = typer.Typer(help="Shards that wait for a person.", no_args_is_help=True)
Service = Annotated[str, typer.Option("--service", "-s", help="orders, ledger or notifier")]


@app.command("list")
def list_(
    service: Service = "ledger",
    resumed: Annotated[bool, typer.Option("--resumed", help="Those too that went on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the parked shards of a service: the event, why, and what was asked."""
    found = asyncio.run(_listed(service, resumed=resumed))
    if as_json:
        typer.echo(json.dumps([_data(parked) for parked in found], indent=2))
        return
    table = Table(
        "shard",
        Column("at", overflow="fold"),
        Column("event", overflow="fold"),
        Column("reason", overflow="fold"),
        "since",
        Column("state", overflow="fold"),
    )
    for parked in found:
        row = _data(parked)
        event = f"{row['event_type'] or ''} {row['event_id'] or ''}".strip()
        table.add_row(
            str(parked.shard),
            Text(row["at"] or ""),
            Text(event),
            Text(f"{parked.reason}: {parked.detail}"),
            row["parked_at"],
            row["state"],
        )
    print_table(table)
    typer.echo(f"{counted(len(found), 'parked shard')} of {service}")


@app.command()
def resume(
    reason: Annotated[str, typer.Option("--reason", help="What was mended; kept with the shard.")],
    shard: Annotated[
        list[int] | None, typer.Option("--shard", help="Which; all of them without.")
    ] = None,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside",
            help="First move the record that it waits for to the dead letters: only for one that is"
            " not ours. Behind one that is, the shard parks again.",
        ),
    ] = False,
    service: Service = "ledger",
    wait_seconds: Annotated[int, typer.Option(min=1, help="How long to wait for the answer.")] = 60,
) -> None:
    """Have the running service try parked shards again. What still fails parks its shard again."""
    asked = asyncio.run(_resume(service, shard, reason, wait_seconds, set_aside=set_aside))
    if not asked:
        typer.echo(f"nothing to resume in {service}: see `perennial shards list`", err=True)
        raise typer.Exit(EXIT_NOT_DONE)
    for parked, answer, went_on in asked:
        typer.echo(f"shard {parked.shard}: {answer}", err=not went_on)
    if not all(went_on for _, _, went_on in asked):
        raise typer.Exit(EXIT_NOT_DONE)


async def _listed(service: str, *, resumed: bool) -> list[ParkedShard]:
    async with connect(service) as connection:
        return await ParkedShardTable(connection).listed(include_resumed=resumed)


async def _resume(
    service: str, shards: list[int] | None, reason: str, wait_seconds: int, *, set_aside: bool
) -> list[tuple[ParkedShard, str, bool]]:
    async with connect(service) as connection:
        table = ParkedShardTable(connection)
        asked = await table.ask(shards or None, reason, set_aside=set_aside)
        return [(parked, *await _answer(table, parked, service, wait_seconds)) for parked in asked]


async def _answer(
    table: ParkedShardTable, asked: ParkedShard, service: str, wait_seconds: int
) -> tuple[str, bool]:
    """Return what the service said, and whether the shard went on."""
    for _ in range(wait_seconds * _POLLS_PER_SECOND):
        parked = await table.one(asked.parking_id)
        if parked is not None and parked.resumed_at is not None:
            return await _after(table, parked)
        if parked is not None and parked.resume_answer is not None:
            return f"still parked ({parked.resume_answer})", False
        await asyncio.sleep(1 / _POLLS_PER_SECOND)
    return f"no answer yet; the request waits for {service} to run", False


async def _after(table: ParkedShardTable, parked: ParkedShard) -> tuple[str, bool]:
    """Wait until the shard has passed the record it waited for, or has parked again."""
    for _ in range(_SETTLE_SECONDS * _POLLS_PER_SECOND):
        for other in await table.listed():
            if other.shard == parked.shard:
                return f"parked again ({other.reason}: {other.detail})", False
        if parked.place and parked.record_offset is not None and not parked.set_aside:
            cursor = await table.cursor(parked.place)
            if cursor is not None and cursor > parked.record_offset:
                break
        await asyncio.sleep(1 / _POLLS_PER_SECOND)
    return RESUMED, True


def _data(parked: ParkedShard) -> dict[str, Any]:
    at = None
    if parked.topic is not None:
        at = f"{parked.topic}/{parked.partition}/{parked.record_offset}"
    state = "resume asked" if parked.resume_asked_at else "parked"
    return {
        "shard": parked.shard,
        "reason": parked.reason,
        "detail": parked.detail,
        "at": at,
        "event_id": str(parked.event_id) if parked.event_id else None,
        "event_type": parked.event_type,
        "source": parked.source,
        "sequence": parked.sequence,
        "parked_at": utc_text(parked.parked_at),
        "state": "resumed" if parked.resumed_at else state,
        "resume_reason": parked.resume_reason,
        "answer": parked.resume_answer,
    }
