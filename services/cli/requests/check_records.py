"""`perennial check-records TOPIC-OR-FILE`: what records would become, without publishing any."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from services.cli.requests.record_checks import Verdict

EXIT_POISON: Final = 1


_TopicOrFile = Annotated[
    str,
    typer.Argument(
        help="A topic that a service reads, a file as `publish` takes it, or - for JSON Lines on stdin."
    ),
]
_OfRows = Annotated[
    str | None, typer.Option(help="Who publishes, for rows of a file that do not say.")
]
_TypeOfRows = Annotated[
    str | None, typer.Option("--type", help="Event type of rows that do not name one.")
]
_Broker = Annotated[str | None, typer.Option(help="host:port of the broker, as for publish.")]
_AsJson = Annotated[
    bool, typer.Option("--json", help="Write a JSON object for each record, and a last one.")
]


def check_records(  # noqa: PLR0913 - each is an option of the command
    topic_or_file: _TopicOrFile,
    *,
    source: _OfRows = None,
    event_type: _TypeOfRows = None,
    limit: Annotated[int, typer.Option(min=1, help="Stop after so many records.")] = 100_000,
    bootstrap_servers: _Broker = None,
    as_json: _AsJson = False,
) -> None:
    """Say what records would become; publish nothing, store nothing."""
    # Help does not wait for the services' parsers, and a file not for Kafka.
    from services.cli.requests.file_records import check_file  # noqa: PLC0415
    from services.cli.requests.record_checks import CHECKED_TOPICS  # noqa: PLC0415
    from services.cli.requests.sources import refuse_wrong_source  # noqa: PLC0415

    if source is not None:
        refuse_wrong_source(source)
    counts: Counter[str] = Counter()

    def tell(verdict: Verdict) -> bool:
        """Print a line; say whether there is room for more."""
        counts[verdict.outcome] += 1
        typer.echo(json.dumps(_row(verdict)) if as_json else _line(verdict))
        return counts.total() < limit

    if topic_or_file in CHECKED_TOPICS:
        from services.cli.broker import broker_settings  # noqa: PLC0415
        from services.cli.requests.topic_records import check_topic  # noqa: PLC0415

        settings = broker_settings(bootstrap_servers)
        ended = asyncio.run(check_topic(settings, topic_or_file, tell))
    else:
        ended = check_file(topic_or_file, source, event_type, tell)
        if not counts:
            name = "standard input" if topic_or_file == "-" else topic_or_file
            typer.echo(f"{name} holds no record", err=True)
            raise typer.Exit(EXIT_POISON)
    summary = {each: counts[each] for each in ("accepted", "ignored", "poison")} | {"ended": ended}
    typer.echo(json.dumps({"summary": summary}) if as_json else _told(summary, limit))
    raise typer.Exit(EXIT_POISON if counts["poison"] else 0)


def _row(verdict: Verdict) -> dict[str, Any]:
    return {
        "place": verdict.place,
        "type": verdict.event_type,
        "outcome": verdict.outcome,
        "findings": [asdict(each) for each in verdict.findings],
    }


def _line(verdict: Verdict) -> str:
    name = (verdict.event_type or "unknown type").removeprefix("billing.")
    told = [
        f"{each.service}: {each.reason}{', ' if each.advice else ''}{each.advice}"
        for each in verdict.findings
        if each.outcome == verdict.outcome and each.reason
    ]
    return f"{verdict.place:<12} {name:<34} {verdict.outcome:<9} {'; '.join(told)}".rstrip()


def _told(summary: Mapping[str, Any], limit: int) -> str:
    counts = ", ".join(f"{summary[each]} {each}" for each in ("accepted", "ignored", "poison"))
    more = "" if summary["ended"] else f"; stopped after {limit} records: pass --limit for more"
    return f"{counts}{more}"
