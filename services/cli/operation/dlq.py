"""`perennial dlq`: look at the dead letters of a service, handle them again, or discard them."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from schemas.registry import writers
from schemas.topics import TOPICS
from services.cli.connections import connect
from services.cli.moments import moment
from services.cli.tables import print_table
from services.cli.words import counted
from services.runtime.flow.letters.dead_letters import (
    Chosen,
    DeadLetterTable,
    LetterCount,
    StoredDeadLetter,
)

ID_MAX: Final = (1 << 63) - 1
app = typer.Typer(help="Records that could not be handled.", no_args_is_help=True)
Service = Annotated[str, typer.Option("--service", "-s", help="orders, ledger or notifier")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


Reason = Annotated[str | None, typer.Option("--reason", help="Only those with this code.")]
Source = Annotated[str | None, typer.Option("--source", help="Only those of this ce_source.")]
OfTopic = Annotated[str | None, typer.Option("--topic", help="Only those of this topic.")]
Until = Annotated[
    datetime | None,
    typer.Option("--until", parser=moment, metavar="MOMENT", help="Only those that old, in UTC."),
]


@app.command("list")
def list_(
    service: Service = "orders",
    closed: Annotated[bool, typer.Option("--closed", help="Closed ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, the oldest first.")] = 200,
    as_json: AsJson = False,
) -> None:
    """List the open dead letters of a service, oldest first."""
    letters, counts = asyncio.run(_listed(service, closed=closed, limit=limit))
    if as_json:
        typer.echo(json.dumps([_summary(letter) for letter in letters], indent=2))
        return
    table = Table(
        "id", "topic", "partition", "offset", "source", "reason", "attempts", "at", "state"
    )
    for letter in letters:
        row = _summary(letter)
        table.add_row(*(str(row[name]) for name in row if name != "detail"))
    print_table(table)
    typer.echo(f"{counted(len(letters), 'dead letter')} of {service}")
    open_ones, overflow = sum(each.kept for each in counts), sum(each.overflow for each in counts)
    if len(letters) == limit or overflow:
        typer.echo(
            f"{open_ones} {_be(open_ones)} open, and {overflow} more {_be(overflow)} on the dead-letter "
            f"topic alone: `perennial dlq summary --service {service}`"
        )


@app.command()
def summary(service: Service = "orders", as_json: AsJson = False) -> None:
    """Count the open dead letters by topic, source and reason, and what there was no room for."""
    counts = asyncio.run(_counted(service))
    rows = [
        asdict(each) | {"oldest": each.oldest.isoformat(), "newest": each.newest.isoformat()}
        for each in counts
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("topic", "source", "reason", "kept", "overflow", "oldest", "newest")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    print_table(table)
    kept, overflow = sum(each.kept for each in counts), sum(each.overflow for each in counts)
    typer.echo(f"{counted(kept, 'dead letter')} of {service}, and {overflow} on the topic alone")


@app.command()
def show(
    dead_letter_id: Annotated[int, typer.Argument(min=1, max=ID_MAX)],
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
    if letter.whole:
        shown |= {
            "original_bytes": letter.whole.record_bytes,
            "original_value_sha256": letter.whole.value_sha256.hex(),
        }
    if reveal:
        shown |= {
            "key": _shown(letter.key),
            "value": _shown(letter.value),
            "headers_base64": [list(header) for header in letter.headers],
        }
    typer.echo(json.dumps(shown, indent=2))


@app.command()
def redrive(  # noqa: PLR0913, PLR0917 - each is an option of the command
    dead_letter_ids: Annotated[list[int] | None, typer.Argument()] = None,
    service: Service = "orders",
    every: Annotated[bool, typer.Option("--all", help="Every open one.")] = False,
    reason: Reason = None,
    source: Source = None,
    topic: OfTopic = None,
    until: Until = None,
    wait_seconds: Annotated[int, typer.Option(help="How long to wait for the outcome.")] = 30,
) -> None:
    """Have the running service handle dead letters again, in the order they arrived."""
    chosen = _chosen(reason, source, topic, until)
    if not dead_letter_ids and not every and chosen is None:
        typer.echo(
            "name dead letters, or choose by --reason, --source, --topic, or --all", err=True
        )
        raise typer.Exit(2)
    outcomes = asyncio.run(
        _redrive(service, dead_letter_ids or [], chosen, wait_seconds, every=every)
    )
    if not outcomes and not dead_letter_ids:
        _say_none_matches(service, "redriven")
        raise typer.Exit(1)
    for letter in outcomes:
        row = _summary(letter)
        typer.echo(f"{row['id']}: {row['state']} ({letter.closed_note or letter.detail})")
    unknown = set(dead_letter_ids or []) - {letter.dead_letter_id for letter in outcomes}
    if unknown:
        _say_unknown("no", sorted(unknown), service)
    if unknown or any(letter.closed_at is None for letter in outcomes):
        raise typer.Exit(1)


@app.command()
def discard(  # noqa: PLR0913, PLR0917 - each is an option of the command
    dead_letter_id: Annotated[int | None, typer.Argument()] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason",
            help="With an id: why; it is kept with the record. Without: only those with this code.",
        ),
    ] = None,
    service: Service = "orders",
    source: Source = None,
    topic: OfTopic = None,
    until: Until = None,
    note: Annotated[
        str, typer.Option("--note", help="Why, for many at once.")
    ] = "discarded in bulk",
) -> None:
    """Close one dead letter, or all that match, without handling them. The records are kept.

    Those about events of our own services are left out unless --topic names them: their order counts.
    """
    if dead_letter_id is None:
        _close_many(service, _chosen(reason, source, topic, until), note)
        return
    if reason is None:
        typer.echo("say why with --reason; it is kept with the record", err=True)
        raise typer.Exit(2)
    if not asyncio.run(_discard(service, dead_letter_id, reason)):
        _say_unknown("no open", [dead_letter_id], service)
        raise typer.Exit(1)
    typer.echo(f"dead letter {dead_letter_id} of {service} discarded")


def _close_many(service: str, chosen: Chosen | None, note: str) -> None:
    if chosen is None:
        typer.echo("name a dead letter, or choose by --reason, --source, --topic", err=True)
        raise typer.Exit(2)
    closed, forgotten = asyncio.run(_discard_many(service, chosen, note))
    if not closed and not forgotten:
        _say_none_matches(service, "discarded")
        raise typer.Exit(1)
    typer.echo(
        f"{counted(closed, 'dead letter')} of {service} discarded, "
        f"{counted(forgotten, 'counted one')} forgotten"
    )


def _chosen(
    reason: str | None, source: str | None, topic: str | None, until: datetime | None
) -> Chosen | None:
    if (reason, source, topic, until) == (None, None, None, None):
        return None
    return Chosen(reason, source, topic, until, spared=writers(TOPICS))


async def _listed(
    service: str, *, closed: bool, limit: int
) -> tuple[list[StoredDeadLetter], list[LetterCount]]:
    async with connect(service) as connection:
        table = DeadLetterTable(connection)
        return await table.listed(include_closed=closed, limit=limit), await table.summary()


async def _counted(service: str) -> list[LetterCount]:
    async with connect(service) as connection:
        return await DeadLetterTable(connection).summary()


async def _discard_many(service: str, chosen: Chosen, note: str) -> tuple[int, int]:
    async with connect(service) as connection:
        return await DeadLetterTable(connection).discard_matching(chosen, note)


async def _one(service: str, dead_letter_id: int) -> StoredDeadLetter | None:
    async with connect(service) as connection:
        return await DeadLetterTable(connection).one(dead_letter_id)


async def _discard(service: str, dead_letter_id: int, reason: str) -> bool:
    async with connect(service) as connection:
        return await DeadLetterTable(connection).close(dead_letter_id, "discarded", reason)


async def _redrive(
    service: str,
    dead_letter_ids: list[int],
    chosen: Chosen | None,
    wait_seconds: int,
    *,
    every: bool,
) -> list[StoredDeadLetter]:
    async with connect(service) as connection:
        table = DeadLetterTable(connection)
        ids = dead_letter_ids
        if every or chosen:
            ids = await table.ask_redrive_matching(replace(chosen or Chosen(), spared=()))
        else:
            await table.ask_redrive(ids)
        for _ in range(wait_seconds * 5):
            if not await table.asked():
                break
            await asyncio.sleep(0.2)
        return await table.some(ids)


def _be(number: int) -> str:
    return "is" if number == 1 else "are"


def _say_none_matches(service: str, done: str) -> None:
    message = (
        f"no open dead letter of {service} matches: nothing was {done}; see `perennial dlq summary`"
    )
    typer.echo(message, err=True)


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
        "source": letter.source,
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
