"""How many SQL statements each service sends in a second, counted in the server's own log."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from deploy.bench.rig import Rig
from deploy.bench.system.latency import WARM_SECONDS, latencies
from deploy.bench.system.load import Load

_SETTINGS: Final = {"log_statement": "all", "log_line_prefix": "%n %a "}
"""Each statement once, behind the time in seconds since 1970 and the name of the application."""
_LINE: Final = re.compile(rb"(\d+\.\d+) perennial-([a-z]+) LOG:  (?:statement|execute [^:]+): ")


def statements_per_second(
    rig: Rig, load: Load, *, rate: int, seconds: float
) -> Mapping[str, float]:
    """Send `rate` renewals a second; return the statements a second of each service meanwhile."""
    log = rig.stack.postgres.child.log
    with _logged(rig):
        size, started = log.stat().st_size, time.time()
        asyncio.run(latencies(rig.line(), load, rate=rate, seconds=seconds))
        with log.open("rb") as lines:
            lines.seek(size)
            first = started + WARM_SECONDS
            counts = counted(lines, first, first + seconds)
    return {service: count / seconds for service, count in counts.items()}


def counted(lines: Iterable[bytes], first: float, last: float) -> Counter[str]:
    """Return the statements by service that were logged between two times.

    A statement of several lines has one with its beginning; a call of a function is one statement.
    """
    found = (match for line in lines if (match := _LINE.match(line)))
    return Counter(each[2].decode() for each in found if first <= float(each[1]) < last)


@contextmanager
def _logged(rig: Rig) -> Iterator[None]:
    """Have the server log every statement: that takes its time, so nothing else is measured."""
    for name, value in _SETTINGS.items():
        rig.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    rig.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        for name in _SETTINGS:
            rig.execute(f"ALTER SYSTEM RESET {name}")
        rig.execute("SELECT pg_reload_conf()")
