"""Asks every service, its database and the broker how they are, and says what needs a person."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.access import our_topics
from schemas.topics import ALL_TOPICS, TOPICS
from services.cli.addresses import SERVICES, Addresses
from services.cli.broker import admitted, broker_settings
from services.cli.connections import connect
from services.cli.setup.access import findings, principals
from services.cli.words import counted
from services.runtime.errors import ConfigurationError, Transient
from services.runtime.kafka.client import client_options
from services.runtime.kafka.consumers import build_consumer
from services.runtime.kafka.patches.acls import read_acls
from services.runtime.kafka.topics.broker_limits import broker_problems
from services.runtime.kafka.topics.reach import log_ends
from services.runtime.kafka.topics.topic_limits import differences
from services.runtime.log.tables.effects import EffectState
from services.runtime.watch.service_status import Bounds, ServiceStatus, service_status

_PATIENCE_SECONDS: Final = 5
_UNPUBLISHED_SECONDS_MAX: Final = 60
_RETENTION_LAG_MIN: Final = 100
_HELD_SECONDS: Final = 2
"""A transaction that is open for longer is told."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond these, a person must look."""

    lag_max: int
    age_max_seconds: int
    retention_share: float


@dataclass(slots=True)
class Survey:
    """What was found: `ready` is by service what the probe said, empty when all is well there."""

    looked_at: datetime
    services: dict[str, ServiceStatus] = field(default_factory=dict)
    ready: dict[str, list[str]] = field(default_factory=dict)
    unreachable: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def survey(addresses: Addresses, limits: Limits, now: datetime) -> Survey:
    """Look at everything once; what does not answer is named and left out.

    Raises:
        ConfigurationError: an address is missing, or a database is older than this command.
    """
    found = Survey(now)
    bounds: dict[tuple[str, int], Bounds] = {}
    try:
        async with asyncio.timeout(2 * _PATIENCE_SECONDS):
            bounds = await _bounds(found)
    except (KafkaError, Transient, OSError, TimeoutError):
        found.unreachable.append(f"Kafka at {addresses.bootstrap_servers}")
    for service in SERVICES:
        await _look_at(service, addresses, bounds, found)
        if service in found.services:
            found.problems += _problems(found.services[service], limits, now)
    return found


async def _look_at(
    service: str,
    addresses: Addresses,
    bounds: Mapping[tuple[str, int], Bounds],
    found: Survey,
) -> None:
    if address := addresses.http.get(service):
        problems = await asyncio.to_thread(_probe, address)
        if problems is None:
            found.unreachable.append(f"{service} at {address}")
        else:
            found.ready[service] = problems
            found.problems += [f"{service} is not ready: {problem}" for problem in problems]
    topics = {topic.name for topic in TOPICS if service in topic.groups}
    if bounds and (missing := topics - {topic for topic, _ in bounds}):
        found.problems.append(f"no topic {', '.join(sorted(missing))}: run `perennial setup`")
    own = {key: value for key, value in bounds.items() if key[0] in topics}
    try:
        async with connect(service, addresses.dsn(service)) as connection:
            found.services[service] = await service_status(connection, service, own)
    except Transient:
        found.unreachable.append(f"the database of {service}")
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        message = f"the database of {service} lacks migrations: run `perennial setup`"
        raise ConfigurationError(message) from None


async def _bounds(found: Survey) -> dict[tuple[str, int], Bounds]:
    """Return what each partition that is read holds; a missing topic is absent."""
    settings = await admitted(broker_settings())
    options = client_options(settings) | {"request_timeout_ms": _PATIENCE_SECONDS * 1000}
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        described = await admin.describe_topics([topic.name for topic in TOPICS if topic.groups])
        found.problems += await _limit_problems(admin)
        if settings.kafka_security_protocol != "PLAINTEXT" or not settings.kafka_is_local():
            found.problems += await _access_problems(admin)
        found.problems += await broker_problems(admin)
    finally:
        await admin.close()
    partitions = [
        TopicPartition(topic["topic"], each["partition"])
        for topic in described
        for each in topic["partitions"]
    ]
    consumer = build_consumer(options)
    await consumer.start()
    try:
        bounds = await _bounds_of(consumer, partitions)
        held = {key: each for key, each in bounds.items() if each.held_back}
        if held:
            # A transaction under way is nothing to speak of; one that stays is.
            await asyncio.sleep(_HELD_SECONDS)
            bounds = await _bounds_of(consumer, partitions)
    finally:
        await consumer.stop()
    found.problems += held_up(held, bounds)
    return bounds


def held_up(
    before: Mapping[tuple[str, int], Bounds], bounds: Mapping[tuple[str, int], Bounds]
) -> Iterator[str]:
    """Say where records that were held back `before` still are, though others may have come free."""
    for (topic, partition), then in before.items():
        now = bounds[topic, partition]
        if now.held_back and now.end < then.end + then.held_back:
            yield (
                f"{topic}/{partition} is read up to {now.end} and no further: an open transaction "
                f"holds back {counted(now.held_back, 'record')}; see PerennialTransactionLeftOpen in "
                "docs/OPERATIONS.md"
            )


async def _bounds_of(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> dict[tuple[str, int], Bounds]:
    firsts = await consumer.beginning_offsets(partitions)
    log_end = await log_ends(consumer, [(tp.topic, tp.partition) for tp in partitions])
    ends = await consumer.end_offsets(partitions)
    return {
        key: Bounds(firsts[tp], ends[tp], max(0, log_end[key] - ends[tp]))
        for tp in partitions
        for key in [(tp.topic, tp.partition)]
    }


async def _access_problems(admin: AIOKafkaAdminClient) -> list[str]:
    """Return what is wrong with who may do what; on one machine in plain text nothing can be."""
    try:
        return list(findings(await read_acls(admin), principals()))
    except ConfigurationError as error:
        return [str(error)]


async def _limit_problems(admin: AIOKafkaAdminClient) -> list[str]:
    """Return which settings of our topics are not those that we rely on."""
    try:
        described = await admin.describe_topics(sorted(our_topics()))
        found = await differences(admin, ALL_TOPICS, described)
    except ConfigurationError as error:
        return [str(error)]
    missing = {each["topic"] for each in described if each["error_code"]}
    gone = [each.name for each in ALL_TOPICS if each.compacted and each.name in missing]
    told = [f"no topic {name}" for name in gone] + [str(each) for each in found]
    return [f"{each}: run `perennial setup`" for each in told]


def _probe(address: str) -> list[str] | None:
    """Return what the readiness probe says is missing; None when it does not answer."""
    url = f"{address}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS):  # noqa: S310 - the operator's
            return []
    except urllib.error.HTTPError as error:
        problems: list[str] = json.loads(error.read()).get("problems", [str(error)])
        return problems
    except (OSError, ValueError):
        return None


def _problems(status: ServiceStatus, limits: Limits, now: datetime) -> Iterator[str]:
    """Yield what needs a person, with the command that shows more."""
    service = status.service
    if status.lag > limits.lag_max:
        yield f"{service} is behind by {counted(status.lag, 'record')}"
    for each in status.partitions:
        where = f"{service} at {each.next_offset} of {each.topic}/{each.partition}"
        if each.lost:
            yield (
                f"{where}, which holds {each.first} to {each.end}: records were lost; see "
                "docs/OPERATIONS.md"
            )
        elif each.nears_deletion(limits.retention_share, _RETENTION_LAG_MIN):
            yield (
                f"{where}, which begins at {each.first} and goes to {each.end}: what is not read "
                "is soon deleted; raise the topic's retention.ms, then see why it is behind"
            )
    for effects in status.effects:
        age = (now - effects.oldest_started_at).total_seconds()
        if effects.state is not EffectState.HELD and age > limits.age_max_seconds:
            yield (
                f"{service} asked for a {effects.kind} {int(age)} s ago that is not finished: "
                f"`perennial effects list --service {service}`"
            )
    if status.oldest_unpublished_at is not None:
        age = (now - status.oldest_unpublished_at).total_seconds()
        if age > _UNPUBLISHED_SECONDS_MAX:
            yield f"{service} recorded an event {int(age)} s ago that is not published"
    yield from _parked(status)
    if status.dead_letters:
        letters = counted(sum(status.dead_letters.values()), "open dead letter")
        yield f"{service} has {letters}: `perennial dlq list --service {service}`"


def _parked(status: ServiceStatus) -> Iterator[str]:
    for parking in status.parked:
        event = f" at {parking.event_type} {parking.event_id}" if parking.event_id else ""
        yield (
            f"shard {parking.shard} of {status.service} is parked{event}: {parking.reason}; "
            f"`perennial shards list --service {status.service}`"
        )
