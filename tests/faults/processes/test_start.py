"""A service whose surroundings are absent or wrong: it waits, or ends with a status and advice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from deploy.local.ports import HOST, choose_ports
from deploy.local.processes import Child
from tests.faults.proxy import Proxy
from tests.infrastructure.system import System

HALTED = 70
INFRASTRUCTURE_ABSENT = 75
CONFIGURATION = 78
SERVICES = ("orders", "ledger", "notifier")


@pytest.fixture
def port(tmp_path: Path) -> int:
    """Return a port that nothing listens on."""
    return choose_ports(tmp_path / "ports", ["closed"])["closed"]


def logged(child: Child, event: str) -> list[dict[str, Any]]:
    """Return the log lines of one event."""
    lines = [json.loads(line) for line in child.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def ended(child: Child) -> tuple[int, str]:
    """Return the exit status of a service that ends by itself, and what it says last."""
    status = child.popen.wait(60)
    return status, json.loads(child.log.read_text().splitlines()[-1])["error"]


def at_port(dsn: str, port: int) -> str:
    """Return `dsn` with the port replaced."""
    parts = urlsplit(dsn)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{HOST}:{port}"))


def address(server: str) -> tuple[str, int]:
    """Return the host and port of a DSN or of a bootstrap server."""
    parts = urlsplit(server if "//" in server else f"//{server}")
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def test_absent_database_is_waited_for_then_named(system: System, port: int) -> None:
    dsn = at_port(system.dsn("orders"), port)
    child = system.start("orders", wait=False, POSTGRES_DSN=dsn, START_TIMEOUT_SECONDS=2)

    status, error = ended(child)

    assert status == INFRASTRUCTURE_ABSENT
    assert error.startswith("Postgres was not reachable within 2 s")
    assert "check its address" in error
    assert {line["what"] for line in logged(child, "waiting")} == {"Postgres"}


def test_absent_broker_is_waited_for_then_named(system: System, port: int) -> None:
    servers = f"{HOST}:{port}"
    child = system.start("orders", wait=False, BOOTSTRAP_SERVERS=servers, START_TIMEOUT_SECONDS=2)

    status, error = ended(child)

    assert status == INFRASTRUCTURE_ABSENT
    assert error.startswith("Kafka was not reachable within 2 s")
    assert "check its address" in error
    assert {line["what"] for line in logged(child, "waiting")} == {"Kafka"}


def test_database_that_comes_up_in_time_is_used(system: System, port: int) -> None:
    dsn = system.dsn("orders")
    with Proxy(port, address(dsn)) as proxy:
        child = system.start("orders", wait=False, POSTGRES_DSN=at_port(dsn, port))
        system.wait_for("orders waits", lambda: logged(child, "waiting"))
        proxy.open()
        system.wait_for("orders is ready", lambda: system.is_ready("orders"))
        assert child.stop() == 0


def test_broker_that_comes_up_in_time_is_used(system: System, port: int) -> None:
    with Proxy(port, address(system.infrastructure.bootstrap_servers)) as proxy:
        child = system.start("orders", wait=False, BOOTSTRAP_SERVERS=f"{HOST}:{port}")
        system.wait_for("orders waits", lambda: logged(child, "waiting"))
        proxy.open()
        system.wait_for("orders is ready", lambda: system.is_ready("orders"))
        assert child.stop() == 0


def test_service_that_waits_can_be_stopped(system: System, port: int) -> None:
    child = system.start("orders", wait=False, BOOTSTRAP_SERVERS=f"{HOST}:{port}")
    system.wait_for("orders waits", lambda: logged(child, "waiting"))
    assert child.stop(10) == 0


def test_wrong_password_is_a_fault_of_the_configuration(system: System) -> None:
    dsn = system.dsn("orders").replace(":secret@", ":guessed@")
    child = system.start("orders", wait=False, POSTGRES_DSN=dsn)

    status, error = ended(child)

    assert status == CONFIGURATION
    assert "Postgres refuses the login of POSTGRES_DSN" in error
    assert "guessed" not in child.log.read_text()


def test_missing_database_is_a_fault_of_the_configuration(system: System) -> None:
    dsn = urlunsplit(urlsplit(system.dsn("orders"))._replace(path="/nowhere"))
    status, error = ended(system.start("orders", wait=False, POSTGRES_DSN=dsn))
    assert status == CONFIGURATION
    assert "run `perennial setup`" in error


@pytest.mark.parametrize(
    "removal", ["DROP SCHEMA ledger CASCADE", "DELETE FROM ledger.schema_migrations"]
)
def test_missing_migrations_halt_and_name_the_set_up(system: System, removal: str) -> None:
    system.query("ledger", removal)
    status, error = ended(system.start("ledger", wait=False))
    assert status == HALTED
    assert "lacks migrations" in error
    assert "run `perennial setup`" in error


def test_other_number_of_shards_halts_and_names_the_set_up(system: System) -> None:
    status, error = ended(system.start("notifier", wait=False, SHARD_COUNT=3))
    assert status == HALTED
    assert "run `perennial setup`, or set SHARD_COUNT" in error


@pytest.mark.parametrize("service", SERVICES)
def test_missing_settings_are_listed(service: str) -> None:
    prefix = f"PERENNIAL_{service.upper()}_"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PERENNIAL_")}
    command = [sys.executable, "-m", f"services.{service}"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == CONFIGURATION
    for name in ("POSTGRES_DSN", "BOOTSTRAP_SERVERS"):
        assert f"  - {prefix}{name} is missing" in done.stderr
