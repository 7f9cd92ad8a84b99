"""Heads that are kept outside of the database: their form, their signature, and what they find."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from services.runtime.archive.ranges import Archive, Range
from services.runtime.errors import ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.log.event_log import ShardHead
from services.runtime.verify.anchors import AnchorCheck, heads_line, read_heads
from services.runtime.verify.checks import Check, place
from tests.controls import T0
from tests.unit.runtime.effects.test_runtime_adoption import chained

KEYS = KeyRing.read(f"anchor:{'0c' * 32}")


def kept(file: Path, keys: KeyRing | None, *positions: int) -> Path:
    """Keep the heads that the log had at positions, a line each."""
    events = chained()
    lines = [
        heads_line("orders", {event.shard: ShardHead(event.position, event.hash)}, T0, keys)
        for event in (events[position - 1] for position in positions)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def problem(expected: Any, events: Any) -> str | None:
    check = AnchorCheck(expected)
    check.look(events)
    return check.result().problem


REWRITTEN = (
    "the log was rewritten after this head was kept: stop the service, keep the database as it is, "
    "find out who owns its tables, and restore a backup that passes with this file"
)
HEADS = {2: ShardHead(9, b"\xab\xcd"), 1: ShardHead(7, b"\x01")}
UNSIGNED = (
    '{"at":"2026-11-20T08:00:00.000000Z","heads":[{"hash":"01","position":7,"shard":1},'
    '{"hash":"abcd","position":9,"shard":2}],"service":"orders"}'
)


def found(kept_heads: dict[int, int], archive: Archive | None = None) -> Check:
    """Return what is said of heads of shard 1 at positions, whose hash is that number, of no log."""
    expected = {(shard, at): {bytes([at])} for shard, at in kept_heads.items()}
    return AnchorCheck(expected, archive or Archive()).result()


def archived(shard: int, *ends: int) -> list[Range]:
    """Return ranges that end at positions, each with that number as its hash."""
    begins = (1, *(end + 1 for end in ends))
    return [
        Range(shard, first, last, b"", bytes([last]), last, f"{last}.jsonl", b"")
        for first, last in zip(begins, ends, strict=False)
    ]


def test_line_of_heads_is_json_in_a_fixed_order() -> None:
    assert heads_line("orders", HEADS, T0, None) == UNSIGNED


def test_signature_is_the_hmac_of_the_line_with_spaces_behind_its_kind() -> None:
    line = json.loads(heads_line("orders", HEADS, T0, KEYS))
    mac = line.pop("mac")
    assert line == json.loads(UNSIGNED)
    signed = b"perennial-heads-1\0" + json.dumps(line, sort_keys=True).encode()
    digest = hmac.new(bytes.fromhex("0c" * 32), signed, hashlib.sha256).hexdigest()
    assert mac == f"anchor:{digest}"


def test_heads_are_read_by_service_shard_and_position_and_an_empty_log_has_none(
    tmp_path: Path,
) -> None:
    file = tmp_path / "h.json"
    other = {1: ShardHead(7, b"\x02"), 3: ShardHead()}
    lines = [heads_line("orders", HEADS, T0, KEYS), "", heads_line("orders", other, T0, KEYS)]
    file.write_text("\n".join([*lines, " ", heads_line("ledger", other, T0, KEYS)]))
    assert read_heads(file, KEYS) == {
        "orders": {(1, 7): {b"\x01", b"\x02"}, (2, 9): {b"\xab\xcd"}},
        "ledger": {(1, 7): {b"\x02"}},
    }
    assert read_heads(file, None) == read_heads(file, KEYS)


def test_first_event_that_differs_is_named_with_what_to_do() -> None:
    events = chained()
    first, second = events[1], events[2]
    check = AnchorCheck(
        {(1, 99): {b"x"}} | {(e.shard, e.position): {b"x"} for e in (first, second)}
    )
    check.look(events)
    assert check.result() == Check(
        "expected heads",
        "3 heads that were kept",
        f"{place(first)} has another hash than the head that was kept",
        REWRITTEN,
    )


@pytest.mark.parametrize(
    ("shard", "position", "problem", "unread"),
    [
        (1, 3, None, ""),
        (1, 5, None, ""),
        (1, 4, None, "1 of them lie in what is archived"),
        (1, 1, None, "1 of them lie in what is archived"),
        (1, 6, "a head was kept of shard 1 position 6, which is gone", ""),
        (2, 4, "a head was kept of shard 2 position 4, which is gone", ""),
        (3, 2, "shard 3 position 2 was archived with another hash", ""),
    ],
)
def test_head_that_is_archived_is_compared_where_a_file_ends(
    shard: int, position: int, problem: str | None, unread: str
) -> None:
    other = [each._replace(last_hash=b"other") for each in archived(3, 2)]
    archive = Archive({1: archived(1, 3, 5), 3: other})
    assert found({shard: position}, archive) == Check(
        "expected heads", "1 heads that were kept", problem, REWRITTEN, unread
    )


def test_head_in_files_that_were_read_had_to_be_in_them(tmp_path: Path) -> None:
    archive = Archive({1: archived(1, 3), 2: archived(2, 3)}, tmp_path, {2: "a file is missing"})
    assert found({1: 3}, archive).problem == "a head was kept of shard 1 position 3, which is gone"
    assert found({2: 3}, archive).problem is None


def test_heads_in_the_archive_are_counted_and_the_first_that_is_wrong_is_named() -> None:
    archive = Archive({1: archived(1, 5), 2: archived(2, 5), 4: archived(4, 5)})
    told = found({1: 2, 2: 3, 3: 1, 4: 6, 5: 1}, archive)
    assert told.problem == "a head was kept of shard 3 position 1, which is gone"
    assert told.unread == "2 of them lie in what is archived"


def test_kept_heads_agree_with_the_log_they_were_taken_of(tmp_path: Path) -> None:
    expected = read_heads(kept(tmp_path / "h.json", KEYS, 2, 4), KEYS)
    assert problem(expected["orders"], chained()) is None


def test_event_with_another_hash_and_one_that_is_gone_are_named(tmp_path: Path) -> None:
    expected = read_heads(kept(tmp_path / "h.json", None, 2, 4), None)["orders"]
    events = chained()
    rewritten = [events[0], events[1]._replace(hash=bytes(32)), *events[2:]]
    assert "position 2" in str(problem(expected, rewritten))
    assert "position 4, which is gone" in str(problem(expected, events[:3]))


def test_folder_of_heads_is_read_whole_and_two_that_differ_cannot_both_be_right(
    tmp_path: Path,
) -> None:
    kept(tmp_path / "a.json", KEYS, 2)
    kept(tmp_path / "b.json", KEYS, 4)
    expected = read_heads(tmp_path, KEYS)["orders"]
    assert {position for _, position in expected} == {2, 4}
    other = {chained()[0].shard: ShardHead(2, bytes(32))}
    (tmp_path / "c.json").write_text(heads_line("orders", other, T0, KEYS))
    assert "position 2" in str(problem(read_heads(tmp_path, KEYS)["orders"], chained()))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"position":2', '"position":3'),
        lambda text: text.replace('"orders"', '"ledger"'),
        lambda text: text.replace("2026", "2025"),
        lambda text: text.replace("anchor:", "other:"),
        lambda text: text[: text.index(',"mac"')] + text[text.index(',"service"') :],
        lambda _: "[]",
        lambda _: "null",
        lambda _: "{",
        lambda _: "",
    ],
)
def test_heads_that_were_changed_or_are_none_are_refused(tmp_path: Path, spoil: Any) -> None:
    file = kept(tmp_path / "h.json", KEYS, 2)
    changed = spoil(file.read_text())
    assert changed != file.read_text()
    file.write_text(changed)
    with pytest.raises(ConfigurationError) as refused:
        read_heads(file, KEYS)
    assert str(refused.value) == (
        f"{file} holds a line that is no authentic line of heads: name a file that "
        "`perennial log heads` or a service wrote, and the keys that signed it (ANCHOR_KEYS)"
        if file.read_text()
        else f"{file} holds no heads: name a file that `perennial log heads` or a service wrote"
    )


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "none.json"
    with pytest.raises(ConfigurationError) as refused:
        read_heads(file, None)
    told = f"{file} cannot be read (FileNotFoundError): name the file of heads"
    assert str(refused.value) == told


def test_other_files_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not JSON")
    with pytest.raises(ConfigurationError) as refused:
        read_heads(tmp_path, None)
    told = f"{tmp_path} holds no heads: name a file that `perennial log heads` or a service wrote"
    assert str(refused.value) == told
