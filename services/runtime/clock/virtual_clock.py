"""A clock for those who integrate: as far ahead of the real one as a file says. For demos and tests.

All processes of a stack read one file, so they agree; real time goes on in between.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

from services.runtime.errors import ConfigurationError

VARIABLE: Final = "PERENNIAL_VIRTUAL_CLOCK"
"""One for all services, without their prefix: the file."""
AHEAD_MAX: Final = timedelta(days=100 * 366)
_BYTES_MAX: Final = 32
_MICROSECOND: Final = timedelta(microseconds=1)


class VirtualClock:
    """Says how far ahead of real time it is. It never goes back: a lower number is not taken."""

    def __init__(self, file: Path) -> None:
        """Read `file`.

        Raises:
            ConfigurationError: it cannot be read, or holds no number.
        """
        self._file = file
        self._seen: tuple[int, int] | None = None
        self._ahead = read_ahead(file)

    def ahead(self) -> timedelta:
        """Return how far ahead it is now; what cannot be read changes nothing."""
        with suppress(OSError):
            found = self._file.stat()
            seen = (found.st_mtime_ns, found.st_ino)
            if seen != self._seen:
                with suppress(ConfigurationError):
                    self._ahead = max(self._ahead, read_ahead(self._file))
                self._seen = seen
        return self._ahead


def read_ahead(file: Path) -> timedelta:
    """Return what the file says, a whole number of microseconds.

    Raises:
        ConfigurationError: it cannot be read, or holds no such number.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_BYTES_MAX + 1).decode("ascii").strip()
        ahead = int(text) * _MICROSECOND if text.isdigit() else None
    except (OSError, ValueError, OverflowError) as error:
        message = f"{VARIABLE}: {file} cannot be read ({type(error).__name__}): name another file"
        raise ConfigurationError(message) from None
    if ahead is None or ahead > AHEAD_MAX:
        message = (
            f"{VARIABLE}: {file} must hold how many microseconds the clock is ahead, from 0 to "
            f"{AHEAD_MAX // _MICROSECOND}: write 0 to begin"
        )
        raise ConfigurationError(message)
    return ahead


def write_ahead(file: Path, ahead: timedelta) -> None:
    """Have the clock be so far ahead; readers see the old number or the new one.

    Raises:
        ConfigurationError: it would go back, or further ahead than 100 years.
    """
    if file.exists() and ahead < read_ahead(file):
        message = "the clock would go back: what was recorded would lie in the future"
        raise ConfigurationError(message)
    if not timedelta(0) <= ahead <= AHEAD_MAX:
        message = f"the clock can be at most {AHEAD_MAX.days} days ahead of the real one"
        raise ConfigurationError(message)
    written = file.with_name(f".{file.name}.{os.getpid()}")
    written.write_text(f"{ahead // _MICROSECOND}\n", encoding="ascii")
    written.replace(file)
