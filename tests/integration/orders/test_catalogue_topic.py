"""The topic of the catalogue on a real broker: created compacted, filled, kept, and checked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from structlog.testing import capture_logs

from schemas.catalogue import PlanOffered
from schemas.topics import CATALOGUE
from services.cli.setup.setup import set_up_topics
from services.orders.catalogue.catalogue import Catalogue
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT, load_catalogue
from services.orders.catalogue.catalogue_topic import (
    CataloguePublisher,
    headers_of,
    looked,
    rows_of,
)
from services.runtime.kafka.records.cloudevents import read_record
from services.runtime.settings import KafkaSettings
from tests.infrastructure.system import SHARDS, System, read_topics
from tests.integration.kafka.test_topic_limits import settings_of, told

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
WHOLE = load_catalogue(CATALOGUE_DEFAULT)


def publisher(settings: KafkaSettings, catalogue: Catalogue, now: datetime) -> CataloguePublisher:
    return CataloguePublisher(settings, catalogue, clock=lambda: now, logger=structlog.get_logger())


async def held(settings: KafkaSettings) -> Sequence[Any]:
    return await read_topics(settings.bootstrap_servers, (CATALOGUE.name,), partitions=1)


async def test_what_is_sold_is_published_once_and_what_is_gone_is_taken_back(
    system: System,
) -> None:
    settings = KafkaSettings(bootstrap_servers=system.infrastructure.bootstrap_servers)
    limits = await settings_of(settings.bootstrap_servers, CATALOGUE.name)
    assert limits["cleanup.policy"] == "compact"
    plans = rows_of(WHOLE, NOW)

    assert await publisher(settings, WHOLE, NOW).publish() == len(plans)
    assert await publisher(settings, WHOLE, NOW).publish() == 0
    records = await held(settings)
    assert [record.key.decode() for record in records] == sorted(plans)
    envelope, body = read_record(records[0])
    assert (envelope.type, envelope.source) == (PlanOffered.wire_type(), "/billing/orders")
    assert PlanOffered.parse(body).plan_code == envelope.partitionkey

    fewer = WHOLE.model_copy(update={"plans": [p for p in WHOLE.plans if p.code != "jp-day-basic"]})
    assert await publisher(settings, fewer, NOW).publish() == 1
    last = (await held(settings))[-1]
    assert (last.key, last.value) == (b"jp-day-basic", None)
    assert await table(settings) == {
        code.encode(): body for code, body in rows_of(fewer, NOW).items()
    }


async def table(settings: KafkaSettings) -> dict[bytes, bytes]:
    """Return what any reader takes the topic to say."""
    rows = {record.key: record.value for record in await held(settings)}
    return {key: value for key, value in rows.items() if value is not None}


async def write(settings: KafkaSettings, *records: tuple[bytes, bytes | None, Any]) -> None:
    """Write to the topic as whoever can."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    await producer.start()
    for key, value, headers in records:
        await producer.send_and_wait(CATALOGUE.name, value, key=key, partition=0, headers=headers)
    await producer.stop()


async def test_what_others_write_is_put_right_by_the_same_process(system: System) -> None:
    settings = KafkaSettings(bootstrap_servers=system.infrastructure.bootstrap_servers)
    wanted = rows_of(WHOLE, NOW)
    as_it_is = {code.encode(): body for code, body in wanted.items()}
    cheap, gone, dressed, *_ = wanted
    ours = publisher(settings, WHOLE, NOW)
    await ours.publish()
    price = wanted[cheap].replace(b'"amount_minor":', b'"amount_minor":1')
    stranger = headers_of(dressed, wanted[dressed], NOW)
    stranger[1:1] = [("ce_source", b"/billing/ledger")]

    await write(
        settings,
        (cheap.encode(), price, headers_of(cheap, price, NOW)),
        (gone.encode(), None, []),
        (dressed.encode(), wanted[dressed], stranger),
        (b"free-for-all", b"{}", []),
        (b"\xff\xfe", b"no text", []),
        (b"", b"no key", []),
    )

    with capture_logs() as logs:
        assert await ours.publish() == 6
    [line] = [each for each in logs if each["event"] == "catalogue_differed"]
    assert (line["log_level"], line["records"]) == ("warning", 6)
    assert await table(settings) == as_it_is
    assert await publisher(settings, WHOLE, NOW).publish() == 0
    assert [await ours.publish() for _ in range(2)] == [0, 0]


async def test_topic_that_nobody_wrote_to_is_not_read_again(system: System) -> None:
    settings = KafkaSettings(bootstrap_servers=system.infrastructure.bootstrap_servers)
    first = await looked(settings, {}, NOW)
    assert first is not None
    assert await looked(settings, {}, NOW, seen=first.end) is None
    await write(settings, (b"x", b"{}", []))
    again = await looked(settings, {}, NOW, seen=first.end)
    assert again is not None
    assert again.changes == {b"x": None}


async def test_version_that_begins_is_told_by_the_same_process(system: System) -> None:
    settings = KafkaSettings(bootstrap_servers=system.infrastructure.bootstrap_servers)
    moments = iter([NOW.replace(month=6), NOW.replace(month=6), NOW])
    one = CataloguePublisher(
        settings, WHOLE, clock=lambda: next(moments), logger=structlog.get_logger()
    )
    assert await one.publish() == len(rows_of(WHOLE, NOW))
    assert await one.publish() == 0
    assert 0 < await one.publish() < len(rows_of(WHOLE, NOW))


async def test_missing_topic_is_named_and_made_by_setup(system: System) -> None:
    servers = system.infrastructure.bootstrap_servers
    settings = KafkaSettings(bootstrap_servers=servers)
    assert CATALOGUE.name not in await told(system)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_topics([CATALOGUE.name])
        while CATALOGUE.name in await admin.list_topics():  # noqa: ASYNC110 - Kafka has no signal
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
    assert f"no topic {CATALOGUE.name}: run `perennial setup`" in await told(system)
    await set_up_topics(settings, SHARDS, 1)
    assert CATALOGUE.name not in await told(system)


def test_orders_publishes_at_its_start_and_again_nothing(system: System) -> None:
    for _ in range(2):
        system.start("orders")
        system.wait_for("the catalogue", lambda: len(_records(system)) >= len(WHOLE_CODES))
        system.children["orders"].stop()
    assert len(_records(system)) == len(WHOLE_CODES)


WHOLE_CODES = sorted({plan.code for plan in WHOLE.plans})


def _records(system: System) -> Sequence[Any]:
    servers = system.infrastructure.bootstrap_servers
    return asyncio.run(read_topics(servers, (CATALOGUE.name,), partitions=1))
