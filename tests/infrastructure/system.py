"""The three services as processes on the shared infrastructure, each test with empty topics."""

from __future__ import annotations

import asyncio
import email
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid5

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.ports import HOST, choose_ports
from deploy.local.processes import Child, Processes
from deploy.local.services import (
    SERVICES,
    LocalAddresses,
    not_ready,
    start_service,
    wait_until_ready,
)
from schemas import TOPIC_OF
from schemas.access import our_topics
from schemas.registry import key_pairs, writers
from schemas.topics import REQUESTS, TOPICS
from services.cli.setup.setup import set_up
from services.runtime.authenticity import EventKeys
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.settings import KafkaSettings
from tests.infrastructure import Infrastructure

SHARDS: Final = 4
PASSWORD: Final = "secret"
EVENT_KEYS: Final = "\n".join(
    f"{writer}/{reader}/tests:{number:064x}"
    for number, (writer, reader) in enumerate(key_pairs(TOPICS), 1)
)
SALT: Final = "salt-for-tests"
_NAMESPACE: Final = UUID("7b1c9b0e-6f53-5f0e-9c53-3f3f6f1f8a11")
FoundT = TypeVar("FoundT")
Headers = Sequence[tuple[str, bytes | None]]


class System:
    """A system under test. Start what the test needs; everything ends with it."""

    def __init__(self, infrastructure: Infrastructure, admin_dsn: str) -> None:
        """Use the broker of `infrastructure` and the database of `admin_dsn`."""
        self.infrastructure = infrastructure
        self.admin_dsn = admin_dsn
        self.children: dict[str, Child] = {}
        self._resources = ExitStack()
        self._http: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Empty the topics and prepare the database."""
        folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory()))
        self.folder = folder
        self.mail_folder = folder / "mail"
        self.event_keys: str | None = EVENT_KEYS
        self.processes = Processes(folder)
        self._resources.callback(self.processes.close)
        asyncio.run(delete_topics(self.infrastructure.bootstrap_servers))
        asyncio.run(
            set_up(
                admin_dsn=self.admin_dsn,
                kafka=KafkaSettings(bootstrap_servers=self.infrastructure.bootstrap_servers),
                passwords=dict.fromkeys(SERVICES, PASSWORD),
                shard_count=SHARDS,
            )
        )
        self._ports = choose_ports(folder / "ports", ["smtp", *SERVICES, "second"])
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        self._resources.close()

    # -- processes -------------------------------------------------------------------------------

    def dsn(self, service: str) -> str:
        """Return the DSN of a service's role."""
        parts = urlsplit(self.admin_dsn)
        address = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"perennial_{service}:{PASSWORD}@{address}"))

    def start_mail_sink(self) -> None:
        """Start the SMTP server that keeps messages as files."""
        port = self._ports["smtp"]
        command = [sys.executable, "-m", "deploy.local.servers.smtp", port, self.mail_folder]
        self.children["smtp"] = self.processes.start("smtp", command)
        self.children["smtp"].wait_for_port(port)

    def start(
        self,
        service: str,
        *,
        name: str | None = None,
        wait: bool = True,
        code: Path | None = None,
        **settings: Any,
    ) -> Child:
        """Start one service; settings are given without their prefix, `name` for a second one.

        `code` is a folder with another version of the packages.
        """
        name = name or service
        port = self._ports[service if name == service else "second"]
        addresses = LocalAddresses(
            bootstrap_servers=self.infrastructure.bootstrap_servers,
            postgres={each: self.dsn(each) for each in SERVICES},
            http={service: f"http://{HOST}:{port}"},
            smtp_port=self._ports["smtp"],
            sandbox_folder=self.folder / "sandbox",
            esim_hash_salt=SALT,
            event_keys=self.event_keys,
        )
        prefix = f"PERENNIAL_{service.upper()}_"
        defaults = {"SHARD_COUNT": SHARDS, "KAFKA_SESSION_TIMEOUT_MS": 6_000}
        given = {f"{prefix}{key}": str(value) for key, value in (defaults | settings).items()}
        if code is not None:
            given |= {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
        child = start_service(self.processes, service, addresses, settings=given, name=name)
        self.children[name] = child
        self._http[name] = addresses.http[service]
        if wait:
            wait_until_ready([(child, self._http[name])])
        return child

    def start_all(self, **settings: Any) -> None:
        """Start the mail sink and the three services; `settings` go to orders."""
        self.start_mail_sink()
        for service in SERVICES:
            more = settings if service == "orders" else {}
            self.start(service, wait=False, **more)
        wait_until_ready((self.children[name], self._http[name]) for name in SERVICES)

    def address(self, name: str) -> str:
        """Return where the probes of a process are."""
        return self._http[name]

    def is_ready(self, name: str) -> bool:
        """Return what the readiness probe of a process says now."""
        return not not_ready(self._http[name])

    # -- Kafka -----------------------------------------------------------------------------------

    def publish(self, event_type: str, *events: dict[str, Any], prefix: str = "") -> None:
        """Publish requests with proper headers; ids follow from `prefix` and their order."""
        records = []
        for number, data in enumerate(events):
            account = str(data["account_id"])
            value = json.dumps(data).encode()
            event_id = uuid5(_NAMESPACE, f"{prefix}/{event_type}/{number}/{value.decode()}")
            records.append((account.encode(), value, request_headers(event_type, event_id)))
        self.publish_raw(*records, topic=TOPIC_OF[f"billing.{event_type}.v1"].name)

    def publish_raw(
        self,
        *records: tuple[bytes | None, bytes | None, Headers],
        topic: str = REQUESTS.name,
        partition: int | None = None,
    ) -> None:
        """Publish (key, value, headers) as they are, to the key's partition unless told otherwise."""
        asyncio.run(
            _publish(self.infrastructure.bootstrap_servers, topic, records, partition=partition)
        )

    def publish_signed(self, *records: tuple[bytes, bytes, Headers], topic: str) -> None:
        """Publish (key, value, headers) to a topic of a service as that service does."""
        signer, signed = EventKeys.read(EVENT_KEYS, TOPICS).signer(writers(TOPICS)[topic]), []
        for key, value, headers in records:
            given = [(name, held or b"") for name, held in headers]
            shard = shard_of(key.decode(), SHARDS)
            signed.append((key, value, [*given, signer.mac(topic, shard, key, given, value)]))
        self.publish_raw(*signed, topic=topic)

    def published(self, *topics: str) -> list[tuple[str, dict[str, Any]]]:
        """Return (event name, data) of everything on our topics, or the given ones."""
        names = topics or tuple(topic.name for topic in TOPICS if not topic.external)
        found = asyncio.run(read_topics(self.infrastructure.bootstrap_servers, names))
        return [(_event_name(record.headers), json.loads(record.value)) for record in found]

    def records(self, topic: str) -> list[Any]:
        """Return the raw records of one topic."""
        return asyncio.run(read_topics(self.infrastructure.bootstrap_servers, (topic,)))

    # -- what came of it ---------------------------------------------------------------------------

    def query(self, service: str, statement: str, *values: object) -> list[asyncpg.Record]:
        """Return the rows of a statement, run as the superuser in the schema of `service`."""

        async def fetch() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(
                self.admin_dsn, server_settings={"search_path": service}
            )
            try:
                return await connection.fetch(statement, *values)
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def events(self, service: str, name: str) -> list[dict[str, Any]]:
        """Return the bodies of one kind of event in a service's log."""
        rows = self.query(
            service,
            "SELECT body FROM event WHERE type = $1 ORDER BY shard, position",
            f"billing.{name}.v1",
        )
        return [json.loads(row["body"]) for row in rows]

    def dead_letters(self, service: str) -> list[str]:
        """Return the reasons of a service's dead letters, sorted."""
        rows = self.query(service, "SELECT reason FROM dead_letter")
        return sorted(row["reason"] for row in rows)

    def mails(self) -> list[EmailMessage]:
        """Return the accepted messages in the order of arrival."""
        files = sorted(self.mail_folder.glob("*.eml"))
        return [email.message_from_bytes(f.read_bytes(), policy=modern) for f in files]

    def wait_for(
        self, what: str, found: Callable[[], FoundT | None], *, seconds: float = 60
    ) -> FoundT:
        """Ask until `found` returns something true; fail with `what` when it never does."""
        ends_at = time.monotonic() + seconds
        while True:
            if result := found():
                return result
            if time.monotonic() > ends_at:
                logs = "\n".join(f"{n}:\n{c.log_tail()}" for n, c in self.children.items())
                message = f"{what}: not within {seconds:.0f} s\n{logs}"
                raise AssertionError(message)
            time.sleep(0.1)


def request_headers(event_type: str, event_id: UUID, **extra: bytes | None) -> Headers:
    """Return the headers of a request as a proper client sends them."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(event_id).encode()),
        ("ce_source", f"{TOPIC_OF[f'billing.{event_type}.v1'].source_prefix}tests".encode()),
        ("ce_type", f"billing.{event_type}.v1".encode()),
        ("ce_time", b"2026-11-20T08:00:00Z"),
        ("content-type", b"application/json"),
        *extra.items(),
    ]


def _event_name(headers: Headers) -> str:
    wire_type = (dict(headers).get("ce_type") or b"").decode()
    return wire_type.removeprefix("billing.").rpartition(".")[0]


async def _publish(
    servers: str,
    topic: str,
    records: Sequence[tuple[bytes | None, bytes | None, Headers]],
    *,
    partition: int | None,
) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, max_request_size=2_000_000
    )
    try:
        await producer.start()
        sent = [
            await producer.send(
                topic,
                value,
                key=key,
                headers=headers,
                partition=shard_of((key or b"").decode(errors="replace"), SHARDS)
                if partition is None
                else partition,
            )
            for key, value, headers in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def read_topics(
    servers: str, topics: Sequence[str], *, partitions: int = SHARDS
) -> list[Any]:
    """Return all records that are on `topics` now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        every = [
            TopicPartition(topic, partition) for topic in topics for partition in range(partitions)
        ]
        consumer.assign(every)
        ends = await consumer.end_offsets(every)
        await consumer.seek_to_beginning(*every)
        records: list[Any] = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for found in (await consumer.getmany(timeout_ms=200)).values():
                records += found
        return records
    finally:
        await consumer.stop()


async def delete_topics(servers: str) -> None:
    """Delete all our topics; return when they are gone."""
    names = our_topics()
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        if existing := names & set(await admin.list_topics()):
            await admin.delete_topics(sorted(existing))
        while names & set(await admin.list_topics()):  # noqa: ASYNC110 - Kafka has no signal for it
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
