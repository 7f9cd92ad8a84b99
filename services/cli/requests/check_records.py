"""`perennial check-records TOPIC-OR-FILE`: what records would become, without publishing any."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.registry import SHARD_COUNT_DEFAULT
from services.cli.broker import admitted, broker_settings
from services.cli.clock.now import now
from services.cli.requests.record_checks import CHECKED_TOPICS, Finding, RecordChecker, Verdict
from services.cli.requests.sources import refuse_wrong_source
from services.runtime.errors import ConfigurationError, Poison, Transient
from services.runtime.kafka.client import client_options
from services.runtime.kafka.reading import reader, records_until
from services.runtime.kafka.records.record_size import Headers
from services.runtime.kafka.records.strict_json import read_json
from services.runtime.settings import KafkaSettings
from services.upstream.files import read_file
from services.upstream.requests import InvalidRow, Problem, UpstreamRequest, checked_request

EXIT_POISON: Final = 1
LINE_BYTES_MAX: Final = 256 * 1024
"""Four times what a record may have: JSON may write a character in several."""
_PUBLISH: Final = "publish"
"""The command that would refuse a row of a file when publishing it."""
_PROBLEMS_MAX: Final = 5
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
Tell = Callable[[Verdict], bool]
"""Prints what becomes of a record, and says whether to go on."""


class _FileRecord:
    """A row as the record that `perennial publish` would make of it."""

    partition = 0
    offset = 0

    def __init__(self, request: UpstreamRequest) -> None:
        """Take the parts of a checked `request`."""
        self.topic = request.topic.name
        self.key: bytes | None = request.envelope.partitionkey.encode()
        self.value: bytes | None = request.body
        self.headers: Headers = request.headers


def check_records(  # noqa: PLR0913 - each is an option of the command
    topic_or_file: Annotated[
        str,
        typer.Argument(
            help="A topic that a service reads, a file as `publish` takes it, or - for JSON Lines "
            "on stdin."
        ),
    ],
    *,
    source: Annotated[
        str | None, typer.Option(help="Who publishes, for rows of a file that do not say.")
    ] = None,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Event type of rows that do not name one.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Stop after so many records.")] = 100_000,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="host:port of the broker, as for publish.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a JSON object for each record, and a last one.")
    ] = False,
) -> None:
    """Say what records would become; publish nothing, store nothing."""
    if source is not None:
        refuse_wrong_source(source)
    counts: Counter[str] = Counter()

    def tell(verdict: Verdict) -> bool:
        """Print a line; say whether there is room for more."""
        counts[verdict.outcome] += 1
        typer.echo(json.dumps(_row(verdict)) if as_json else _line(verdict))
        return counts.total() < limit

    if topic_or_file in CHECKED_TOPICS:
        settings = broker_settings(bootstrap_servers)
        ended = asyncio.run(_check_topic(settings, topic_or_file, tell))
    else:
        ended = _check_file(topic_or_file, source, event_type, tell)
        if not counts:
            name = "standard input" if topic_or_file == "-" else topic_or_file
            typer.echo(f"{name} holds no record", err=True)
            raise typer.Exit(EXIT_POISON)
    summary = {
        **{outcome: counts[outcome] for outcome in ("accepted", "ignored", "poison")},
        "ended": ended,
    }
    typer.echo(json.dumps({"summary": summary}) if as_json else _told(summary, limit))
    raise typer.Exit(EXIT_POISON if counts["poison"] else 0)


async def _check_topic(settings: KafkaSettings, topic: str, tell: Tell) -> bool:
    """Tell of each record up to the present end; return whether that was reached."""
    await admitted(settings)
    partitions = [
        TopicPartition(topic, each) for each in range(await partition_count(settings, topic))
    ]
    checker = RecordChecker(topic, len(partitions))
    async with reader(settings, topic) as consumer:
        consumer.assign(partitions)
        firsts, ends = (
            await consumer.beginning_offsets(partitions),
            await consumer.end_offsets(partitions),
        )
        for partition in partitions:
            # Not `seek_to_beginning`: the client's own first look for the end may come after it.
            consumer.seek(partition, firsts[partition])
        async for record in records_until(consumer, ends):
            place = f"{record.partition}@{record.offset}"
            if not tell(checker.check(record, place, now())):
                return False
    return True


async def partition_count(settings: KafkaSettings, topic: str) -> int:
    """Return how many partitions a topic has.

    Raises:
        ConfigurationError: it is not there.
        Transient: Kafka does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        described = await admin.describe_topics([topic])
    except (KafkaError, OSError) as error:
        message = f"Kafka ({type(error).__name__})"
        raise Transient(message) from None
    finally:
        await admin.close()
    found = [len(each["partitions"]) for each in described if each["topic"] == topic]
    if not found or not found[0]:
        message = f"{topic} is not there: run `perennial setup`"
        raise ConfigurationError(message)
    return found[0]


def _check_file(name: str, source: str | None, event_type: str | None, tell: Tell) -> bool:
    """Tell of each row of a file; return whether its end was reached."""
    checkers = {topic: RecordChecker(topic, SHARD_COUNT_DEFAULT) for topic in CHECKED_TOPICS}
    try:
        if name.lower().endswith(".csv"):
            return all(map(tell, _of_csv(Path(name), source, event_type, checkers)))
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as stream:
            return all(
                tell(_row_verdict(f"line {line}", raw, source, event_type, checkers))
                for line, raw in enumerate(_lines(stream), start=1)
                if raw.strip() or len(raw) == LINE_BYTES_MAX
            )
    except OSError as error:
        message = (
            f"{name} cannot be read ({error.strerror}), and no service reads a topic of the name"
        )
        raise ConfigurationError(message) from None


def _of_csv(
    path: Path, source: str | None, event_type: str | None, checkers: Mapping[str, RecordChecker]
) -> Iterator[Verdict]:
    checked = read_file(path, source=source, event_type=event_type)
    requests = {request.line: request for request in checked.requests}
    for line in sorted(requests.keys() | checked.problems.keys()):
        if line in requests:
            yield _of_request(f"line {line}", requests[line], checkers)
        else:
            yield _row_refused(f"line {line}", checked.problems[line])


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines, of one that is too long its beginning."""
    while line := stream.readline(LINE_BYTES_MAX):
        rest = line
        while len(rest) == LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = stream.readline(LINE_BYTES_MAX)
        yield line


def _row_verdict(
    place: str,
    raw: bytes,
    source: str | None,
    event_type: str | None,
    checkers: Mapping[str, RecordChecker],
) -> Verdict:
    if len(raw) >= LINE_BYTES_MAX:
        return _refused(place, "oversized", f"the line is longer than {LINE_BYTES_MAX} bytes")
    try:
        row = read_json(raw.removeprefix(_BYTE_ORDER_MARK))
        if isinstance(row, dict) and event_type is not None:
            row.setdefault("type", event_type)
        request = checked_request(0, row, source=source)
    except InvalidRow as invalid:
        return _row_refused(place, invalid.problems)
    except Poison as poison:
        return _refused(place, poison.reason, str(poison))
    except (ValueError, RecursionError):
        return _refused(place, "not_json", "write one JSON object per line, in UTF-8")
    return _of_request(place, request, checkers)


def _of_request(
    place: str, request: UpstreamRequest, checkers: Mapping[str, RecordChecker]
) -> Verdict:
    return checkers[request.topic.name].check(_FileRecord(request), place, now())


def _row_refused(place: str, problems: Sequence[Problem]) -> Verdict:
    told = [f"{each.field} {each.message}".strip() for each in problems[:_PROBLEMS_MAX]]
    return _refused(place, "row_refused", "; ".join(told))


def _refused(place: str, reason: str, advice: str) -> Verdict:
    return Verdict(place, None, (Finding(_PUBLISH, "poison", reason, advice),))


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
