"""The reference: the same messages and rows through aiokafka and asyncpg COPY, without any logic.

`python -m deploy.bench.system.bare orders|ledger|notifier REQUESTS ORDERS NOTIFICATIONS` is one stage of
the line, as one process. Its tables have the columns and indexes of the real ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import asyncpg
import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition

from deploy.bench.parts.events import BODIES, HEADERS, STEPS
from schemas.registry import SHARD_COUNT_DEFAULT
from services.ledger.books.projection import AMOUNT_COLUMNS
from services.runtime.kafka.consumers import build_consumer
from services.runtime.log.postgres_rows import EVENT_COLUMNS

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

BATCH: Final = 500
DSN_VARIABLE: Final = "PERENNIAL_BENCH_DSN"
SERVERS_VARIABLE: Final = "PERENNIAL_BENCH_SERVERS"
TABLES: Final = """
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.orders_event (LIKE orders.event INCLUDING ALL);
CREATE TABLE bench.ledger_event (LIKE ledger.event INCLUDING ALL);
CREATE TABLE bench.ledger_amount (LIKE ledger.amount INCLUDING ALL);
CREATE TABLE bench.notifier_event (LIKE notifier.event INCLUDING ALL);
CREATE TABLE bench.shard (stage text, shard int, head bigint, PRIMARY KEY (stage, shard));
CREATE TABLE bench.cursor (stage text, topic text, partition int, next_offset bigint,
    PRIMARY KEY (stage, topic, partition));
"""
BOOKED: Final = (
    "SELECT coalesce(sum(next_offset), 0)::bigint FROM bench.cursor"
    " WHERE stage = 'ledger' AND topic = $1"
)
_AMOUNTS: Final = (("net", 3000), ("tax", 180), ("fee", 92))

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class BareFact:
    """What a row says of a message."""

    shard: int
    account_id: str
    renewal_id: str
    at: datetime


@dataclass(slots=True)
class Written:
    """What one batch becomes: rows of events and amounts, and messages."""

    events: list[Row]
    amounts: list[Row]
    messages: list[dict[str, Any]]


class Stage:
    """One process of the line."""

    def __init__(self, name: str, requests: str, orders: str, notifications: str) -> None:
        """Read and write as the service `name` does."""
        self._name = name
        self._reads = {
            "orders": [requests],
            "ledger": [orders],
            "notifier": [requests, orders],
        }[name]
        self._writes = {"orders": orders, "ledger": "", "notifier": notifications}[name]
        self._orders = orders
        self._heads: dict[int, int] = dict.fromkeys(range(SHARD_COUNT_DEFAULT), 0)

    async def run(self) -> None:
        """Consume until a signal."""
        stopped = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
        servers = os.environ[SERVERS_VARIABLE]
        connection = await asyncpg.connect(os.environ[DSN_VARIABLE])
        consumer = build_consumer({"bootstrap_servers": servers}, auto_offset_reset="earliest")
        producer = AIOKafkaProducer(
            bootstrap_servers=servers,
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            max_batch_size=128 * 1024,
        )
        await consumer.start()
        await producer.start()
        try:
            await self._begin(connection, consumer)
            while not stopped.is_set():
                found = await consumer.getmany(max_records=BATCH, timeout_ms=100)
                if found:
                    await self._handle(connection, producer, found)
        finally:
            await producer.stop()
            await consumer.stop()
            await connection.close()

    async def _begin(self, connection: asyncpg.Connection, consumer: AIOKafkaConsumer) -> None:
        partitions = [TopicPartition(t, n) for t in self._reads for n in range(SHARD_COUNT_DEFAULT)]
        consumer.assign(partitions)
        await connection.executemany(
            "INSERT INTO bench.shard VALUES ($1, $2, 0)",
            [(self._name, shard) for shard in range(SHARD_COUNT_DEFAULT)],
        )
        await connection.executemany(
            "INSERT INTO bench.cursor VALUES ($1, $2, $3, 0)",
            [(self._name, tp.topic, tp.partition) for tp in partitions],
        )

    async def _handle(
        self,
        connection: asyncpg.Connection,
        producer: AIOKafkaProducer,
        found: dict[TopicPartition, list[Any]],
    ) -> None:
        async with connection.transaction():
            shards = sorted({tp.partition for tp in found})
            await connection.fetch(
                "SELECT head FROM bench.shard WHERE stage = $1 AND shard = ANY($2::int[])"
                " ORDER BY shard FOR UPDATE",
                self._name,
                shards,
            )
            written = Written([], [], [])
            for tp, records in found.items():
                for record in records:
                    self._take(tp, record, written)
            await self._copy(connection, written)
            await connection.executemany(
                "UPDATE bench.cursor SET next_offset = $4"
                " WHERE stage = $1 AND topic = $2 AND partition = $3",
                [
                    (self._name, tp.topic, tp.partition, records[-1].offset + 1)
                    for tp, records in found.items()
                ],
            )
            await connection.executemany(
                "UPDATE bench.shard SET head = $3 WHERE stage = $1 AND shard = $2",
                [(self._name, shard, self._heads[shard]) for shard in shards],
            )
            sent = [await producer.send(self._writes, **message) for message in written.messages]
            await asyncio.gather(*sent)

    async def _copy(self, connection: asyncpg.Connection, written: Written) -> None:
        for table, columns, rows in (
            (f"{self._name}_event", EVENT_COLUMNS.split(", "), written.events),
            ("ledger_amount", AMOUNT_COLUMNS, written.amounts),
        ):
            if rows:
                await connection.copy_records_to_table(
                    table, schema_name="bench", columns=columns, records=rows
                )

    def _take(self, tp: TopicPartition, record: Any, written: Written) -> None:  # noqa: ANN401
        source = json.loads(record.value)
        fact = BareFact(tp.partition, source["account_id"], source["renewal_id"], datetime.now(UTC))
        if self._name == "orders":
            for step in STEPS:
                self._decide(step, fact, written)
        elif self._name == "ledger":
            self._file(_step(record), fact, record.value, written)
        elif tp.topic == self._orders and _step(record) == "PlanActivated":
            self._decide("NotificationSent", fact, written)

    def _decide(self, name: str, fact: BareFact, written: Written) -> None:
        """Make a row and a message."""
        account = fact.account_id.encode()
        value = BODIES[name] % {b"account": account, b"renewal": fact.renewal_id.encode()}
        written.events.append(self._row(name, fact, value))
        written.messages.append(
            {"partition": fact.shard, "key": account, "value": value, "headers": HEADERS[name]}
        )

    def _file(self, name: str, fact: BareFact, value: bytes, written: Written) -> None:
        """Make a row of what was read, and rows of its amounts."""
        row = self._row(name, fact, value)
        written.events.append(row)
        if name == "PaymentCaptured":
            written.amounts += [
                (fact.shard, row[1], ordinal, f"PaymentCaptured.renewal.card.{kind}",
                 fact.account_id, "US", "sandbox-card", "USD", minor, fact.at, fact.at)
                for ordinal, (kind, minor) in enumerate(_AMOUNTS)
            ]  # fmt: skip

    def _row(self, name: str, fact: BareFact, value: bytes) -> Row:
        """Return the values of EVENT_COLUMNS."""
        self._heads[fact.shard] = position = self._heads[fact.shard] + 1
        event_id = uuid4()
        version = STEPS.index(name) + 1 if name in STEPS else 1
        return (
            fact.shard, position, f"order/{fact.renewal_id}", version, event_id, "/billing/bench",
            f"billing.{name}.v1", position, fact.account_id, fact.renewal_id, event_id, None,
            fact.at, fact.at, value, bytes(32),
        )  # fmt: skip


def _step(record: Any) -> str:  # noqa: ANN401 - a Kafka record
    wire_type = next(value for name, value in record.headers if name == "ce_type")
    return str(wire_type.decode().removeprefix("billing.").removesuffix(".v1"))


if __name__ == "__main__":
    uvloop.run(Stage(*sys.argv[1:]).run())
