"""`perennial dlq`: look at the dead letters of a service, handle them again, or discard them."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.cli.connections import connect
from services.runtime.flow.dead_letters import DeadLetterBox, StoredDeadLetter

app = typer.Typer(help="Records that could not be handled.", no_args_is_help=True)
Service = Annotated[str, typer.Option("--service", "-s", help="orders, ledger or notifier")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("list")
def list_(
    service: Service = "orders",
    closed: Annotated[bool, typer.Option("--closed", help="Closed ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the open dead letters of a service, oldest first."""
    letters = asyncio.run(_listed(service, closed=closed))
    if as_json:
        typer.echo(json.dumps([_summary(letter) for letter in letters], indent=2))
        return
    table = Table("id", "topic", "partition", "offset", "reason", "attempts", "at", "state")
    for letter in letters:
        row = _summary(letter)
        table.add_row(*(str(row[name]) for name in row if name != "detail"))
    console = Console()
    console.print(table)
    console.print(f"{len(letters)} dead letters of {service}")


@app.command()
def show(
    dead_letter_id: int,
    service: Service = "orders",
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Print the record too; it may hold personal data.")
    ] = False,
) -> None:
    """Show why one record was dead-lettered and, when asked, the record itself."""
    letter = asyncio.run(_one(service, dead_letter_id))
    if letter is None:
        _say_unknown("no", [dead_letter_id], service)
        raise typer.Exit(1)
    shown = _summary(letter)
    if reveal:
        shown |= {
            "key": _shown(letter.key),
            "value": _shown(letter.value),
            "headers_base64": [list(header) for header in letter.headers],
        }
    typer.echo(json.dumps(shown, indent=2))


@app.command()
def redrive(
    dead_letter_ids: Annotated[list[int] | None, typer.Argument()] = None,
    service: Service = "orders",
    every: Annotated[bool, typer.Option("--all", help="Every open one.")] = False,
    wait_seconds: Annotated[int, typer.Option(help="How long to wait for the outcome.")] = 30,
) -> None:
    """Have the running service handle dead letters again, in the order they arrived."""
    if not dead_letter_ids and not every:
        typer.echo("name dead letters, or --all", err=True)
        raise typer.Exit(2)
    outcomes = asyncio.run(_redrive(service, dead_letter_ids or [], wait_seconds, every=every))
    for letter in outcomes:
        row = _summary(letter)
        typer.echo(f"{row['id']}: {row['state']} ({letter.closed_note or letter.detail})")
    unknown = set(dead_letter_ids or []) - {letter.dead_letter_id for letter in outcomes}
    if unknown:
        _say_unknown("no", sorted(unknown), service)
    if unknown or any(letter.closed_at is None for letter in outcomes):
        raise typer.Exit(1)


@app.command()
def discard(
    dead_letter_id: int,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the record.")],
    service: Service = "orders",
) -> None:
    """Close a dead letter without handling it. The record is kept."""
    if not asyncio.run(_discard(service, dead_letter_id, reason)):
        _say_unknown("no open", [dead_letter_id], service)
        raise typer.Exit(1)


async def _listed(service: str, *, closed: bool) -> list[StoredDeadLetter]:
    async with connect(service) as connection:
        return await DeadLetterBox(connection).listed(include_closed=closed)


async def _one(service: str, dead_letter_id: int) -> StoredDeadLetter | None:
    async with connect(service) as connection:
        return await DeadLetterBox(connection).one(dead_letter_id)


async def _discard(service: str, dead_letter_id: int, reason: str) -> bool:
    async with connect(service) as connection:
        return await DeadLetterBox(connection).close(dead_letter_id, "discarded", reason)


async def _redrive(
    service: str, dead_letter_ids: list[int], wait_seconds: int, *, every: bool
) -> list[StoredDeadLetter]:
    async with connect(service) as connection:
        box = DeadLetterBox(connection)
        ids = [letter.dead_letter_id for letter in await box.listed()] if every else dead_letter_ids
        await box.ask_redrive(ids)
        for _ in range(wait_seconds * 5):
            if not await box.asked():
                break
            await asyncio.sleep(0.2)
        found = [await box.one(dead_letter_id) for dead_letter_id in ids]
        return [letter for letter in found if letter is not None]


def _say_unknown(which: str, dead_letter_ids: list[int], service: str) -> None:
    numbers = ", ".join(str(number) for number in dead_letter_ids)
    typer.echo(f"{which} dead letter {numbers} in {service}: see `perennial dlq list`", err=True)


def _summary(letter: StoredDeadLetter) -> dict[str, Any]:
    asked = "redrive asked" if letter.redrive_asked_at else "open"
    return {
        "id": letter.dead_letter_id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.record_offset,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "at": letter.dead_lettered_at.isoformat(),
        "state": letter.closed_as or asked,
        "detail": letter.detail,
    }


def _shown(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + b64encode(value).decode()
