"""Files of archived events: the same bytes each time, and a refusal of whatever is none."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from services.runtime.archive.files import (
    EventFile,
    Manifest,
    check_file,
    event_problems_in,
    events_in,
    manifest_path,
    write_manifest,
)
from services.runtime.archive.ranges import Archive, Range
from services.runtime.errors import ConfigurationError
from services.runtime.log.event_log import GENESIS_HASH, StoredEvent, chain_hash
from services.runtime.verify.across import MarkCheck
from services.runtime.verify.anchors import AnchorCheck
from services.runtime.verify.checks import Begin, LogHead
from services.runtime.verify.slices import SliceMark
from tests.unit.runtime.effects.test_runtime_adoption import chained

NAME = "orders-1-1-4.events.gz"


def written(folder: Path, events: list[StoredEvent], name: str = NAME) -> Manifest:
    """Write a file that begins where the log does, with its manifest."""
    file = EventFile(folder / name, "orders", 1, GENESIS_HASH)
    with file.writing():
        for event in events:
            file.add(event)
    manifest = file.manifest()
    write_manifest(folder, manifest, None)
    return manifest


def rechained(events: list[StoredEvent]) -> list[StoredEvent]:
    """Return events whose hashes fit."""
    previous, found = GENESIS_HASH, []
    for event in events:
        previous = chain_hash(previous, event)
        found.append(event._replace(hash=previous))
    return found


def test_same_events_make_the_same_bytes_and_are_read_as_they_were(tmp_path: Path) -> None:
    odd = chained()
    odd[0] = odd[0]._replace(body=b'{"a": "\xc3\xa9"} \xff\x00\n', causation_id=UUID(int=5))
    odd[1] = odd[1]._replace(causation_id=None, traceparent=None)
    events = rechained(odd)

    first = written(tmp_path, events)
    again = written(tmp_path, events, "again.events.gz")

    assert first.sha256 == again.sha256
    assert list(events_in(tmp_path / NAME)) == events
    assert check_file(tmp_path, NAME, None) == first
    assert event_problems_in(tmp_path, None) == (2, [])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[1]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"event_id": 5, "causation_id": null}',
        b'{"event_id": "x"}',
    ],
)
def test_line_that_is_no_event_is_refused(tmp_path: Path, line: bytes) -> None:
    manifest = written(tmp_path, chained())
    content = gzip.compress(gzip.decompress((tmp_path / NAME).read_bytes()) + line + b"\n")
    (tmp_path / NAME).write_bytes(content)
    write_manifest(tmp_path, replace(manifest, sha256=hashlib.sha256(content).hexdigest()), None)

    with pytest.raises(ConfigurationError, match="holds a line that is no event"):
        check_file(tmp_path, NAME, None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"last_position": 3}, "does not end as its manifest says"),
        ({"last_sequence": 3}, "does not end as its manifest says"),
        ({"last_hash": "00" * 32}, "does not end as its manifest says"),
        ({"previous_hash": "11" * 32}, "is not what was hashed"),
        ({"shard": 7}, "position 1 of shard 7 is not in"),
        ({"first_position": 2}, "position 2 of shard"),
        ({"file": "another.events.gz"}, "is not what its manifest says"),
        ({"sha256": "00" * 32}, "is not what its manifest says"),
        ({"more": 1}, "is none"),
        ({"first_position": "1"}, "holds a line that is no event"),
    ],
)
def test_manifest_that_says_otherwise_is_refused(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    written(tmp_path, chained())
    path = manifest_path(tmp_path, NAME)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    with pytest.raises(ConfigurationError, match=told):
        check_file(tmp_path, NAME, None)


def test_mark_within_what_is_not_read_is_not_called_missing() -> None:
    marks = {1: SliceMark("/billing/orders", 1, 3, UUID(int=1))}
    behind = MarkCheck("/billing/orders", "ledger", marks, {1: LogHead(begin=Begin(5, b"", 5))})
    ahead = MarkCheck("/billing/orders", "ledger", marks, {1: LogHead(begin=Begin(2, b"", 2))})

    assert behind.result().problem is None
    assert behind.result().unread == "1 marks name what is archived"
    assert "has no event with that number" in str(ahead.result().problem)


def test_head_at_the_end_of_a_range_is_compared_without_its_file() -> None:
    at = Range(1, 1, 3, GENESIS_HASH, b"end", 3, NAME, b"")
    archive = Archive({1: [at]})

    def problem(position: int, kept: bytes) -> tuple[str | None, str]:
        result = AnchorCheck({(1, position): {kept}}, archive).result()
        return result.problem, result.unread

    assert problem(3, b"end") == (None, "")
    assert problem(2, b"any") == (None, "1 of them lie in what is archived")
    assert "was archived with another hash" in str(problem(3, b"other")[0])
    assert "is gone" in str(problem(4, b"any")[0])
