"""The parts under measurement: broker and database of the embedded stack, services as processes."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.bench.line import BenchLine
from deploy.bench.system.bare import BOOKED, DSN_VARIABLE, SERVERS_VARIABLE, TABLES
from deploy.local.errors import StackError
from deploy.local.ports import HOST, choose_ports
from deploy.local.processes import Child
from deploy.local.services import SERVICES, start_service, wait_until_ready
from deploy.local.stack import LocalStack, Say
from schemas.access import our_topics
from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.topics import NOTIFICATIONS, ORDERS, REQUESTS

BARE_TOPICS: Final = ("bench.requests", "bench.orders", "bench.notifications")
SETTINGS: Final = {
    "PERENNIAL_NOTIFIER_CHANNEL": "counting",
    # Ten accounts get thousands of mails, and none is to wait for its mailbox.
    "PERENNIAL_NOTIFIER_RECEIPTS_AT_ONCE": "1000000",
    "PERENNIAL_ORDERS_SANDBOX_SLOW_SECONDS": "0.3",
}
_BOOKED: Final = "SELECT coalesce(sum(next_offset), 0)::bigint FROM ledger.cursor WHERE topic = $1"
_START_SECONDS: Final = 60
_LOOK_SECONDS: Final = 0.1


class Rig:
    """An embedded stack whose tables and topics can be emptied between measurements."""

    def __init__(self, folder: Path, say: Say) -> None:
        """Take `folder`, forgetting what is in it."""
        self.say = say
        self.stack = LocalStack(folder, fresh=True, say=say)
        self.running: dict[str, Child] = {}

    def __enter__(self) -> Self:
        """Start broker and database, empty: `fresh` prepares them."""
        try:
            self.stack.start_infrastructure()
        except BaseException:
            self.stack.stop()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stack.stop()

    def _prepare(self) -> None:
        self.stack.set_up()
        asyncio.run(_make_bare(self.stack.admin_dsn, self.stack.bootstrap_servers))

    def fresh(self) -> None:
        """Stop the services and empty all tables and topics."""
        self.stop()
        asyncio.run(_drop(self.stack.admin_dsn, self.stack.bootstrap_servers))
        self._prepare()

    def stop(self, *names: str) -> None:
        """Stop the named processes, or all."""
        for name in names or tuple(self.running):
            self.running.pop(name).stop()

    def start(
        self,
        *services: str,
        settings: Mapping[str, str] = SETTINGS,
        instance: str = "",
        wait: bool = True,
    ) -> None:
        """Start services, by default until they are ready; `instance` sets further ones apart."""
        started = []
        for service in services:
            name = service + instance
            port = choose_ports(self.stack.folder / f"port-{name}.json", [name])[name]
            http = dict(self.stack.addresses().http) | {service: f"http://{HOST}:{port}"}
            self.running[name] = start_service(
                self.stack.processes,
                service,
                replace(self.stack.addresses(), http=http),
                settings=settings,
                name=name,
            )
            started.append((self.running[name], http[service]))
        if wait:
            wait_until_ready(started)

    def start_bare(self, *stages: str, topics: tuple[str, str, str] = BARE_TOPICS) -> None:
        """Start stages of the reference line and wait until they read."""
        environment = os.environ | {
            DSN_VARIABLE: self.stack.admin_dsn,
            SERVERS_VARIABLE: self.stack.bootstrap_servers,
        }
        for stage in stages:
            name = f"bare-{stage}"
            command = [sys.executable, "-m", "deploy.bench.system.bare", stage, *topics]
            self.running[name] = self.stack.processes.start(name, command, environment=environment)
        ends_at = time.monotonic() + _START_SECONDS
        query = "SELECT count(DISTINCT stage) FROM bench.cursor WHERE stage = ANY($1::text[])"
        while self.fetch_value(query, list(stages)) != len(stages):
            failed = [c for c in self.running.values() if c.exit_code is not None]
            if failed or time.monotonic() > ends_at:
                raise (failed or list(self.running.values()))[0].failed("does not read")
            time.sleep(_LOOK_SECONDS)

    def pids(self) -> dict[str, int]:
        """Return the processes under measurement by name."""
        parts = {name: child.pid for name, child in self.running.items()}
        return parts | {
            "postgres": self.stack.postgres.child.pid,
            "kafka": self.stack.broker.child.pid,
        }

    def line(self) -> BenchLine:
        return self._line(REQUESTS.name, ORDERS.name, NOTIFICATIONS.name, _BOOKED)

    def bare_line(self) -> BenchLine:
        return self._line(*BARE_TOPICS, BOOKED)

    def _line(self, requests: str, orders: str, notifications: str, booked: str) -> BenchLine:
        return BenchLine(
            bootstrap_servers=self.stack.bootstrap_servers,
            dsn=self.stack.admin_dsn,
            requests=requests,
            orders=orders,
            notifications=notifications,
            booked_query=booked,
        )

    def dsn(self, service: str) -> str:
        """Return the DSN of a service's role."""
        return self.stack.addresses().postgres[service]

    def settle(self) -> None:
        """Have Postgres do now what is left to do of what was written before.

        Else it is done by autovacuum and a checkpoint while something else is measured.
        """
        self.execute("VACUUM (FREEZE, ANALYZE)")
        self.execute("CHECKPOINT")

    def execute(self, statements: str) -> None:

        async def run() -> None:
            connection = await asyncpg.connect(self.stack.admin_dsn)
            try:
                await connection.execute(statements)
            finally:
                await connection.close()

        asyncio.run(run())

    def fetch_value(self, query: str, *values: object) -> object:
        """Return one value, read as the superuser."""

        async def run() -> object:
            connection = await asyncpg.connect(self.stack.admin_dsn)
            try:
                return await connection.fetchval(query, *values)
            finally:
                await connection.close()

        return asyncio.run(run())


async def _make_bare(admin_dsn: str, bootstrap_servers: str) -> None:
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(TABLES)
    finally:
        await connection.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(t, SHARD_COUNT_DEFAULT, 1) for t in BARE_TOPICS])
        while not all(map(_is_led, await admin.describe_topics(list(BARE_TOPICS)))):  # noqa: ASYNC110 - Kafka has no signal for it
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await admin.close()


def _is_led(topic: dict[str, Any]) -> bool:
    partitions = topic["partitions"]
    return len(partitions) == SHARD_COUNT_DEFAULT and all(p["leader"] >= 0 for p in partitions)


async def _drop(admin_dsn: str, bootstrap_servers: str) -> None:
    connection = await asyncpg.connect(admin_dsn)
    try:
        for schema in ("bench", *SERVICES):
            await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    finally:
        await connection.close()
    names = our_topics() | set(BARE_TOPICS)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics(sorted(names))
        ends_at = time.monotonic() + _START_SECONDS
        while names & set(await admin.list_topics()):
            if time.monotonic() > ends_at:
                message = "the topics are not gone after a minute: see the broker's log"
                raise StackError(message)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        await admin.close()
