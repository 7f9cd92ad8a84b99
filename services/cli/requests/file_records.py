"""The rows of a file as the records that `perennial publish` would make of them, checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from schemas.registry import SHARD_COUNT_DEFAULT
from services.cli.clock.now import now
from services.cli.requests.record_checks import CHECKED_TOPICS, Finding, RecordChecker, Verdict
from services.runtime.errors import ConfigurationError, Poison
from services.runtime.kafka.records.record_size import Headers
from services.runtime.kafka.records.strict_json import read_json
from services.upstream.files import read_file
from services.upstream.requests import InvalidRow, Problem, UpstreamRequest, checked_request

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


def check_file(name: str, source: str | None, event_type: str | None, tell: Tell) -> bool:
    """Tell of each row of a file; return whether its end was reached.

    Raises:
        ConfigurationError: the file cannot be read.
    """
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
