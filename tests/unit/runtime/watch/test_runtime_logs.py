"""What a process writes to standard output: one JSON line each when nobody watches a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import logging
from services.runtime.logs import configure_logs
logger = configure_logs("toys", log_format=FORMAT, level="info")
logger.debug("unheard")
logger.info("batch", records=3, note="line\\nbreak")
try:
    token = "SECRET" + "TOKEN"
    raise RuntimeError("boom")
except RuntimeError:
    logger.exception("failed")
logging.getLogger("some.library").warning("from %s", "outside")
logging.getLogger("some.library").info("unheard")
"""


def lines(log_format: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("FORMAT", repr(log_format))],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def parsed(log_format: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(log_format)]


def test_every_record_is_one_json_line_where_there_is_no_terminal() -> None:
    batch, failed, library = parsed("auto")
    assert (batch["event"], batch["service"], batch["level"]) == ("batch", "toys", "info")
    assert batch["records"] == 3
    assert batch["note"] == "line\nbreak"
    assert batch["timestamp"].endswith("Z")
    assert failed["exception"][0]["exc_type"] == "RuntimeError"
    assert (library["event"], library["logger"]) == ("from outside", "some.library")
    assert library["level"] == "warning"


@pytest.mark.parametrize("log_format", ["json", "pretty"])
def test_traceback_shows_no_local_variable(log_format: str) -> None:
    found = "\n".join(lines(log_format))
    assert "boom" in found
    assert "SECRETTOKEN" not in found


def test_pretty_lines_are_for_people() -> None:
    found = lines("pretty")
    assert "batch" in found[0]
    assert not found[0].startswith("{")
