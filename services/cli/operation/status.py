"""`perennial status`: how the system stands, on one screen, and an exit status for scripts."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import ExitStack, suppress
from typing import Annotated, Final

import typer
from rich.live import Live

from services.cli.addresses import load_addresses
from services.cli.clock.now import now
from services.cli.operation.status_screen import as_data, screen
from services.cli.operation.survey import Limits, Survey, survey
from services.cli.tables import print_table, screen_console

EXIT_NEEDS_A_PERSON: Final = 1
EXIT_UNREACHABLE: Final = 3


def status(  # noqa: PLR0913, PLR0917 - each is an option of the command
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again until Ctrl-C; with --json, a line each.")
    ] = False,
    digest: Annotated[
        bool, typer.Option("--digest", help="Replay the ledger too, for the digest of its books.")
    ] = False,
    every_seconds: Annotated[int, typer.Option(min=1, help="Between two looks of --watch.")] = 2,
    lag_max: Annotated[
        int, typer.Option(min=0, help="More records behind are a problem.")
    ] = 10_000,
    age_max_seconds: Annotated[
        int, typer.Option(min=1, help="An effect that waits for longer is a problem.")
    ] = 3_600,
    retention_share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="A cursor in this oldest part of what a topic holds is a problem."
        ),
    ] = 0.2,
) -> None:
    """Show how the services stand. Exit 0: all is well; 1: a person must look; 3: no answer.

    With --watch, Ctrl-C ends it with the status of the last look.
    """
    limits = Limits(lag_max, age_max_seconds, retention_share)
    if watch and digest:
        message = "a replay for each look is too much: leave out --digest or --watch"
        raise typer.BadParameter(message)
    if watch:
        raise typer.Exit(_watch(limits, every_seconds, as_json=as_json))
    found = _look(limits)
    books = _books() if digest and "ledger" in found.services else None
    if as_json:
        typer.echo(json.dumps(as_data(found, books), indent=2))
    else:
        print_table(screen(found, books))
    if code := exit_code(found):
        raise typer.Exit(code)


def exit_code(found: Survey) -> int:
    """Return what a script wants to know."""
    if found.unreachable:
        return EXIT_UNREACHABLE
    return EXIT_NEEDS_A_PERSON if found.problems else 0


def _books() -> str:
    from services.cli.books.ledger import replay_digest  # noqa: PLC0415 - Arrow takes longer than a look

    return asyncio.run(replay_digest())


def _look(limits: Limits) -> Survey:
    return asyncio.run(survey(load_addresses(), limits, now()))


def _watch(limits: Limits, every_seconds: int, *, as_json: bool) -> int:
    """Look until interrupted; return the exit status of the last look.

    A terminal shows one screen that changes; anything else gets each look, one after the other.
    """
    console = screen_console()
    code = 0
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        live = (
            stack.enter_context(Live(console=console, screen=True, auto_refresh=False))
            if console.is_terminal and not as_json
            else None
        )
        while True:
            found = _look(limits)
            code = exit_code(found)
            if as_json:
                typer.echo(json.dumps(as_data(found, None)))
            elif live is not None:
                live.update(screen(found, None), refresh=True)
            else:
                print_table(screen(found, None))
                sys.stdout.flush()
            time.sleep(every_seconds)
    return code
