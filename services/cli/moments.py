"""Days and moments as a person writes them on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, time

import typer


def moment(text: str) -> datetime:
    """Read a day, of which the first moment in UTC counts, or a moment with its time zone.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        if len(text) == len("2026-11-20"):
            day = datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - of UTC, see the next line
            return datetime.combine(day, time.min, UTC)
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    message = "write a day as 2026-11-20, or a moment as 2026-11-20T08:00:00Z"
    raise typer.BadParameter(message)
