"""`perennial customers history`: every order, top-up and refund of an account."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from schemas.contents import EVENT_TYPES
from schemas.envelope import Event, utc_text
from services.cli.connections import connect
from services.orders.history import Entry, history
from services.runtime.kafka.records.partitions import shard_of

app = typer.Typer(help="What a customer ordered, paid and got back.", no_args_is_help=True)
_SHARDS = "SELECT count(*) FROM shard"
_EVENTS = (
    "SELECT stream_id, type, body FROM event WHERE shard = $1 AND account_id = $2 ORDER BY position"
)
_ARCHIVED = "SELECT count(*) FROM archived_stream WHERE account_id = $1"


@app.callback()
def customers() -> None:
    """Keep `history` a command of its own, whatever other commands there are."""


@app.command("history")
def show_history(
    account_id: Annotated[str, typer.Argument(help="The account, as in the events.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show every order, top-up and refund of an account: time, amount, method, status, receipt.

    Times are UTC. The amount of a refund is what went back. Exit 1: nothing is known of the account.
    """
    entries, archived = asyncio.run(_read(account_id))
    if not entries and not archived:
        typer.echo(f"orders knows nothing of {account_id}: is the id right?", err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps([_content(each) for each in entries], indent=2, ensure_ascii=False))
    else:
        Console().print(_table(account_id, entries))
    if archived:
        message = f"{archived} older orders are in files: see `perennial orders show ORDER`"
        typer.echo(message, err=True)


async def _read(account_id: str) -> tuple[list[Entry], int]:
    async with connect("orders") as connection:
        shard = shard_of(account_id, await connection.fetchval(_SHARDS) or 1)
        rows = await connection.fetch(_EVENTS, shard, account_id)
        archived = await connection.fetchval(_ARCHIVED, account_id)
    return history([(row["stream_id"], _event(row)) for row in rows]), archived


def _event(row: asyncpg.Record) -> Event:
    return EVENT_TYPES[row["type"]].parse(row["body"])


def _content(entry: Entry) -> dict[str, Any]:
    return {
        "at": utc_text(entry.at),
        "kind": entry.kind,
        "order_id": entry.order_id,
        "what": entry.what,
        "amount": entry.amount.model_dump(mode="json") if entry.amount else None,
        "method": entry.method,
        "status": entry.status,
        "reason": entry.reason,
        "reference": entry.reference,
        "receipt": entry.receipt,
    }


def _table(account_id: str, entries: list[Entry]) -> Table:
    table = Table(title=f"{account_id} (UTC)", title_justify="left")
    for name in ("at", "what", "order", "amount", "method", "status", "receipt"):
        table.add_column(name, justify="right" if name == "amount" else "left")
    for each in entries:
        table.add_row(
            utc_text(each.at)[:16].replace("T", " "),
            each.what or each.kind,
            each.order_id,
            str(each.amount or ""),
            each.method or "",
            f"{each.status}: {each.reason}" if each.reason else each.status,
            each.receipt or "",
        )
    return table
