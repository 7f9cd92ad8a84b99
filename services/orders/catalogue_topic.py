"""Publishes what is sold to a compacted topic, where systems around us read it. No part of the log."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas.catalogue import PlanOffered
from schemas.envelope import SPEC_VERSION, Source, name_based_uuid, utc_text
from schemas.topics import CATALOGUE
from services.orders.catalog import Catalogue
from services.orders.offers import plans_offered
from services.runtime.errors import Transient
from services.runtime.kafka.client import build_producer
from services.runtime.kafka.reading import reader, records_until
from services.runtime.logs import Logger
from services.runtime.settings import KafkaSettings

LOOKED_AT_EVERY_SECONDS: Final = 60
"""So late a version or a promotion that begins or ends at a moment may be told."""
TRIED_AGAIN_SECONDS: Final = 5
_NAMESPACE: Final = UUID("0d6a2f0e-7a47-5d54-8a6f-3d2c0f6b9c15")
_PARTITION: Final = TopicPartition(CATALOGUE.name, 0)
Rows = dict[str, bytes]
"""By plan code, the body of what is sold."""


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
        if wanted == self._told:
            return 0
        changes = changes_between(await read_rows(self._settings), wanted)
        if changes:
            await self._send(changes, now)
            self._logger.info("catalogue_published", records=len(changes))
        self._told = wanted
        return len(changes)

    async def _send(self, changes: Mapping[str, bytes | None], now: datetime) -> None:
        producer = build_producer(self._settings)
        try:
            await producer.start()
            for code, body in changes.items():
                headers = [] if body is None else headers_of(code, body, now)
                await producer.send_and_wait(
                    CATALOGUE.name, body, key=code.encode(), partition=0, headers=headers
                )
        except (KafkaError, OSError) as error:
            message = f"{CATALOGUE.name} takes no record ({type(error).__name__})"
            raise Transient(message) from error
        finally:
            await producer.stop()


def rows_of(catalogue: Catalogue, moment: datetime) -> Rows:
    """Return what the topic should hold at `moment`."""
    return {plan.plan_code: plan.body() for plan in plans_offered(catalogue, moment)}


def changes_between(
    held: Mapping[str, bytes], wanted: Mapping[str, bytes]
) -> dict[str, bytes | None]:
    """Return what to publish by plan code: a body that differs, and None for a plan that is gone."""
    changes: dict[str, bytes | None] = {
        code: body for code, body in wanted.items() if held.get(code) != body
    }
    return changes | dict.fromkeys(sorted(held.keys() - wanted.keys()))


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


async def read_rows(settings: KafkaSettings) -> Rows:
    """Return what the topic holds now.

    Raises:
        Transient: Kafka does not answer, or the topic is not there.
    """
    rows: Rows = {}
    async with reader(settings, CATALOGUE.name) as consumer:
        if CATALOGUE.name not in await consumer.topics():
            message = f"there is no topic {CATALOGUE.name}: run `perennial setup`"
            raise Transient(message)
        consumer.assign([_PARTITION])
        firsts = await consumer.beginning_offsets([_PARTITION])
        ends = await consumer.end_offsets([_PARTITION])
        consumer.seek(_PARTITION, firsts[_PARTITION])
        async for record in records_until(consumer, ends):
            _take(rows, record)
    return rows


def _take(rows: Rows, record: Any) -> None:  # noqa: ANN401 - aiokafka's
    code = (record.key or b"").decode(errors="replace")
    if record.value is None:
        rows.pop(code, None)
    else:
        rows[code] = record.value


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
