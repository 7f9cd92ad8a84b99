"""`perennial orders show`: the timeline of one renewal or top-up across the services."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from schemas.envelope import utc_text
from schemas.money import decimal_text
from services.cli.connections import connect

app = typer.Typer(help="What became of an order.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One event as one service recorded it."""

    service: str
    recorded_at: datetime
    event_type: str
    position: str
    body: dict[str, Any]

    def told(self) -> str:
        """Return the fields that tell the story, for a table cell."""
        parts = []
        for name in ("reason", "amount", "total", "method", "outcome", "valid_until", "template"):
            value = self.body.get(name)
            if isinstance(value, dict):
                value = (
                    f"{decimal_text(value['amount_minor'], value['currency'])} {value['currency']}"
                )
            if value is not None:
                parts.append(f"{name} {value}")
        return ", ".join(parts)


@app.command()
def show(
    order_id: Annotated[str, typer.Argument(help="A renewal_id or topup_id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show every event about one renewal or top-up, in the order the services recorded them."""
    entries = asyncio.run(timeline(order_id))
    if not entries:
        typer.echo(f"nothing is known of {order_id}: was it published, and consumed?", err=True)
        raise typer.Exit(1)
    if as_json:
        rows = [
            {
                "service": entry.service,
                "recorded_at": utc_text(entry.recorded_at),
                "type": entry.event_type,
                "position": entry.position,
                "told": entry.told(),
                "data": entry.body,
            }
            for entry in entries
        ]
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    Console().print(_table(order_id, entries))


def _table(order_id: str, entries: list[TimelineEntry]) -> Table:
    day = utc_text(entries[0].recorded_at)[:10]
    table = Table(title=f"{order_id}, from {day} (UTC)", title_justify="left")
    table.add_column("recorded", no_wrap=True)
    table.add_column("service", no_wrap=True)
    table.add_column("event", no_wrap=True)
    table.add_column("what")
    for entry in entries:
        name = entry.event_type.split(".")[1]
        recorded = utc_text(entry.recorded_at)
        shown = recorded[11:23] if recorded.startswith(day) else recorded[:19].replace("T", " ")
        table.add_row(shown, entry.service, name, entry.told())
    return table


async def timeline(order_id: str) -> list[TimelineEntry]:
    """Return the events of an order from the logs of all services, oldest first."""
    entries: list[TimelineEntry] = []
    async with connect("orders") as connection:
        streams = [f"order/{order_id}", f"topup/{order_id}"]
        rows = await connection.fetch(
            f"{_SELECT} WHERE stream_id = ANY($1::text[]) ORDER BY position", streams
        )
        entries += [_entry("orders", row) for row in rows]
    if not rows:
        return []
    account_id = rows[0]["account_id"]
    for service in ("ledger", "notifier"):
        async with connect(service) as connection:
            rows = await connection.fetch(
                f"{_SELECT} WHERE account_id = $1 AND correlation_id = $2 AND source = $3"
                " ORDER BY position",
                account_id,
                order_id,
                f"/billing/{service}",
            )
            entries += [_entry(service, row) for row in rows]
            if service == "ledger":
                booked = await connection.fetch(
                    f"{_SELECT} WHERE account_id = $1 AND correlation_id = $2 AND source <> $3"
                    " ORDER BY position",
                    account_id,
                    order_id,
                    "/billing/ledger",
                )
                entries += [_entry("ledger, booked", row) for row in booked]
    return sorted(entries, key=lambda entry: (entry.recorded_at, entry.position))


_SELECT = "SELECT shard, position, type, account_id, recorded_at, body FROM event"


def _entry(service: str, row: asyncpg.Record) -> TimelineEntry:
    position = f"{row['shard']}/{row['position']}"
    return TimelineEntry(
        service, row["recorded_at"], row["type"], position, json.loads(row["body"])
    )
