"""`perennial clock`: what time it is for the services, and moving a virtual clock on."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from schemas.envelope import utc_text
from services.cli.clock.now import clock_file, now
from services.cli.words import counted
from services.runtime.clock.virtual_clock import AHEAD_MAX, read_ahead
from services.runtime.errors import ConfigurationError

EXIT_UNSETTLED: Final = 1
_PART: Final = re.compile(r"([0-9]{1,6})(w|d|h|m|s)", re.ASCII)
_TEXT_MAX: Final = 40
_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}

app = typer.Typer(help="What time it is for the services.", no_args_is_help=True)


def duration(text: str) -> timedelta:
    """Read a duration such as `31d` or `1d12h`.

    Raises:
        ConfigurationError: it is none, is nothing, or is longer than a clock can be ahead.
    """
    parts = _PART.findall(text[:_TEXT_MAX])
    if not parts or "".join(number + unit for number, unit in parts) != text:
        shown = text.encode("unicode_escape").decode()[:40]
        message = f"{shown!r} is no duration: write 31d, 12h, 90m, 30s, 2w or 1d12h"
        if text.startswith("-"):
            message = "the clock is not turned back: what was recorded would lie in the future"
        raise ConfigurationError(message)
    found = sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta(0))
    if not timedelta(0) < found <= AHEAD_MAX:
        message = f"the clock moves on by more than nothing, and at most {AHEAD_MAX.days} days"
        raise ConfigurationError(message)
    return found


def virtual_clock_file() -> Path:
    """Return the file of the virtual clock.

    Raises:
        ConfigurationError: the clock is the real one.
    """
    file = clock_file()
    if file is None:
        message = (
            "the clock of the services is the real one: start a stack with `make up CLOCK=virtual`"
        )
        raise ConfigurationError(message)
    return file


@app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what time it is for the services, and how far that is ahead."""
    file = clock_file()
    ahead = read_ahead(file) if file else timedelta(0)
    if as_json:
        content = {
            "now": utc_text(now()),
            "virtual": file is not None,
            "ahead_seconds": int(ahead.total_seconds()),
        }
        typer.echo(json.dumps(content))
        return
    which = f"virtual, {ahead} ahead" if file else "real"
    typer.echo(f"{utc_text(now())} ({which})")


@app.command(context_settings={"ignore_unknown_options": True})
def advance(
    by: Annotated[str, typer.Argument(help="How far: 31d, 12h, 90m, 30s, 2w, 1d12h.")],
    step: Annotated[
        str | None,
        typer.Option(
            help="Do together what is due within so much time, such as 1h; otherwise each time apart."
        ),
    ] = None,
    timeout_seconds: Annotated[
        int, typer.Option(min=1, help="How long to wait at each time until all is done.")
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Move the virtual clock on, from one due time to the next; return when all that is due is done.

    Exit 1 when something that is due is not done in time; the clock then stands at that time.
    """
    # Who is refused does not wait for the clients.
    file, length = virtual_clock_file(), duration(by)
    gathered = duration(step) if step else timedelta(0)
    from services.cli.clock.advance import Advance, Unsettled  # noqa: PLC0415

    try:
        done = asyncio.run(Advance(file, gathered, timeout_seconds).by(length))
    except Unsettled as unsettled:
        typer.echo(f"{utc_text(now())}: {unsettled}", err=True)
        raise typer.Exit(EXIT_UNSETTLED) from None
    if as_json:
        typer.echo(json.dumps({**asdict(done), "now": utc_text(now())}))
        return
    typer.echo(
        f"{utc_text(now())}: {counted(done.stops, 'stop')}, {counted(done.events, 'event')} recorded"
    )
