"""`perennial orders show`: the timeline of one renewal or top-up across the services."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import asyncpg
import typer
from rich.table import Table

from schemas.envelope import utc_text
from schemas.money import decimal_text
from schemas.topics import Source, source_of
from services.cli.connections import connect
from services.cli.tables import print_table
from services.orders.order.order_id import OrderId
from services.runtime.log.stream_ids import refusals_of

app = typer.Typer(help="What became of an order.", no_args_is_help=True)


_TOLD: Final = (
    *(
        "reason",
        "amount",
        "total",
        "method",
        "outcome",
        "valid_until",
        "template",
        "files",
        "promotions_not_applied",
    ),
)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One event as one service recorded it."""

    service: str
    recorded_at: datetime
    event_type: str
    position: str
    account_id: str
    correlation_id: str
    body: dict[str, Any]

    @property
    def refuses_another(self) -> bool:
        """Say whether this refuses another request that bore the order's id."""
        return str(self.body.get("reason")).endswith("_reused")

    def told(self) -> str:
        """Return the fields that tell the story, for a table cell."""
        parts = []
        if self.refuses_another:
            source = self.body.get("request_source", "an unknown source")
            parts = [f"another request, of {self.account_id} from {source}"]
        for name in _TOLD:
            value = self.body.get(name)
            if isinstance(value, dict):
                value = (
                    f"{decimal_text(value['amount_minor'], value['currency'])} {value['currency']}"
                )
            if isinstance(value, list):
                value = ", ".join(map(str, value))
            if value is not None:
                parts.append(f"{name} {value}")
        return ", ".join(parts)


@app.command()
def show(
    order_id: Annotated[str, typer.Argument(help="A renewal_id or topup_id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show every event about one renewal or top-up, in the order the services recorded them.

    Refusals of other requests that bore its id are among them, whoever sent those.
    """
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
                "account_id": entry.account_id,
                "correlation_id": entry.correlation_id,
                "told": entry.told(),
                "data": entry.body,
            }
            for entry in entries
        ]
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    print_table(_table(order_id, entries))


def _table(order_id: str, entries: list[TimelineEntry]) -> Table:
    day = utc_text(entries[0].recorded_at)[:10]
    owner = next((entry.account_id for entry in entries if not entry.refuses_another), None)
    of = f" of {owner}" if owner else ""
    table = Table(title=f"{order_id}{of}, from {day} (UTC)", title_justify="left")
    table.add_column("recorded", no_wrap=True)
    table.add_column("service", no_wrap=True)
    table.add_column("event", no_wrap=True)
    table.add_column("what")
    for entry in entries:
        name = entry.event_type.removeprefix("billing.").partition(".")[0]
        recorded = utc_text(entry.recorded_at)
        shown = recorded[11:23] if recorded.startswith(day) else recorded[:19].replace("T", " ")
        table.add_row(shown, entry.service, name, entry.told())
    return table


async def timeline(order_id: str) -> list[TimelineEntry]:
    """Return the events of an order from the logs of all services, oldest first."""
    entries: list[TimelineEntry] = []
    async with connect("orders") as connection:
        streams = [OrderId.renewal(order_id).stream_id, OrderId.top_up(order_id).stream_id]
        left = await connection.fetch(_ARCHIVED, streams)
        entries += [_archived_entry(order_id, row) for row in left]
        rows = await connection.fetch(
            f"{_SELECT} WHERE stream_id = ANY($1::text[]) ORDER BY position", streams
        )
        entries += [_entry("orders", row) for row in rows]
        for stream_id in streams if entries else ():
            refused = await connection.fetch(
                f"{_SELECT} WHERE stream_id LIKE $1 ORDER BY recorded_at, shard, position",
                _escaped(refusals_of(stream_id)) + "%",
            )
            entries += [_entry("orders", row) for row in refused]
    if not entries:
        return []
    account_id = [*left, *rows][0]["account_id"]
    for service in ("ledger", "notifier"):
        async with connect(service) as connection:
            rows = await connection.fetch(
                f"{_SELECT} WHERE account_id = $1 AND correlation_id = $2 AND source = $3"
                " ORDER BY position",
                account_id,
                order_id,
                source_of(service),
            )
            entries += [_entry(service, row) for row in rows]
            if service == "ledger":
                booked = await connection.fetch(
                    f"{_SELECT} WHERE account_id = $1 AND correlation_id = $2 AND source <> $3"
                    " ORDER BY position",
                    account_id,
                    order_id,
                    Source.LEDGER,
                )
                entries += [_entry("ledger, booked", row) for row in booked]
    return sorted(entries, key=lambda entry: (entry.recorded_at, entry.position))


_ARCHIVED = (
    "SELECT shard, first_position, last_position, account_id, recorded_at,"
    " (SELECT coalesce(array_agg(file ORDER BY held.last_position), '{}') FROM archived_range AS held"
    "  WHERE held.shard = known.shard AND held.last_position >= known.first_position"
    "  AND held.first_position <= known.last_position) AS files"
    " FROM archived_stream AS known WHERE stream_id = ANY($1::text[])"
)
_SELECT = "SELECT shard, position, type, account_id, correlation_id, recorded_at, body FROM event"
_LIKE_SPECIAL = re.compile(r"[\\%_]")


def _escaped(text: str) -> str:
    return _LIKE_SPECIAL.sub(r"\\\g<0>", text)


def _archived_entry(order_id: str, row: asyncpg.Record) -> TimelineEntry:
    """Say which files hold the events of the order: one of them, or several."""
    position = f"{row['shard']}/{row['first_position']}"
    if row["first_position"] != row["last_position"]:
        position += f"-{row['last_position']}"
    return TimelineEntry(
        "orders",
        row["recorded_at"],
        "archived",
        position,
        row["account_id"],
        order_id,
        {"files": [*row["files"]]},
    )


def _entry(service: str, row: asyncpg.Record) -> TimelineEntry:
    position = f"{row['shard']}/{row['position']}"
    return TimelineEntry(
        service,
        row["recorded_at"],
        row["type"],
        position,
        row["account_id"],
        row["correlation_id"],
        json.loads(row["body"]),
    )
