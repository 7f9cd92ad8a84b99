"""`make up`, a first renewal with our own tools, and `make down`: what a new developer does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.guard import read_started
from deploy.local.processes import ROOT
from services.cli.requests.publish import ExitCode

NOTHING_SENT = int(ExitCode.BROKER_UNREACHABLE)
EXAMPLE = ROOT / "deploy" / "examples" / "one-renewal.jsonl"


class Developer:
    """Runs commands as a person in a terminal would, with state of their own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._environment = os.environ | {"PERENNIAL_STATE_FOLDER": str(state)}

    def run(
        self, *arguments: str | Path, status: int = 0, more: Mapping[str, str] | None = None
    ) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self._environment | dict(more or {}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def stack(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "stack.json").read_text())
        return found

    def processes(self) -> list[psutil.Process]:
        with (self.state / "up" / "processes").open() as lines:
            return [process for item in read_started(lines) if (process := item.process())]


@pytest.fixture
def developer(tmp_path: Path) -> Iterator[Developer]:
    person = Developer(tmp_path / "state")
    yield person
    person.run("deploy.local", "down")


def test_first_renewal_of_a_new_developer(developer: Developer) -> None:
    assert "no stack is up" in developer.run("deploy.local", "down")
    assert "make up" in developer.run("services.cli", "ledger", "balances", status=2)

    assert "Perennial is up" in developer.run("deploy.local", "up")
    stack = developer.stack()
    assert (developer.state / "stack.json").stat().st_mode & 0o777 == 0o600
    assert {"bootstrap_servers", "postgres", "http", "mail_folder"} <= stack.keys()
    running = developer.processes()

    source = ("--source", "/upstream/shop")
    assert "1 acknowledged" in developer.run("services.cli", "publish", EXAMPLE, *source)
    mails = wait_for_files(Path(stack["mail_folder"]))
    assert "rnw-example-1" in mails[0].read_text() or b"base64" in mails[0].read_bytes()
    shown = developer.run("services.cli", "orders", "show", "rnw-example-1")
    for event in ("RenewalAccepted", "PaymentCaptured", "PlanActivated", "NotificationSent"):
        assert event in shown
    books = json.loads(developer.run("services.cli", "ledger", "replay", "--json"))
    assert books["report"]["trial_balance"] == {"JPY": 0}
    assert "nothing is known" in developer.run("services.cli", "orders", "show", "no", status=1)

    assert "Perennial is up" in developer.run("deploy.local", "up"), "a second `up` changes nothing"
    assert developer.processes() == running

    assert "stopped" in developer.run("deploy.local", "down")
    _, alive = psutil.wait_procs(running, timeout=5)
    assert alive == []
    assert not (developer.state / "stack.json").exists()


def test_secure_stack_of_a_new_developer(developer: Developer) -> None:
    assert "log in as operator" in developer.run("deploy.local", "up", "--secure")
    stack = developer.stack()
    source = ("--source", "/upstream/shop")
    published = ("services.cli", "publish", EXAMPLE, *source)

    assert "1 acknowledged" in developer.run(*published)
    wait_for_files(Path(stack["mail_folder"]))
    assert "PlanActivated" in developer.run("services.cli", "orders", "show", "rnw-example-1")
    assert "all is well" in developer.run("services.cli", "status")
    kept = ("--expected-head", stack["heads_folder"])
    assert "the logs are sound" in developer.run("services.cli", "log", "verify", "--topics", *kept)

    assert set(stack["clients"]) == {"upstream", "gateway", "operator", "observer", "admin"}
    upstream, gateway = (read_environment(stack["clients"][r]) for r in ("upstream", "gateway"))
    assert "1 acknowledged" in developer.run(*published, more=upstream)
    refused = developer.run(*published, more=gateway, status=NOTHING_SENT)
    assert "this login may not write there" in refused

    assert "make down" in developer.run("deploy.local", "up", status=1), "one profile at a time"
    assert "stopped" in developer.run("deploy.local", "down")
    assert not (developer.state / "stack.json").exists()


def test_clock_of_a_stack_is_moved_on_and_what_is_due_is_done(developer: Developer) -> None:
    clock = ("services.cli", "clock")
    assert "clock advance" in developer.run("deploy.local", "up", "--virtual-clock")
    file = developer.state / "waiting.jsonl"
    request = json.loads(EXAMPLE.read_text())
    request["data"]["payment"] = {"method": "card", "mode": "await_confirmation", "currency": "JPY"}
    file.write_text(json.dumps(request))
    assert "1 acknowledged" in developer.run(
        "services.cli", "publish", file, "--source", "/upstream/shop"
    )

    moved = json.loads(developer.run(*clock, "advance", "30d", "--json"))
    assert moved["stops"] == 1
    shown = json.loads(developer.run("services.cli", "orders", "show", "rnw-example-1", "--json"))
    recorded = {
        each["type"].split(".")[1]: datetime.fromisoformat(each["recorded_at"])
        for each in shown
        if each["service"] == "orders"
    }
    waited = recorded["OrderExpired"] - recorded["RenewalAccepted"]
    assert timedelta(hours=1) <= waited < timedelta(hours=1, minutes=1), (
        "it expired when it was due"
    )
    assert datetime.fromisoformat(moved["now"]) > datetime.now(UTC) + timedelta(days=29)

    assert "not turned back" in developer.run(*clock, "advance", "-1d", status=2)
    assert "all is well" in developer.run("services.cli", "status")
    assert "the logs are sound" in developer.run("services.cli", "log", "verify")

    developer.run("deploy.local", "down")
    developer.run("deploy.local", "up")
    again = json.loads(developer.run(*clock, "show", "--json"))
    assert again["virtual"], "data from the future keep their clock"
    assert again["now"] > moved["now"]


def read_environment(file: str) -> dict[str, str]:
    shell = ["bash", "-c", 'set -a; . "$1"; env', "shell", file]
    told = subprocess.run(shell, env={}, capture_output=True, text=True, check=True).stdout
    lines = (line.partition("=") for line in told.splitlines())
    return {name: value for name, _, value in lines if name.startswith("PERENNIAL_")}


def test_service_that_dies_is_started_again(developer: Developer) -> None:
    developer.run("deploy.local", "up")
    orders = next(p for p in developer.processes() if "services.orders" in p.cmdline())
    orders.kill()
    log = developer.state / "up" / "logs" / "stack.log"
    ends_at = time.monotonic() + 30
    while "orders ended with -9: starting it again" not in log.read_text():
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def wait_for_files(folder: Path) -> list[Path]:
    ends_at = time.monotonic() + 60
    while not (found := sorted(folder.glob("*.eml"))):
        assert time.monotonic() < ends_at, "no email arrived"
        time.sleep(0.1)
    return found
