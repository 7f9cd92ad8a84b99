"""A contact as a row of the tables: which columns, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from schemas.requests import Channel, Contact

COLUMNS: Final = ("email", "phone", "name", "locale", "time_zone", "channels")
_BETWEEN: Final = ","


def columns_of(contacts: Iterable[Contact]) -> list[list[Any]]:
    """Return the values of `contacts`, a list for each of the `COLUMNS`."""
    rows = [
        (each.email, each.phone, each.name, each.locale, each.time_zone, _joined(each.channels))
        for each in contacts
    ]
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in COLUMNS]


def contact_of(row: Any) -> Contact:  # noqa: ANN401 - an asyncpg record
    """Return the contact that a row with the `COLUMNS` holds."""
    values = {name: row[name] for name in COLUMNS}
    channels = [Channel(each) for each in values["channels"].split(_BETWEEN)]
    return Contact(**{**values, "channels": channels})


def _joined(channels: Iterable[Channel]) -> str:
    return _BETWEEN.join(sorted(set(channels)))
