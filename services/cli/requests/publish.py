"""`perennial publish FILE`: publish the requests and confirmations of a JSON Lines or CSV file."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from services.cli.requests.sources import refuse_wrong_source
from services.cli.words import counted
from services.runtime.errors import ConfigurationError
from services.upstream.files import CheckedFile, read_file
from services.upstream.receipts import DeliveryBroken, DeliveryReceipt

if TYPE_CHECKING:
    from services.runtime.settings import KafkaSettings

PROBLEMS_SHOWN_MAX: Final = 50


class ExitCode(IntEnum):
    """How `perennial publish` ended (docs/PUBLISHING.md)."""

    PUBLISHED = 0
    ROWS_REFUSED = 1
    USAGE = 2
    BROKER_UNREACHABLE = 3
    INCOMPLETE = 4
    PUBLISHED_WITHOUT_BAD_ROWS = 5


_SourceOption = Annotated[
    str | None,
    typer.Option(
        help="Who publishes, for rows that do not say: /upstream/<name>, or /gateway/<name> for "
        "confirmations; without it <name> is cli."
    ),
]
_BrokerOption = Annotated[
    str | None,
    typer.Option(
        help="host:port of the broker; else $PERENNIAL_BOOTSTRAP_SERVERS, else what `make up` "
        "wrote to .perennial/stack.json."
    ),
]


def publish(  # noqa: PLR0913 - each is an option of the command
    file: Annotated[Path, typer.Argument(help="JSON Lines, or CSV when the name ends in .csv.")],
    *,
    source: _SourceOption = None,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Event type of rows that do not name one.")
    ] = None,
    bootstrap_servers: _BrokerOption = None,
    receipt: Annotated[
        Path | None, typer.Option(help="Where to list each row's fate; FILE.receipt.jsonl without.")
    ] = None,
    timeout_seconds: Annotated[
        int, typer.Option(min=1, help="How long to wait for the broker.")
    ] = 30,
    dry_run: Annotated[bool, typer.Option(help="Check every row; publish nothing.")] = False,
    skip_bad: Annotated[bool, typer.Option(help="Publish the good rows all the same.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Publish requests from a file. When any row is bad, nothing is published."""
    checked = _checked(file, source, event_type)
    receipts = [DeliveryReceipt(request) for request in checked.requests]
    broken, code = None, _code_before_publishing(checked, dry_run=dry_run, skip_bad=skip_bad)
    if code is None:
        settings = _settings(bootstrap_servers)
        receipt_file = receipt or file.with_name(f"{file.name}.receipt.jsonl")
        if receipt_file.exists() and receipt_file.samefile(file):
            _refuse(f"{receipt_file} is the file to publish: name another one with --receipt")
        broken, code = _publish(settings, receipts, receipt_file, timeout_seconds)
        if code is ExitCode.PUBLISHED and checked.problems:
            code = ExitCode.PUBLISHED_WITHOUT_BAD_ROWS
    summary = _summary(checked, receipts, broken, dry_run=dry_run)
    typer.echo(json.dumps(summary) if as_json else _told(summary))
    raise typer.Exit(code)


def _checked(file: Path, source: str | None, event_type: str | None) -> CheckedFile:
    if source is not None:
        refuse_wrong_source(source)
    try:
        checked = read_file(file, source=source, event_type=event_type)
    except OSError as error:
        _refuse(f"{file} cannot be read ({error.strerror}): check the name and the permissions")
    if not checked.requests and not checked.problems:
        typer.echo(f"{file} holds no request: nothing was published", err=True)
        raise typer.Exit(ExitCode.ROWS_REFUSED)
    return checked


def _code_before_publishing(
    checked: CheckedFile, *, dry_run: bool, skip_bad: bool
) -> ExitCode | None:
    if checked.problems and not skip_bad:
        return ExitCode.ROWS_REFUSED
    if dry_run:
        return ExitCode.PUBLISHED_WITHOUT_BAD_ROWS if checked.problems else ExitCode.PUBLISHED
    return None


def _publish(
    settings: KafkaSettings,
    receipts: list[DeliveryReceipt],
    receipt_file: Path,
    timeout_seconds: int,
) -> tuple[str | None, ExitCode]:
    """Publish and write the receipt, whatever happens; opened first, so that it can be written."""
    from services.upstream.delivery import deliver  # noqa: PLC0415 - loads the client of Kafka

    try:
        stream = receipt_file.open("w", encoding="utf-8")
    except OSError as error:
        _refuse(f"{receipt_file} cannot be written ({error.strerror}): pass --receipt")
    broken: str | None = None
    with stream:
        try:
            asyncio.run(deliver(settings, receipts, timeout_seconds=timeout_seconds))
        except DeliveryBroken as error:
            broken = str(error)
        except KeyboardInterrupt:
            broken = "interrupted"
        finally:
            stream.writelines(json.dumps(_row(one)) + "\n" for one in receipts)
    if all(one.status == "acknowledged" for one in receipts):
        return broken, ExitCode.PUBLISHED
    nothing_sent = all(one.status == "not_sent" for one in receipts)
    return broken, ExitCode.BROKER_UNREACHABLE if nothing_sent else ExitCode.INCOMPLETE


def _settings(bootstrap_servers: str | None) -> KafkaSettings:
    # Who only checks a file does not wait for the settings.
    from services.cli.broker import admitted, broker_settings  # noqa: PLC0415

    try:
        settings = broker_settings(bootstrap_servers)
    except ConfigurationError as error:
        _refuse(f"{error}, or pass --bootstrap-servers host:port")
    try:
        return asyncio.run(admitted(settings))
    except ConfigurationError as error:
        _refuse(str(error))


def _summary(
    checked: CheckedFile, receipts: list[DeliveryReceipt], broken: str | None, *, dry_run: bool
) -> dict[str, Any]:
    counts = Counter(receipt.status for receipt in receipts)
    return {
        "topics": sorted({receipt.request.topic.name for receipt in receipts}),
        "dry_run": dry_run,
        "rows": len(receipts) + len(checked.problems),
        "refused": len(checked.problems),
        "acknowledged": counts["acknowledged"],
        "unknown": counts["unknown"],
        "not_sent": counts["not_sent"],
        "broken": broken,
        "problems": [
            {"line": line, "field": problem.field, "message": problem.message}
            for line, problems in sorted(checked.problems.items())
            for problem in problems
        ],
        "receipts": [_row(receipt) for receipt in receipts],
    }


def _row(receipt: DeliveryReceipt) -> dict[str, Any]:
    return {
        "line": receipt.request.line,
        "topic": receipt.request.topic.name,
        "id": str(receipt.request.envelope.id),
        "type": receipt.request.envelope.type,
        "status": receipt.status,
        "partition": receipt.partition,
        "offset": receipt.offset,
    }


def _told(summary: dict[str, Any]) -> str:
    problems, topics = summary["problems"], ", ".join(summary["topics"]) or "no topic"
    lines = [
        f"line {one['line']}{', ' if one['field'] else ''}{one['field']}: {one['message']}"
        for one in problems[:PROBLEMS_SHOWN_MAX]
    ]
    if len(problems) > PROBLEMS_SHOWN_MAX:
        lines.append(f"and {len(problems) - PROBLEMS_SHOWN_MAX} more problems: see --json")
    lines.append(f"{counted(summary['rows'], 'row')}, {summary['refused']} of them bad")
    if summary["dry_run"]:
        lines.append("dry run: nothing was published")
    elif summary["refused"] and not summary["acknowledged"] and not summary["broken"]:
        lines.append("nothing was published: mend the bad rows, or pass --skip-bad")
    else:
        lines.append(f"{summary['acknowledged']} acknowledged on {topics}")
    if summary["broken"]:
        lines.append(
            f"{summary['broken']}: {summary['unknown']} sent without an answer, "
            f"{summary['not_sent']} not sent; the receipt lists them. Publish the same file again: "
            "every id is the same again, so nothing is done twice"
        )
    return "\n".join(lines)


def _refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(ExitCode.USAGE)
