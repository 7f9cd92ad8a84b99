"""The sandbox's journal: one truth for several processes, and for one that was started again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from services.orders.sandbox.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox" / "journal.jsonl"


def test_the_past_is_known_when_the_journal_is_open(path: Path) -> None:
    with closing(Journal(path)) as first:
        with first.locked():
            first.append("charge", "payment-1", amount_minor=500)

        with closing(Journal(path)) as second:
            assert second.first("charge", "payment-1") == {
                "kind": "charge",
                "key": "payment-1",
                "amount_minor": 500,
            }


def test_what_others_write_later_is_known_under_the_lock(path: Path) -> None:
    with closing(Journal(path)) as first, closing(Journal(path)) as second:
        with first.locked():
            first.append("charge", "payment-1")
            first.append("refund", "payment-1")
        with second.locked():
            second.append("refund", "payment-1")
        with first.locked():
            assert first.count("charge", "payment-1") == 1
            assert first.count("refund", "payment-1") == 2


@pytest.mark.parametrize("torn", ["before it is opened", "while it is open"])
def test_half_a_line_of_a_killed_writer_is_cut_off(path: Path, torn: str) -> None:
    with closing(Journal(path)) as first, first.locked():
        first.append("charge", "payment-1")
    whole = path.read_bytes()
    half = b'{"kind":"charge","key":"pay'
    if torn == "before it is opened":
        path.write_bytes(whole + half)
    with closing(Journal(path)) as journal:
        if torn == "while it is open":
            path.write_bytes(whole + half)
        with journal.locked():
            journal.append("charge", "payment-2")
            assert journal.count("charge", "payment-1") == 1
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines == [whole, b'{"kind":"charge","key":"payment-2"}\n']
