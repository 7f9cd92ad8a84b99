"""What `perennial status` found, as a screen for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from schemas.envelope import utc_text
from services.cli.addresses import SERVICES
from services.cli.operation.survey import Survey
from services.runtime.watch.service_status import ServiceStatus


def screen(found: Survey, books: str | None) -> Group:
    """Return everything for one screen; `books` is the digest of a replay, when one was made."""
    parts: list[RenderableType] = [
        Text(f"Perennial at {utc_text(found.looked_at)[:19]}Z", style="bold"),
        _services(found),
        _effects(found),
    ]
    parts += [Text(f"no answer: {name}", style="bold red") for name in found.unreachable]
    parts += [Text(f"look: {problem}", style="yellow") for problem in found.problems]
    if books is not None:
        parts.append(Text(f"books of the ledger, replayed: sha256 {books}"))
    if not found.unreachable and not found.problems:
        parts.append(Text("all is well", style="green"))
    return Group(*parts)


def as_data(found: Survey, books: str | None) -> dict[str, Any]:
    """Return the same as plain data; moments as text."""
    return {
        "looked_at": utc_text(found.looked_at),
        "unreachable": found.unreachable,
        "problems": found.problems,
        "ledger_replay_sha256": books,
        "services": {
            name: _plain(asdict(status))
            | {"lag": status.lag, "ready": _ready(found, name), "not_ready": found.ready.get(name)}
            for name, status in found.services.items()
        },
    }


def _services(found: Survey) -> Table:
    table = Table(
        Column("service", no_wrap=True),
        "ready",
        Column("lag", justify="right"),
        Column("head", justify="right"),
        Column("unpublished", justify="right"),
        Column("dead letters", overflow="fold"),
        Column("log digest", no_wrap=True),
    )
    for name in SERVICES:
        status = found.services.get(name)
        words = {True: "yes", False: "no", None: "?"}
        ready = Text(words[_ready(found, name)])
        if status is None:
            table.add_row(name, ready, *["?"] * 5)
            continue
        table.add_row(
            name,
            ready,
            str(status.lag) if status.partitions else "?",
            str(sum(status.heads.values())),
            _unpublished(status, found.looked_at),
            Text(_listed(status.dead_letters)),
            status.log_digest[:16],
        )
    return table


def _effects(found: Survey) -> Table:
    table = Table(
        "service",
        "effect",
        "state",
        Column("count", justify="right"),
        Column("oldest", justify="right"),
        title="Effects",
        title_justify="left",
    )
    for name, status in found.services.items():
        for each in status.effects:
            age = _age(found.looked_at, each.oldest_started_at)
            table.add_row(name, Text(each.kind), each.state, str(each.count), age)
    return table


def _ready(found: Survey, service: str) -> bool | None:
    """Return what the probe said; None when its address is unknown or it did not answer."""
    problems = found.ready.get(service)
    return None if problems is None else not problems


def _unpublished(status: ServiceStatus, now: datetime) -> str:
    oldest = status.oldest_unpublished_at
    return str(status.unpublished) + (f" ({_age(now, oldest)})" if oldest else "")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "0"


def _age(now: datetime, then: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON takes
    match value:
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case datetime():
            return utc_text(value)
        case UUID():
            return str(value)
        case _:
            return value
