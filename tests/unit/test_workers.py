"""Which tests of a parallel run go to one worker."""

from __future__ import annotations

from deploy.local.processes import ROOT
from tests.infrastructure.workers import ALONE, together

A_FILE = "tests/faults/processes/test_start.py"


def test_tests_of_a_file_stay_together() -> None:
    assert together(f"{A_FILE}::test_a[tests/clients/::x]") == together(f"{A_FILE}::test_b")
    assert together(f"{A_FILE}::test_a") != together("tests/faults/processes/test_stuck.py::test_a")


def test_files_that_fetch_into_one_cache_stay_together() -> None:
    files = sorted((ROOT / "tests/clients").glob("test_*.py"))
    assert len(files) > 1
    assert len({together(f"{file.relative_to(ROOT).as_posix()}::test_a") for file in files}) == 1


def test_files_that_need_the_machine_follow_each_other() -> None:
    assert len({together(f"{file}::test_a") for file in ALONE}) == 1
    assert [file for file in ALONE if not (ROOT / file).is_file()] == []
