"""A virtual clock is as far ahead as its file says, and never goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from services.runtime.clock.database_clock import DatabaseClock, TimeDisputed
from services.runtime.clock.virtual_clock import AHEAD_MAX, VirtualClock, read_ahead, write_ahead
from services.runtime.errors import ConfigurationError
from services.runtime.settings import RuntimeSettings, load_settings

DAY = timedelta(days=1)
START = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_ahead(tmp_path / "clock", timedelta(0))
    return tmp_path / "clock"


def test_clock_follows_its_file(file: Path) -> None:
    clock = VirtualClock(file)
    assert clock.ahead() == timedelta(0)
    write_ahead(file, 31 * DAY)
    assert clock.ahead() == 31 * DAY
    write_ahead(file, 31 * DAY + timedelta(microseconds=1))
    assert clock.ahead() - 31 * DAY == timedelta(microseconds=1)
    assert list(file.parent.iterdir()) == [file], "nothing is left of writing"


def test_clock_is_not_turned_back(file: Path) -> None:
    write_ahead(file, 2 * DAY)
    with pytest.raises(ConfigurationError, match="would go back"):
        write_ahead(file, DAY)
    clock = VirtualClock(file)
    file.write_text(str(DAY // timedelta(microseconds=1)))
    assert clock.ahead() == 2 * DAY, "a file that somebody wrote by hand turns nothing back"


def test_clock_goes_on_when_its_file_is_lost_or_spoilt(file: Path) -> None:
    write_ahead(file, DAY)
    clock = VirtualClock(file)
    file.write_bytes(b"\xff soon")
    assert clock.ahead() == DAY
    file.unlink()
    assert clock.ahead() == DAY
    write_ahead(file, 3 * DAY)
    assert clock.ahead() == 3 * DAY


@pytest.mark.parametrize(
    "content",
    [b"", b"soon", b"-1", b"1.5", b"\xff", b"9" * 40, "\u0661".encode(), b"0x10", b"1_000"],
)
def test_file_holds_a_whole_number_of_microseconds(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "clock"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="PERENNIAL_VIRTUAL_CLOCK"):
        VirtualClock(file)


def test_folder_is_no_file_of_a_clock(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ConfigurationError, match="name another file"):
            VirtualClock(path)


def test_clock_is_at_most_a_hundred_years_ahead(file: Path) -> None:
    write_ahead(file, AHEAD_MAX)
    assert read_ahead(file) == AHEAD_MAX
    for beyond in (AHEAD_MAX + timedelta(microseconds=1), timedelta.max):
        with pytest.raises(ConfigurationError, match="at most"):
            write_ahead(file, beyond)


def test_time_of_a_service_is_the_database_s_and_so_far_ahead(file: Path) -> None:
    virtual, running = VirtualClock(file), [5.0]
    clock = DatabaseClock(
        structlog.get_logger(),
        running=lambda: running[0],
        wall=START.timestamp,
        ahead=virtual.ahead,
    )
    with pytest.raises(TimeDisputed):
        clock.now()
    clock.read(START, running[0])
    assert clock.now() == START
    write_ahead(file, 31 * DAY)
    assert clock.now() == clock.counted() == START + 31 * DAY
    running[0] += 2
    assert clock.now() == START + 31 * DAY + timedelta(seconds=2), "real time goes on"
    clock.read(START + timedelta(seconds=2), running[0])
    assert not clock.counts.disputed, "the database's own clock did not jump"


def test_production_has_the_real_time(file: Path) -> None:
    variables = {
        "BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        "POSTGRES_DSN": "postgresql://orders@127.0.0.1/x",
        "PERENNIAL_VIRTUAL_CLOCK": str(file),
    }
    with pytest.raises(ConfigurationError, match="PERENNIAL_VIRTUAL_CLOCK is for demonstrations"):
        load_settings(RuntimeSettings, variables)
    demo = load_settings(RuntimeSettings, variables | {"PERENNIAL_ENVIRONMENT": "demo"})
    assert demo.perennial_virtual_clock == file
