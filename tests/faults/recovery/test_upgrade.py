"""Two versions side by side for one deploy: the next one is this one with an expand migration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import schemas
import services
from deploy.local.processes import Child
from tests.faults.conftest import Books
from tests.faults.recovery.recovery import SERVICES
from tests.faults.stream import SETTINGS, Stream, start_services
from tests.infrastructure.system import PASSWORD, SHARDS, System

HALTED = 70
CONFIGURATION = 78
EXPAND = """\
-- migrate:up

ALTER TABLE event ADD COLUMN channel text;
ALTER TABLE effect ADD COLUMN priority int NOT NULL DEFAULT 0;
ALTER TABLE cursor ADD COLUMN moved_at timestamptz DEFAULT now();

-- migrate:down

SELECT 1;
"""


@pytest.fixture
def next_version(tmp_path: Path) -> Path:
    """Return a folder with the packages of the next version."""
    for package in (schemas, services):
        folder = Path(str(package.__file__)).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(folder, tmp_path / folder.name, ignore=ignored)
    migrations = tmp_path / "services" / "runtime" / "migrations"
    (migrations / "20991231000001_expand.sql").write_text(EXPAND)
    return tmp_path


def set_up_next(system: System, code: Path) -> None:
    """Run `perennial setup` of the next version."""
    passwords = {f"PERENNIAL_{name.upper()}_PASSWORD": PASSWORD for name in SERVICES}
    environment = os.environ | passwords | {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
    environment["PERENNIAL_ADMIN_DSN"] = system.admin_dsn
    command = [sys.executable, "-m", "services.cli", "setup"]
    command += ["--bootstrap-servers", system.infrastructure.bootstrap_servers]
    command += ["--shard-count", str(SHARDS), "--replication-factor", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def ended(child: Child) -> tuple[int, str]:
    """Return the exit status of a service that ends by itself, and what it says last."""
    status = child.popen.wait(60)
    return status, json.loads(child.log.read_text().splitlines()[-1])["error"]


def test_services_are_replaced_one_by_one_in_mid_stream(
    system: System, undisturbed_books: Books, next_version: Path
) -> None:
    start_services(system)

    with Stream(system) as stream:
        stream.charged(0.2)
        set_up_next(system, next_version)
        for service in ("notifier", "ledger", "orders"):
            old = system.children[service]
            new = system.start(
                service, name="second", wait=False, code=next_version, **SETTINGS[service]
            )
            system.wait_for(f"the new {service}", lambda: system.is_ready("second"))
            assert old.exit_code is None
            assert old.stop() == 0
            if service != "orders":
                assert new.stop() == 0
                system.start(service, code=next_version, **SETTINGS[service])

    stream.outcome.check()
    assert stream.outcome.balances() == undisturbed_books


def test_next_version_halts_on_the_migrations_of_this_one_until_they_are_applied(
    system: System, next_version: Path
) -> None:
    status, error = ended(system.start("orders", wait=False, code=next_version))
    assert status == HALTED
    assert "lacks migrations 20991231000001: run `perennial setup`" in error

    set_up_next(system, next_version)

    system.start("orders", code=next_version)


@pytest.mark.parametrize("service", SERVICES)
def test_service_refuses_a_database_that_is_newer_than_it_knows(
    system: System, next_version: Path, service: str
) -> None:
    set_up_next(system, next_version)

    status, error = ended(system.start(service, wait=False))

    assert status == CONFIGURATION
    assert "the database has migration 20991231000001" in error
    assert "deploy the version that made it, or a newer one" in error
