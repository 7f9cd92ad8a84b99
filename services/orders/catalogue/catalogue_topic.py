"""Publishes what is sold to a compacted topic, where systems around us read it. No part of the log."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas.catalogue import PlanOffered
from schemas.envelope import AHEAD_MAX, SPEC_VERSION, name_based_uuid, utc_text
from schemas.topics import CATALOGUE, Source
from services.orders.catalogue.catalogue import Catalogue
from services.orders.catalogue.offers import plans_offered
from services.runtime.errors import Transient
from services.runtime.kafka.client import build_producer
from services.runtime.kafka.reading import reader, records_until
from services.runtime.kafka.records.record_size import KEY_BYTES_MAX, Head, UnreadBatch
from services.runtime.logs import Logger
from services.runtime.settings import KafkaSettings

LOOKED_AT_EVERY_SECONDS: Final = 60
"""So late a version or a promotion that begins or ends at a moment may be told."""
TRIED_AGAIN_SECONDS: Final = 5
_NAMESPACE: Final = UUID("0d6a2f0e-7a47-5d54-8a6f-3d2c0f6b9c15")
_PARTITION: Final = TopicPartition(CATALOGUE.name, 0)
FOREIGN_MAX: Final = 1_000
"""So many keys of others are taken back at once; what is left of them a minute later."""
Rows = dict[str, bytes]
"""By plan code, the body of what is sold."""
Changes = Mapping[bytes, bytes | None]
"""By key, what to publish; None takes it back."""


class CataloguePublisher:
    """Keeps the topic as the catalogue is, as one of any number of processes."""

    def __init__(
        self,
        settings: KafkaSettings,
        catalogue: Catalogue,
        *,
        clock: Callable[[], datetime],
        logger: Logger,
    ) -> None:
        """Publish `catalogue` as it is at the times of `clock`."""
        self._settings = settings
        self._catalogue = catalogue
        self._clock = clock
        self._logger = logger
        self._told: Rows | None = None
        self._seen: int | None = None

    def ended(self, publishing: asyncio.Task[None]) -> None:
        """Say so when publishing ended by a defect: orders goes on without it."""
        if not publishing.cancelled() and (error := publishing.exception()) is not None:
            self._logger.error("catalogue_publishing_ended", exc_info=error)

    async def run(self) -> None:
        """Publish at the start and whenever something changed, until cancelled."""
        while True:
            pause = LOOKED_AT_EVERY_SECONDS
            try:
                await self.publish()
            except Transient as error:
                self._logger.warning("catalogue_not_published", error=str(error))
                pause = TRIED_AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def publish(self) -> int:
        """Bring the topic up to date; return how many records that took, none when it is.

        Raises:
            Transient: Kafka does not answer, or the topic is not there; some may be published.
        """
        now = self._clock()
        wanted = rows_of(self._catalogue, now)
        told = wanted == self._told
        look = await looked(self._settings, wanted, now, seen=self._seen if told else None)
        if look is None:
            return 0
        # What is sent lies behind what was seen, and is looked at once.
        self._told, self._seen = None, look.end
        if look.changes:
            await self._send(look.changes, now)
            if told:
                self._logger.warning("catalogue_differed", records=len(look.changes))
            else:
                self._logger.info("catalogue_published", records=len(look.changes))
        self._told = wanted
        return len(look.changes)

    async def _send(self, changes: Changes, now: datetime) -> None:
        producer = build_producer(self._settings)
        try:
            await producer.start()
            for key, body in changes.items():
                headers = [] if body is None else headers_of(key.decode(), body, now)
                await producer.send_and_wait(
                    CATALOGUE.name, body, key=key, partition=0, headers=headers
                )
        except (KafkaError, OSError) as error:
            message = f"{CATALOGUE.name} takes no record ({type(error).__name__})"
            raise Transient(message) from error
        finally:
            await producer.stop()


def rows_of(catalogue: Catalogue, moment: datetime) -> Rows:
    """Return what the topic should hold at `moment`."""
    return {plan.plan_code: plan.body() for plan in plans_offered(catalogue, moment)}


class Table:
    """What a topic says beside what it should: of what others wrote, a bounded number of keys."""

    def __init__(self, wanted: Rows, now: datetime) -> None:
        """Compare with `wanted`, which holds `now`."""
        self._wanted = {code.encode(): body for code, body in wanted.items()}
        self._now = now
        self._sound: set[bytes] = set()
        self._foreign: dict[bytes, None] = {}

    def take(self, record: Any) -> None:  # noqa: ANN401 - aiokafka's
        key = record.key or b""
        if isinstance(record.value, UnreadBatch):
            # Other readers may be able to read it, whatever is in it.
            self._sound.clear()
        elif key in self._wanted:
            self._sound.discard(key)
            if _is_ours(record, key.decode(), self._wanted[key], self._now):
                self._sound.add(key)
        elif record.value is None:
            self._foreign.pop(key, None)
        elif len(self._foreign) < FOREIGN_MAX and len(key) < KEY_BYTES_MAX:
            self._foreign[key] = None

    def changes(self) -> Changes:
        """Return what to publish: what is not there as it should, and None for what is not wanted."""
        lacking = {key: body for key, body in self._wanted.items() if key not in self._sound}
        return lacking | dict.fromkeys(self._foreign)


def _is_ours(record: Any, code: str, body: bytes, now: datetime) -> bool:  # noqa: ANN401 - aiokafka's
    """Say whether a record is what orders publishes of a plan, at whatever moment."""
    if record.value != body or isinstance(record.value, Head):
        return False
    try:
        moment = datetime.fromisoformat((dict(record.headers).get("ce_time") or b"").decode())
        expected = headers_of(code, body, moment)
        return moment <= now + AHEAD_MAX and expected == list(record.headers)
    except (ValueError, OverflowError, TypeError):
        return False


def headers_of(code: str, body: bytes, now: datetime) -> list[tuple[str, bytes]]:
    """Return the CloudEvents attributes of a row that was published `now`, in binary mode."""
    moment = utc_text(now)
    content = hashlib.sha256(body).hexdigest()
    attributes = {
        "specversion": SPEC_VERSION,
        "id": str(name_based_uuid(_NAMESPACE, f"{code}\n{moment}\n{content}")),
        "source": Source.ORDERS,
        "type": PlanOffered.wire_type(),
        "subject": f"plan/{code}",
        "time": moment,
        "partitionkey": code,
        "dataschema": PlanOffered.schema_uri(),
    }
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    return [("content-type", b"application/json"), *headers]


class Look(NamedTuple):
    """How far the topic was read, and what is to be published."""

    end: int
    changes: Changes


async def looked(
    settings: KafkaSettings, wanted: Rows, now: datetime, *, seen: int | None = None
) -> Look | None:
    """Compare the topic with what it should hold; None when it still ends where it was `seen` to.

    Raises:
        Transient: Kafka does not answer, or the topic is not there.
    """
    table = Table(wanted, now)
    async with reader(settings, CATALOGUE.name) as consumer:
        if CATALOGUE.name not in await consumer.topics():
            message = f"there is no topic {CATALOGUE.name}: run `perennial setup`"
            raise Transient(message)
        consumer.assign([_PARTITION])
        firsts = await consumer.beginning_offsets([_PARTITION])
        ends = await consumer.end_offsets([_PARTITION])
        if ends[_PARTITION] == seen:
            return None
        consumer.seek(_PARTITION, firsts[_PARTITION])
        async for record in records_until(consumer, ends):
            table.take(record)
    return Look(ends[_PARTITION], table.changes())


@asynccontextmanager
async def published(publisher: CataloguePublisher) -> AsyncIterator[None]:
    """Publish while the block runs."""
    publishing = asyncio.create_task(publisher.run())
    publishing.add_done_callback(publisher.ended)
    try:
        yield
    finally:
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
