"""From when to when a plan works: periods of 24 hours, or calendar days of a time zone. PURE.

Zones come from the package tzdata that the lock pins, never from the machine: all processes agree.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

_DATA: Final = "tzdata"
_ZONES_MAX: Final = 600


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all zones, links among them."""
    return frozenset(files(_DATA).joinpath("zones").read_text(encoding="utf-8").split())


@lru_cache(maxsize=_ZONES_MAX)
def zone_named(name: str) -> ZoneInfo:
    """Return one of `zone_names`, as the package has it."""
    path = files(_DATA).joinpath("zoneinfo", *name.split("/"))
    with path.open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def valid_until(valid_from: datetime, days: int, time_zone: str | None) -> datetime:
    """Return the first moment, in UTC, at which a plan of `days` no longer works.

    Without a `time_zone`, a day has 24 hours. With one of `zone_names`, days are its calendar's: the
    day on which the plan begins is the first, and the last one ends with its midnight. A midnight
    that the clocks skip is the moment at which they do; of one that comes twice, the first counts.
    """
    if time_zone is None:
        return valid_from + timedelta(days=days)
    zone = zone_named(time_zone)
    first_day = valid_from.astimezone(zone).date()
    behind = first_day + timedelta(days=days)
    return datetime(behind.year, behind.month, behind.day, tzinfo=zone).astimezone(UTC)
