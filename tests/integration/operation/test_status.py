"""`perennial status`: what it exits with for each kind of trouble, and `--watch` without a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.ports import HOST, choose_ports
from tests.faults.processes.test_start import at_port
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System
from tests.integration.operation.test_operator_commands import perennial

WELL, TROUBLE, NO_ANSWER = 0, 1, 3
EFFECT = (
    "INSERT INTO effect (shard, effect_id, kind, account_id, stream_id, cause_event_id,"
    " correlation_id, payload, due_at, hold_key, started_at) VALUES (0, 'charge/1', 'charge',"
    " 'acct-1', 'order/1', gen_random_uuid(), 'c', '{}', CASE WHEN $1::text IS NULL"
    " THEN now() END, $1, now() - interval '2 hours')"
)
DEAD_LETTER = (
    "INSERT INTO dead_letter (topic, partition, record_offset, record_headers, reason, detail,"
    " attempts, dead_lettered_at) VALUES ('t', 0, 0, '[]', 'body_invalid', 'd', 1, now())"
)


def lag(system: System) -> None:
    system.publish("RenewalRequested", *(card_renewal(n, "late") for n in range(5)))


def dead_letter(system: System) -> None:
    system.query("ledger", DEAD_LETTER)


def old_effect(system: System) -> None:
    system.query("notifier", EFFECT, None)


def held_effect(system: System) -> None:
    system.query("orders", EFFECT, "order/1")


@pytest.mark.parametrize(
    ("trouble", "status", "told"),
    [
        (lag, TROUBLE, "orders is behind by 5 records"),
        (dead_letter, TROUBLE, "ledger has 1 open dead letter:"),
        (old_effect, TROUBLE, "notifier asked for a charge 7"),
        (held_effect, WELL, None),
    ],
)
def test_exit_status_says_whether_a_person_must_look(
    system: System, trouble: object, status: int, told: str | None
) -> None:
    trouble(system)  # type: ignore[operator]

    shown = perennial(system, "status", "--json", "--lag-max", "4")

    assert shown.returncode == status, shown.stdout + shown.stderr
    problems = json.loads(shown.stdout)["problems"]
    assert told in problems[0] if told else problems == []


def test_limits_decide_what_is_trouble(system: System) -> None:
    lag(system)
    old_effect(system)

    patient = perennial(system, "status", "--lag-max", "5", "--age-max-seconds", "8000")

    assert patient.returncode == WELL, patient.stdout + patient.stderr


@pytest.mark.parametrize("absent", ["service", "database", "broker"])
def test_what_does_not_answer_is_named_before_any_trouble(
    system: System, tmp_path: Path, absent: str
) -> None:
    dead_letter(system)
    port = choose_ports(tmp_path / "ports", ["closed"])["closed"]
    names = {
        "service": {"PERENNIAL_ORDERS_HTTP": f"http://{HOST}:{port}"},
        "database": {"PERENNIAL_ORDERS_POSTGRES_DSN": at_port(system.dsn("orders"), port)},
        "broker": {"PERENNIAL_BOOTSTRAP_SERVERS": f"{HOST}:{port}"},
    }
    told = {
        "service": f"orders at http://{HOST}:{port}",
        "database": "the database of orders",
        "broker": f"Kafka at {HOST}:{port}",
    }

    shown = run(system, names[absent], "status", "--json")

    assert shown.returncode == NO_ANSWER, shown.stdout + shown.stderr
    found = json.loads(shown.stdout)
    assert found["unreachable"] == [told[absent]]
    assert any("1 open dead letter:" in problem for problem in found["problems"])


def test_watch_prints_again_and_ends_with_the_status_of_the_last_look(system: System) -> None:
    with watching(system) as (watch, output):
        system.wait_for("it looks again", lambda: output.read_text().count("all is well") >= 2)
        dead_letter(system)
        system.wait_for("it sees it", lambda: "open dead letter" in output.read_text())
        watch.send_signal(signal.SIGINT)
        assert watch.wait(15) == TROUBLE

    text = output.read_text()
    assert "Traceback" not in text
    assert "Aborted" not in text
    assert "\x1b" not in text


def test_watch_of_a_well_system_ends_with_0_and_writes_json_lines(system: System) -> None:
    with watching(system, "--json") as (watch, output):
        system.wait_for("it looks again", lambda: len(output.read_text().splitlines()) >= 2)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(15) == WELL

    looks = [json.loads(line) for line in output.read_text().splitlines()]
    assert looks[0]["looked_at"] < looks[1]["looked_at"]
    assert all(look["problems"] == [] for look in looks)


@contextmanager
def watching(system: System, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run `perennial status --watch` with its output in a file."""
    output = system.folder / "watched"
    command = [*(sys.executable, "-m", "services.cli", "status"), "--watch", "--every-seconds", "1"]
    with output.open("wb") as file:
        watch = subprocess.Popen(
            [*command, *options],
            env=environment(system),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # Whatever runs in the background of a shell would ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
    try:
        yield watch, output
    finally:
        watch.kill()
        watch.wait(10)


def environment(system: System) -> dict[str, str]:
    services = ("orders", "ledger", "notifier")
    return os.environ | {
        **{f"PERENNIAL_{each.upper()}_POSTGRES_DSN": system.dsn(each) for each in services},
        "PERENNIAL_BOOTSTRAP_SERVERS": system.infrastructure.bootstrap_servers,
        "PERENNIAL_STATE_FOLDER": str(system.folder / "none"),
        "COLUMNS": "200",
    }


def run(system: System, more: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(
        command,
        env=environment(system) | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
