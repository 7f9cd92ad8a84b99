"""Kafka over TLS with a login: setup, publish, a service, status and recover against a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.servers.broker_security import ADMIN
from deploy.local.stack import LocalStack
from schemas.topics import REQUESTS
from tests.faults.requests import card_renewal
from tests.infrastructure.system import PASSWORD as DATABASE_PASSWORD
from tests.infrastructure.system import SALT, SHARDS, System

CONFIGURATION, USAGE = 78, 2
Login = dict[str, Any]


@pytest.fixture(scope="module")
def login(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    """How the administrator is let in at the broker of the secure profile."""
    with LocalStack(tmp_path_factory.mktemp("secure"), secure=True) as stack:
        stack.start_kafka()
        yield stack.addresses().kafka(ADMIN)


def perennial(system: System, login: Login, *arguments: str) -> subprocess.CompletedProcess[str]:
    names = ("orders", "ledger", "notifier")
    environment = (
        os.environ
        | {f"PERENNIAL_{name}": value for name, value in login.items()}
        | {f"PERENNIAL_{name.upper()}_POSTGRES_DSN": system.dsn(name) for name in names}
        | {f"PERENNIAL_{name.upper()}_PASSWORD": DATABASE_PASSWORD for name in names}
        | {
            "PERENNIAL_ADMIN_DSN": system.admin_dsn,
            "PERENNIAL_ORDERS_ESIM_HASH_SALT": SALT,
            "PERENNIAL_STATE_FOLDER": str(system.folder / "none"),
        }
    )
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=90
    )


def set_up(system: System, login: Login) -> subprocess.CompletedProcess[str]:
    sizes = ("--shard-count", str(SHARDS), "--replication-factor", "1")
    return perennial(system, login, "setup", *sizes)


def requests(folder: Path) -> Path:
    row = card_renewal(1, "secure", token="tok_ok", ending="0000")
    file = folder / "requests.jsonl"
    file.write_text(json.dumps({"type": "billing.RenewalRequested.v1", "data": row}) + "\n")
    return file


def test_renewal_goes_all_the_way_over_tls_with_a_login(
    system: System, login: Login, tmp_path: Path
) -> None:
    made = set_up(system, login)
    assert made.returncode == 0, made.stdout + made.stderr
    child = system.start("orders", **login)

    by_password = login | {"KAFKA_SASL_MECHANISM": "PLAIN"}
    published = perennial(system, by_password, "publish", str(requests(tmp_path)))

    assert published.returncode == 0, published.stdout + published.stderr
    system.wait_for("it is active", lambda: system.events("orders", "PlanActivated"))
    shown = perennial(system, login, "status", "--json")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert json.loads(shown.stdout)["services"]["orders"]["lag"] == 0
    assert child.stop() == 0
    for command in (["reread", "orders", REQUESTS.name], ["adopt", "orders"]):
        recovered = perennial(system, login, "recover", *command)
        assert recovered.returncode == 0, recovered.stdout + recovered.stderr


WRONG = [
    (
        {"KAFKA_PASSWORD_FILE": None, "KAFKA_PASSWORD": "another"},
        "refuses the login: check KAFKA_USERNAME, KAFKA_PASSWORD",
    ),
    ({"KAFKA_CA_FILE": None}, "is not trusted"),
    ({"KAFKA_CA_FILE": "none.pem"}, "KAFKA_CA_FILE cannot be used (FileNotFoundError)"),
    ({"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}, "choose another"),
    ({"KAFKA_SASL_MECHANISM": None}, "set KAFKA_SASL_MECHANISM together with"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG)
def test_wrong_login_or_authority_is_named_by_the_service_and_by_the_commands(
    system: System, login: Login, tmp_path: Path, wrong: dict[str, str | None], told: str
) -> None:
    password = Path(login["KAFKA_PASSWORD_FILE"]).read_text()
    login = {name: value for name, value in (login | wrong).items() if value is not None}
    child = system.start("orders", wait=False, **login)
    file = str(requests(tmp_path))
    reread = ("recover", "reread", "orders", REQUESTS.name)

    done = [set_up(system, login), perennial(system, login, "publish", file)]
    done += [perennial(system, login, *command) for command in (["status"], reread)]

    for each in done:
        assert each.returncode == USAGE, each.stdout + each.stderr
        assert told in each.stderr
        assert "Traceback" not in each.stderr
    assert child.popen.wait(60) == CONFIGURATION
    log = child.log.read_text()
    assert told in log
    if "KAFKA_CA_FILE" in wrong:
        assert "KAFKA_CA_FILE" in log
    assert password not in log
    assert password not in "".join(each.stdout + each.stderr for each in done)
