"""The sandbox's journal: one truth in a file, for several processes and after a restart."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from services.orders.sandbox_journal import SandboxJournal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.jsonl"


def test_each_journal_on_a_file_knows_what_the_other_wrote(path: Path) -> None:
    with closing(SandboxJournal(path)) as one, closing(SandboxJournal(path)) as other:
        with one.locked():
            written = one.append("charge", "p-1", amount_minor=5)
        with other.locked():
            assert other.first("charge", "p-1") == written
            assert other.first("refund", "p-1") is None
            other.append("charge", "p-2")
        with one.locked():
            assert one.first("charge", "p-2") == {"kind": "charge", "key": "p-2"}


def test_repeated_entries_are_counted_and_the_oldest_is_the_first(path: Path) -> None:
    with closing(SandboxJournal(path)) as journal, journal.locked():
        for number in range(3):
            journal.append("unavailable", "p-1", number=number)
        assert journal.count("unavailable", "p-1") == 3
        assert journal.count("unavailable", "p-2") == journal.count("lost", "p-1") == 0
        assert journal.first("unavailable", "p-1") == {
            "kind": "unavailable",
            "key": "p-1",
            "number": 0,
        }


def test_long_file_is_read_whole_at_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SandboxJournal(path)) as journal, journal.locked():
        for number in range(200):
            journal.append("charge", f"p-{number}", number=number)
    monkeypatch.setattr("services.orders.sandbox_journal._READ_BYTES_MAX", 64)
    with closing(SandboxJournal(path)) as again:
        found = [again.first("charge", f"p-{number}") for number in range(200)]
    assert [entry["number"] for entry in found if entry] == list(range(200))


@pytest.mark.parametrize("torn", ["before it is opened", "while it is open"])
def test_half_a_line_of_a_killed_writer_is_cut_off(path: Path, torn: str) -> None:
    with closing(SandboxJournal(path)) as journal, journal.locked():
        journal.append("charge", "p-1")
    whole = path.read_bytes()
    half = b'{"kind":"charge","ke'
    if torn == "before it is opened":
        path.write_bytes(whole + half)
    with closing(SandboxJournal(path)) as again:
        if torn == "while it is open":
            path.write_bytes(whole + half)
        with again.locked():
            assert path.read_bytes() == whole
            again.append("charge", "p-2")
            assert again.count("charge", "p-1") == again.count("charge", "p-2") == 1
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines == [whole, b'{"kind":"charge","key":"p-2"}\n']


def test_entry_that_is_too_long_is_refused_and_not_written(path: Path) -> None:
    with closing(SandboxJournal(path)) as journal, journal.locked():
        with pytest.raises(ValueError, match="the limit is 4096"):
            journal.append("charge", "p-1", token="x" * 5_000)
        assert journal.first("charge", "p-1") is None
        assert path.read_bytes() == b""
