"""The fuzzer finds what it is there for, makes each finding again, and its findings stay mended."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from schemas.topics import REQUESTS
from services.runtime.errors import Halt
from services.runtime.flow.intake.parsing import RecordParser
from services.upstream.files import read_file
from tests.fuzz import campaign
from tests.fuzz.campaign import Campaign
from tests.fuzz.hostile import CANARY
from tests.fuzz.records import SHARDS, record
from tests.fuzz.targets import NOW, Target, open_services


class Planted(Target):
    """A reader with a fault."""

    name: ClassVar[str] = "planted"
    weight: ClassVar[int] = 1

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def make(self, random: Random) -> float:
        return random.random()

    def read(self, case: Any) -> str:
        match self._fault:
            case "raises":
                raise OverflowError(case)
            case "halts":
                message = "stop"
                raise Halt(message)
            case "tells":
                return f"cannot read {CANARY}"
            case "slow":
                return str(sum(number * number for number in range(6_000_000)))[:0]
            case "large":
                return "" if bytearray(60_000_000) else "nothing"
            case _:
                return ""


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("raises", "raised OverflowError"),
        ("halts", "raised Halt"),
        ("tells", "repeats what was sent"),
        ("slow", "ms of CPU"),
        ("large", "held 6"),
    ],
)
def test_fault_is_found_once_with_what_makes_it_again(
    monkeypatch: pytest.MonkeyPatch, fault: str, problem: str
) -> None:
    monkeypatch.setattr(campaign, "targets", lambda: [Planted(fault)])
    found = Campaign(7)
    for number in range(2):
        found.run(number)
    assert [(finding.seed, finding.number) for finding in found.report.findings] == [(7, 0)]
    assert problem in found.report.findings[0].problem


def test_sound_reader_has_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "targets", lambda: [Planted("none")])
    found = Campaign(7)
    found.run(0)
    assert found.report.findings == []


def test_seed_and_number_make_the_same_case() -> None:
    first, second = Campaign(3), Campaign(3)
    for number in (0, 1, 2, 500, 1 << 40):
        assert first.case(number)[0].name == second.case(number)[0].name
        assert repr(first.case(number)[1]) == repr(second.case(number)[1])


def test_cases_reach_deciders_as_well_as_refusals() -> None:
    parser = RecordParser(open_services().orders, SHARDS)
    random = Random(1)  # noqa: S311 - the same cases each time
    parsed = [parser.parse(record(random, (REQUESTS,)), NOW) for _ in range(600)]
    assert sum(each.work is not None for each in parsed) > 30
    assert len({each.poison.reason for each in parsed if each.poison}) > 8


def test_csv_that_ends_inside_a_quote_is_a_problem_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    path.write_bytes(b'"')
    checked = read_file(path, source="/upstream/shop", event_type=None)
    assert list(checked.problems) == [1]


def test_huge_header_is_poison_before_it_is_decoded() -> None:
    parser = RecordParser(open_services().orders, SHARDS)
    case = record(Random(1), (REQUESTS,))  # noqa: S311 - as above
    case.headers = [("content-type", b"application/json"), ("ce_time", b"\xff" * 100_000)]
    case.value = b"{}"
    parsed = parser.parse(case, NOW)
    assert parsed.poison is not None
    assert parsed.poison.reason == "oversized"
