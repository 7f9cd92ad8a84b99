"""`perennial log verify`: the logs against themselves and each other, and the books of the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from services.cli.addresses import SERVICES
from services.cli.clock.now import now
from services.cli.connections import connect
from services.cli.tables import print_table, screen_console
from services.runtime.errors import ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.verify.anchors import Expected, heads_line, read_heads
from services.runtime.verify.checks import Check
from services.runtime.verify.slices import heads_of

if TYPE_CHECKING:
    from services.runtime.settings import KafkaSettings

EXIT_FAILED: Final = 1
Results = Mapping[str, Sequence[Check]]

app = typer.Typer(
    help="The logs of the services: whether they are what was written, and their heads.",
    no_args_is_help=True,
)

_Services = Annotated[
    list[str] | None, typer.Option("--service", help="One service's log only; may be repeated.")
]
_All = Annotated[
    bool, typer.Option("--all", help="All three logs, and each against the others: the default.")
]
_ExpectedHead = Annotated[
    Path | None,
    typer.Option("--expected-head", help="A file or folder of heads that were kept outside."),
]
_Topics = Annotated[
    bool, typer.Option("--topics", help="Compare each log with what its topic still holds, too.")
]
_Archive = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        exists=True,
        file_okay=False,
        help="A folder with the files of archived events: they are read, too.",
    ),
]


@app.command()
def verify(  # noqa: PLR0913, PLR0917 - an option each
    service: _Services = None,
    all_: _All = False,
    expected_head: _ExpectedHead = None,
    topics: _Topics = False,
    archive: _Archive = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Check that no log was changed and that nothing was taken that its producer did not write.

    Exit 1 when anything differs. The services may go on meanwhile.
    """
    chosen = SERVICES if all_ or not service else tuple(dict.fromkeys(service))
    if unknown := [each for each in chosen if each not in SERVICES]:
        message = f"there is no service {unknown[0]}: name {', '.join(SERVICES)}"
        raise ConfigurationError(message)
    from services.cli.broker import broker_settings  # noqa: PLC0415 - settings take a while to import

    settings = broker_settings()
    keys = KeyRing.of(settings.anchor_keys)
    outside = read_heads(expected_head, keys) if expected_head else {}
    broker = settings if topics else None
    results = asyncio.run(_verified(chosen, outside, archive, keys, broker))
    failed = sum(not check.ok for checks in results.values() for check in checks)
    if as_json:
        typer.echo(json.dumps(_content(results), indent=2))
    else:
        _print(results, failed)
    if failed:
        raise typer.Exit(EXIT_FAILED)


async def _verified(
    services: Sequence[str],
    heads: Expected,
    folder: Path | None,
    keys: KeyRing | None,
    broker: KafkaSettings | None,
) -> Results:
    async with AsyncExitStack() as resources:
        connections = {
            service: await resources.enter_async_context(connect(service)) for service in services
        }
        # What checks the logs and the books takes longer to import than to see that nobody is there.
        from services.cli.books.verification import verify_all  # noqa: PLC0415

        return await verify_all(connections, heads, folder, keys, broker)


@app.command()
def heads(
    service: Annotated[
        list[str] | None, typer.Option("--service", help="One service only; may be repeated.")
    ] = None,
) -> None:
    """Print the heads of the logs, a line for each service, to be kept where no database is.

    With PERENNIAL_ANCHOR_KEYS_FILE they are signed. `perennial log verify --expected-head` takes them.
    """
    from services.cli.broker import broker_settings  # noqa: PLC0415 - as above

    keys = KeyRing.of(broker_settings().anchor_keys)
    for each in service or SERVICES:
        typer.echo(asyncio.run(_heads_line(each, keys)))


async def _heads_line(service: str, keys: KeyRing | None) -> str:
    async with connect(service) as connection:
        return heads_line(service, await heads_of(connection), now(), keys)


def _content(results: Results) -> dict[str, Any]:
    checks = {name: [check.content() for check in found] for name, found in results.items()}
    return {"ok": all(check.ok for found in results.values() for check in found), "checks": checks}


def _print(results: Results, failed: int) -> None:
    table = Table("log of", "check", "result", "compared")
    for service, checks in results.items():
        for check in checks:
            result = _result(check)
            table.add_row(service, Text(check.name), result, Text(check.compared))
    print_table(table)
    console = screen_console()
    for service, checks in results.items():
        for check in checks:
            if check.problem is not None:
                console.print(Text(f"{service}: {check.name}: {check.problem}"), soft_wrap=True)
                console.print(Text(f"  what to do: {check.advice}"), soft_wrap=True)
            if check.unread:
                told = f"{service}: {check.name}: not compared: {check.unread}"
                console.print(Text(told), soft_wrap=True)
    total = sum(len(checks) for checks in results.values())
    partly = any(check.unread for checks in results.values() for check in checks)
    sound = "what was read of the logs is sound" if partly else "the logs are sound"
    console.print(f"{failed} of {total} checks FAILED" if failed else sound)


def _result(check: Check) -> Text:
    if not check.ok:
        return Text("FAILED", "bold red")
    return Text("in part", "yellow") if check.unread else Text("ok", "green")
