"""Who may do what in the secure profile: services at work, and what each login and nobody gets."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.servers.broker_security import ADMIN
from deploy.local.services import SERVICES
from deploy.local.stack import LocalStack
from schemas.access import ResourceKind
from schemas.registry import SHARD_COUNT_DEFAULT, Topic
from schemas.topics import (
    CATALOGUE,
    CONFIRMATIONS,
    LEDGER,
    NOTIFICATIONS,
    ORDERS,
    REQUESTS,
)
from services.runtime.kafka.client import build_producer, client_options
from services.runtime.kafka.patches.acls import ALLOW, LITERAL, Acl, add_acls
from tests.faults.requests import card_renewal

WRITERS: Final = {
    REQUESTS: {"upstream", "operator"},
    CONFIRMATIONS: {"gateway"},
    ORDERS: {"orders"},
    LEDGER: {"ledger"},
    NOTIFICATIONS: {"notifier"},
    CATALOGUE: {"orders"},
}
USERS: Final = ("upstream", "gateway", "orders", "ledger", "notifier", "operator", "observer")
SIZES: Final = ("--shard-count", str(SHARD_COUNT_DEFAULT), "--replication-factor", "1")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("access"), secure=True) as started:
        started.start()
        yield started


def perennial(stack: LocalStack, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    addresses = stack.addresses()
    environment = (
        os.environ
        | {f"PERENNIAL_{name}": value for name, value in addresses.kafka(user).items()}
        | {f"PERENNIAL_{name.upper()}_POSTGRES_DSN": addresses.postgres[name] for name in SERVICES}
        | {f"PERENNIAL_{name.upper()}_HTTP": addresses.http[name] for name in SERVICES}
        | {
            f"PERENNIAL_{name.upper()}_PASSWORD": database_password(stack, name)
            for name in SERVICES
        }
        | {"PERENNIAL_ADMIN_DSN": stack.admin_dsn}
        | {"PERENNIAL_STATE_FOLDER": str(stack.folder / "none")}
    )
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def database_password(stack: LocalStack, service: str) -> str:
    return urlsplit(stack.addresses().postgres[service]).password or ""


async def may_write(stack: LocalStack, user: str, topic: Topic) -> bool:
    producer = build_producer(stack.addresses().kafka_settings(user))
    try:
        await producer.start()
        await producer.send_and_wait(topic.name, b"{}", key=b"a", partition=0)
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
        return False  # who may write nowhere gets no id as a producer
    finally:
        await producer.stop()
    return True


async def may_read(stack: LocalStack, user: str, topic: Topic) -> bool:
    consumer = AIOKafkaConsumer(
        **client_options(stack.addresses().kafka_settings(user)), auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic.name, 0)])
        # Who may not even see a topic gets no error, and nothing.
        return bool(await consumer.getmany(timeout_ms=5_000))
    except KafkaError:
        return False
    finally:
        await consumer.stop()


async def grant(stack: LocalStack, acl: Acl) -> None:
    admin = AIOKafkaAdminClient(**client_options(stack.addresses().kafka_settings(ADMIN)))
    await admin.start()
    try:
        await add_acls(admin, [acl])
    finally:
        await admin.close()


def is_let_in(stack: LocalStack, protocol: str = "SASL_SSL", user: str = ADMIN) -> bool:
    """Whether a client gets an answer that has the administrator's password."""
    login = stack.addresses().kafka(ADMIN)
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": login["BOOTSTRAP_SERVERS"],
        "security.protocol": protocol,
        "sasl.mechanism": login["KAFKA_SASL_MECHANISM"],
        "sasl.username": user,
        "sasl.password": Path(login["KAFKA_PASSWORD_FILE"]).read_text(),
        "ssl.ca.location": login["KAFKA_CA_FILE"],
        "log_level": 0,
    }
    try:
        AdminClient(options).list_topics(timeout=5)
    except KafkaException:
        return False
    return True


def problems(stack: LocalStack) -> list[str]:
    shown = perennial(stack, "operator", "status", "--json")
    found: list[str] = json.loads(shown.stdout)["problems"]
    assert shown.returncode == (1 if found else 0), shown.stdout + shown.stderr
    return found


def wait_for_mail(stack: LocalStack) -> None:
    ends_at = time.monotonic() + 60
    while not list(stack.mail_folder.glob("*.eml")):
        assert time.monotonic() < ends_at, "no email arrived"
        time.sleep(0.1)


def test_each_user_does_its_part_of_a_renewal(stack: LocalStack, tmp_path: Path) -> None:
    again = perennial(stack, ADMIN, "setup", *SIZES)
    assert "access: 0 entries added, 0 removed" in again.stdout, again.stdout + again.stderr
    row = card_renewal(1, "access", token="tok_ok", ending="0000")
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps({"type": "billing.RenewalRequested.v1", "data": row}) + "\n")

    published = perennial(stack, "upstream", "publish", str(file))

    assert published.returncode == 0, published.stdout + published.stderr
    wait_for_mail(stack)
    shown = perennial(stack, "operator", "orders", "show", row["renewal_id"], "--json")
    told = [(each["service"], each["type"]) for each in json.loads(shown.stdout)]
    assert ("ledger, booked", "billing.PlanActivated.v1") in told, shown.stdout + shown.stderr
    assert problems(stack) == []
    refused = perennial(stack, "gateway", "publish", str(file))
    assert "this login may not write there" in refused.stdout, refused.stderr


def test_only_its_writer_writes_a_topic(stack: LocalStack) -> None:
    async def tried() -> None:
        for topic, writers in WRITERS.items():
            for user in USERS:
                assert await may_write(stack, user, topic) == (user in writers), (user, topic.name)
        for reader in ("upstream", "gateway", "ledger", "observer"):
            assert not await may_read(stack, reader, REQUESTS), reader
        assert await may_read(stack, "observer", ORDERS)

    asyncio.run(tried())


def test_who_is_not_known_is_not_let_in(stack: LocalStack) -> None:
    assert is_let_in(stack)
    for protocol in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT"):
        assert not is_let_in(stack, protocol)
    for another in ("nobody", "orders"):
        assert not is_let_in(stack, user=another)


def test_what_somebody_gave_by_hand_is_found_and_taken_away_when_asked(stack: LocalStack) -> None:
    asyncio.run(grant(stack, Acl(2, "billing.", 4, "User:upstream", "*", 4, ALLOW)))
    asyncio.run(grant(stack, Acl(2, ORDERS.name, LITERAL, "User:*", "*", 2, ALLOW)))
    told = problems(stack)
    assert len([each for each in told if "--remove-other-access" in each]) == 2, told
    assert asyncio.run(may_write(stack, "upstream", LEDGER))

    mended = perennial(stack, ADMIN, "setup", *SIZES, "--remove-other-access")

    assert "access: 0 entries added, 2 removed" in mended.stdout, mended.stdout + mended.stderr
    assert not [each for each in problems(stack) if "User:" in each]
    refused = perennial(stack, "upstream", "setup", *SIZES)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


def test_upstream_that_may_use_transactions_is_found(stack: LocalStack) -> None:
    acl = Acl(ResourceKind.TRANSACTIONAL_ID, "shop", LITERAL, "User:upstream", "*", 4, ALLOW)
    asyncio.run(grant(stack, acl))

    [told] = [each for each in problems(stack) if "User:" in each]
    assert told.startswith("User:upstream may write transactional_id shop, which nobody gave it")

    mended = perennial(stack, ADMIN, "setup", *SIZES, "--remove-other-access")
    assert "access: 0 entries added, 1 removed" in mended.stdout, mended.stdout + mended.stderr
    assert not [each for each in problems(stack) if "User:" in each]


def test_secrets_are_in_private_files_and_nowhere_else(stack: LocalStack) -> None:
    passwords = json.loads((stack.folder / "passwords.json").read_text()).values()
    secrets = [*passwords, *(line.partition(":")[2] for line in key_lines(stack))]
    told = [" ".join(psutil.Process(each.pid).cmdline()) for each in stack.children.values()]
    told += [file.read_text(errors="replace") for file in (stack.folder / "logs").iterdir()]
    services = [psutil.Process(stack.children[name].pid).environ() for name in SERVICES]
    told += [
        value
        for environment in services
        for name, value in environment.items()
        if name.startswith("PERENNIAL_")
    ]
    assert not [each for each in secrets if any(each in text for text in told)]
    open_to_others = [
        file
        for file in stack.folder.rglob("*")
        if file.is_file() and file.stat().st_mode & 0o077 and "postgres" not in file.parts
    ]
    held = [file.read_text(errors="replace") for file in open_to_others]
    assert not [each for each in secrets if any(each in text for text in held)]


def key_lines(stack: LocalStack) -> list[str]:
    return [*stack.event_keys_file.read_text().split(), stack.anchor_keys_file.read_text().strip()]
