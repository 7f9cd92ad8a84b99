"""What time it is for the services, for commands that say or compare it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.cli.addresses import load_addresses
from services.runtime.clock.virtual_clock import read_ahead
from services.runtime.errors import ConfigurationError


def now() -> datetime:
    """Return this machine's time, or that of the virtual clock of the stack that is up.

    Raises:
        ConfigurationError: the file of the virtual clock cannot be read.
    """
    file = clock_file()
    return datetime.now(UTC) + (read_ahead(file) if file else timedelta(0))


def clock_file() -> Path | None:
    """Return the file of the virtual clock, or None where time is real."""
    try:
        file = load_addresses().clock_file
    except ConfigurationError:
        return None  # no stack is known, and so no clock of it
    return Path(file) if file else None
