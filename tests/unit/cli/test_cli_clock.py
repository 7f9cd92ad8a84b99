"""`perennial clock`: what it says, and what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.clock.clock import app, duration
from services.runtime.clock.virtual_clock import VARIABLE, write_ahead
from services.runtime.errors import ConfigurationError

RUN = CliRunner()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("31d", timedelta(days=31)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("90m", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("1s", timedelta(seconds=1)),
    ],
)
def test_duration_is_numbers_with_units(text: str, found: timedelta) -> None:
    assert duration(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "31",
        "d",
        "1y",
        "1.5d",
        "0d",
        "-1d",
        " 1d",
        "1d ",
        "1D",
        "999999w",
        "9999999999w",
        "999999w" * 1000,
        "\u0661d",
        "1d\n",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write 31d|not turned back|more than nothing"):
        duration(text)


def test_virtual_clock_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_STATE_FOLDER", str(tmp_path))
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    real = json.loads(RUN.invoke(app, ["show", "--json"]).stdout)
    assert (real["virtual"], real["ahead_seconds"]) == (False, 0)
    write_ahead(tmp_path / "clock", timedelta(days=31))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "clock"))
    virtual = json.loads(RUN.invoke(app, ["show", "--json"]).stdout)
    assert (virtual["virtual"], virtual["ahead_seconds"]) == (True, 31 * 86_400)
    assert virtual["now"] > real["now"]


def test_real_clock_is_not_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_STATE_FOLDER", str(tmp_path))
    result = RUN.invoke(app, ["advance", "1d"])
    assert isinstance(result.exception, ConfigurationError)
    assert "make up CLOCK=virtual" in str(result.exception)
