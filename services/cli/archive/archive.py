"""`perennial archive`: closed letters and requests, and events, leave the database for files."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.registry import retention
from schemas.topics import TOPICS
from services.cli.addresses import SERVICES, secret
from services.cli.clock.now import now
from services.cli.connections import connect
from services.cli.moments import moment
from services.cli.words import counted
from services.runtime.archive.events import ArchiveOutcome, archive_events
from services.runtime.archive.files import event_problems_in
from services.runtime.errors import ConfigurationError
from services.runtime.flow.operator.archive import Archived, archive_closed, problems_in
from services.runtime.key_ring import KeyRing

app = typer.Typer(
    help="What is settled and old leaves the database for files. Events of the ledger stay.",
    no_args_is_help=True,
)
ARCHIVING: Final = ("orders", "notifier")
Folder = Annotated[
    Path, typer.Option("--to", exists=True, file_okay=False, writable=True, help="A folder.")
]


@app.command()
def events(
    service: Annotated[str, typer.Option("--service", "-s", help="orders or notifier")],
    before: Annotated[
        datetime,
        typer.Option("--before", parser=moment, metavar="MOMENT", help="What is older, in UTC."),
    ],
    to: Folder,
) -> None:
    """Archive the events of orders or notifications that are over; the service may run meanwhile.

    A shard's events go in the order of their positions, up to the first that must stay: of an order
    that is not over, or not old. Keep the files for ever: what they hold is nowhere else.
    PERENNIAL_ADMIN_DSN_FILE names a file with the DSN of the tables' owner. With
    PERENNIAL_ANCHOR_KEYS_FILE the manifests are signed.
    """
    _known(service)
    if service not in ARCHIVING:
        message = (
            f"events of {service} stay: its balances are the sums of all of them, and a replay to "
            f"any day reads them. Name {' or '.join(ARCHIVING)}"
        )
        raise ConfigurationError(message)
    outcome = asyncio.run(_events(service, before, to))
    for each in outcome.written:
        typer.echo(
            f"{each.events} events of {service}, positions {each.first_position} to "
            f"{each.last_position} of shard {each.shard}: {to / each.file}"
        )
    for held in outcome.held:
        typer.echo(f"shard {held.shard} stays from {held.position} on: {held.stream_id} {held.why}")
    if not outcome.written:
        typer.echo(f"no events of {service} before {before:%Y-%m-%d %H:%M:%S} UTC may leave")


@app.command()
def closed(
    service: Annotated[str, typer.Option("--service", "-s", help="orders, ledger or notifier")],
    before: Annotated[
        datetime,
        typer.Option(
            "--before",
            parser=moment,
            metavar="MOMENT",
            help="What was closed by then, in UTC.",
        ),
    ],
    to: Folder,
) -> None:
    """Archive the closed dead letters and requests of a service; it may run meanwhile.

    PERENNIAL_ADMIN_DSN_FILE names a file with the DSN of the tables' owner. With
    PERENNIAL_ANCHOR_KEYS_FILE the manifests are signed.
    """
    _known(service)
    archived = asyncio.run(_closed(service, before, to))
    for each in archived:
        typer.echo(f"{each.rows} {each.kind} of {service}: {each.file}")
    if not archived:
        typer.echo(f"nothing of {service} was closed before {before:%Y-%m-%d %H:%M:%S} UTC")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
) -> None:
    """Compare every archive in a folder with its manifest; exit 1 when one differs.

    With PERENNIAL_ANCHOR_KEYS_FILE, the manifests must be signed.
    """
    keys = _keys()
    (closed_, problems), (files, wrong) = problems_in(folder, keys), event_problems_in(folder, keys)
    count, problems = closed_ + files, problems + wrong
    for problem in problems:
        typer.echo(problem)
    typer.echo(
        f"{len(problems)} of {counted(count, 'archive')} wrong" if problems else f"{count} sound"
    )
    if problems:
        raise typer.Exit(1)


def _known(service: str) -> None:
    if service not in SERVICES:
        message = f"there is no service {service}: name {', '.join(SERVICES)}"
        raise ConfigurationError(message)


def _owner() -> str:
    dsn = secret("PERENNIAL_ADMIN_DSN")
    if not dsn:
        message = "set PERENNIAL_ADMIN_DSN_FILE to a file with the DSN of the tables' owner"
        raise ConfigurationError(message)
    return dsn


def _keys() -> KeyRing | None:
    from services.cli.broker import broker_settings  # noqa: PLC0415 - settings take a while to import

    return KeyRing.of(broker_settings().anchor_keys)


async def _events(service: str, before: datetime, folder: Path) -> ArchiveOutcome:
    keys = _keys()
    async with connect(service, _owner()) as connection:
        from services.cli.archive.archivals import ARCHIVED  # noqa: PLC0415 - deciders, and all events

        return await archive_events(
            connection,
            service,
            ARCHIVED[service],
            before=before,
            folder=folder,
            now=now(),
            retention=retention(TOPICS),
            keys=keys,
        )


async def _closed(service: str, before: datetime, folder: Path) -> list[Archived]:
    keys = _keys()
    async with connect(service, _owner()) as connection:
        return await archive_closed(
            connection,
            service,
            before=before,
            folder=folder,
            now=now(),
            retention=retention(TOPICS),
            keys=keys,
        )
