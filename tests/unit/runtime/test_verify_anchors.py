"""Heads that are kept outside of the database: their form, their signature, and what they find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.runtime.errors import ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.log.event_log import ShardHead
from services.runtime.verify.anchors import AnchorCheck, heads_line, read_heads
from tests.controls import T0
from tests.unit.runtime.test_runtime_adoption import chained

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
    with pytest.raises(ConfigurationError, match=r"heads"):
        read_heads(file, KEYS)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read"):
        read_heads(tmp_path / "none.json", None)
