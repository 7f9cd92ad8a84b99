from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.mutants.__main__ import interval_of
from tests.mutants.imports import Imports
from tests.mutants.planting import mutants_of, sample_of

ROOT: Final = Path(__file__).parents[3]
TOY: Final = """
from functools import cache

LIMIT = 3


@cache
def is_many(count: int) -> bool:
    return count > LIMIT


def is_free(price: int) -> bool:
    return price == 0


def unused(price: int) -> int:
    return price + 1


def counted_down(count: int) -> int:
    while count > 0:
        count -= 1
    return count


def grown(count: int) -> int:
    kept = []
    while count > 0:
        kept += [count] * 1_000_000
        count -= 1
    return len(kept)


def doubled(price: int) -> int:
    return price * 2
"""
TESTS: Final = """
from toy import counted_down, doubled, grown, is_free, is_many

MANY = is_many(4)
EARLIER = []


def test_four_are_many():
    assert MANY


def test_few_are_not_many():
    assert not is_many(2)


def test_nothing_is_free():
    assert is_free(0)


def test_counts_down():
    assert counted_down(5) == 0


def test_grows():
    assert grown(2) == 2_000_000


def test_that_another_needs():
    EARLIER.append(1)


def test_doubles_after_another():
    assert EARLIER
    assert doubled(2) == 4
"""
PROJECT: Final = """
[tool.pytest.ini_options]
pythonpath = ["."]
[tool.mutants]
limits = { memory_bytes = 2_147_483_648, seconds_more = 3 }
files = ["toy.py"]
tests = ["checks"]
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    (root / "toy.py").write_text(TOY)
    (root / "checks").mkdir()
    (root / "checks" / "test_toy.py").write_text(TESTS)
    (root / "pyproject.toml").write_text(PROJECT)
    return root


def _run(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.mutants", "--root", str(root), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def judged(toy: Path) -> subprocess.CompletedProcess[str]:
    return _run(toy)


def test_survivor_is_told_with_file_line_and_change(
    judged: subprocess.CompletedProcess[str],
) -> None:
    assert (
        "survived: toy.py:9\n"
        " def is_many(count: int) -> bool:\n"
        "-    return count > LIMIT\n"
        "+    return count >= LIMIT\n"
    ) in judged.stdout
    assert judged.stdout.count("survived: ") == 1


def test_killed_bug_is_not_told(judged: subprocess.CompletedProcess[str]) -> None:
    assert "price != 0" not in judged.stdout


def test_bug_in_what_runs_at_import_is_noticed(judged: subprocess.CompletedProcess[str]) -> None:
    assert "LIMIT = 4" not in judged.stdout
    assert "LIMIT = None" not in judged.stdout


def test_bug_that_no_test_reaches_is_not_killed(judged: subprocess.CompletedProcess[str]) -> None:
    assert "not reached: toy.py:17" in judged.stdout


def test_bug_without_end_is_killed_by_the_time(judged: subprocess.CompletedProcess[str]) -> None:
    assert "toy.py:20" not in judged.stdout
    assert "timed out" in judged.stdout.splitlines()[-3]


def test_bug_that_takes_all_memory_is_killed(judged: subprocess.CompletedProcess[str]) -> None:
    assert "toy.py:29" not in judged.stdout


def test_test_that_fails_alone_without_a_bug_kills_nothing(
    judged: subprocess.CompletedProcess[str],
) -> None:
    assert "set aside, since it fails alone without a bug: " in judged.stdout
    assert "not reached: toy.py:35" in judged.stdout


def test_score_counts_what_is_not_noticed(judged: subprocess.CompletedProcess[str]) -> None:
    assert judged.stdout.splitlines()[-2].startswith("19 of 24 killed: 79.2%")
    assert judged.returncode == 1


def test_score_above_the_floor_succeeds(toy: Path) -> None:
    assert _run(toy, "--only", "toy.py", "--sample", "1", "--seed", "4").returncode == 0


def test_tests_that_fail_without_a_bug_judge_nothing(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text("def one() -> int:\n    return 1\n")
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "test_toy.py").write_text(
        "from toy import one\ndef test_one():\n    assert one() == 2\n"
    )
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    told = _run(tmp_path)
    assert told.returncode == 2
    assert "without a bug the tests fail (1)" in told.stdout


def test_same_seed_takes_the_same_sample() -> None:
    every = mutants_of("toy.py", TOY)
    again = mutants_of("toy.py", TOY)
    chosen = [mutant.number for mutant in sample_of(every, 5, 7)]
    assert len(set(chosen)) == 5
    assert chosen == [mutant.number for mutant in sample_of(again, 5, 7)]
    assert chosen != [mutant.number for mutant in sample_of(every, 5, 8)]


def test_each_bug_changes_the_lines_that_it_says_and_nothing_else() -> None:
    lines = TOY.splitlines()
    for mutant in mutants_of("toy.py", TOY):
        first, last = mutant.changed[0], mutant.changed[-1]
        source = mutant.source.splitlines()
        assert source[first - 1] != lines[first - 1]
        assert source[: first - 1] == lines[: first - 1]
        assert source[last:] == lines[last:]


def test_sql_in_other_letters_is_no_bug_but_a_text_within_it_is() -> None:
    sql = """A = "SELECT a FROM b"\nB = " AND c = 'Xy'"\nC = "some text"\n"""
    changes = {
        mutant.diff().split("\n+")[1].partition("\n")[0] for mutant in mutants_of("x.py", sql)
    }
    assert changes == {
        *["A = None", 'A = "XXSELECT a FROM bXX"'],
        *[
            "B = None",
            "B = \"XX AND c = 'Xy'XX\"",
            "B = \" and c = 'xy'\"",
            "B = \" AND C = 'XY'\"",
        ],
        *["C = None", 'C = "XXsome textXX"', 'C = "SOME TEXT"'],
    }


def test_bug_belongs_to_the_whole_statement_that_it_is_in() -> None:
    source = """def asked(count: int) -> int:
    if (
        count
        > 1
    ):
        return (
            count
            * 2
        )
    return 0
"""
    statements = {(m.changed[0], m.lines) for m in mutants_of("toy.py", source)}
    assert (4, range(2, 6)) in statements
    assert (8, range(6, 10)) in statements
    assert (10, range(10, 11)) in statements


def test_file_imports_what_others_import_for_it_and_what_pytest_adds(tmp_path: Path) -> None:
    for path, text in {
        "checks/conftest.py": "import part.fixtures\n",
        "checks/test_it.py": "def test() -> None:\n    from part.one import first\n",
        "part/__init__.py": "",
        "part/one.py": "from part import two\n",
        "part/two.py": "import sys\n",
        "part/fixtures.py": "",
        "part/alone.py": "import part.one\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert Imports(tmp_path).of("checks/test_it.py") == {
        "checks/conftest.py",
        "checks/test_it.py",
        "part/__init__.py",
        "part/one.py",
        "part/two.py",
        "part/fixtures.py",
    }


@pytest.mark.parametrize(
    ("killed", "tried", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_is_the_published_one(killed: int, tried: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert interval_of(killed, tried) == pytest.approx((low, high), abs=0.00005)
