"""Publishes checked requests and keeps account of each: acknowledged, unknown, or not sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from services.runtime.kafka.client import build_producer
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.settings import KafkaSettings
from services.upstream.receipts import DeliveryBroken, DeliveryReceipt
from services.upstream.requests import UpstreamRequest

_STOP_SECONDS_MAX: Final = 5
_IN_FLIGHT_MAX: Final = 1_000
_NOT_ALLOWED: Final = (ClusterAuthorizationFailedError, TopicAuthorizationFailedError)


async def deliver(
    settings: KafkaSettings, receipts: Sequence[DeliveryReceipt], *, timeout_seconds: int
) -> None:
    """Publish every request in order and bring each receipt up to date as soon as it is known.

    Raises:
        DeliveryBroken: the broker was not reached, refused, or stayed silent; the receipts are true
            all the same.
    """
    producer = build_producer(settings)
    try:
        await _within(timeout_seconds, producer.start(), "the broker was not reached")
        partition_counts = {}
        for name in sorted({receipt.request.topic.name for receipt in receipts}):
            partitions = await _within(
                timeout_seconds, producer.partitions_for(name), f"the topic {name} was not found"
            )
            partition_counts[name] = len(partitions)
        await _send_all(producer, receipts, partition_counts, timeout_seconds)
    finally:
        await _stop(producer)


async def _send_all(
    producer: AIOKafkaProducer,
    receipts: Sequence[DeliveryReceipt],
    partition_counts: Mapping[str, int],
    timeout_seconds: int,
) -> None:
    """Send a limited number at a time: nothing is sent after a request that may have failed."""
    for first in range(0, len(receipts), _IN_FLIGHT_MAX):
        confirmations: list[asyncio.Task[None]] = []
        try:
            for receipt in receipts[first : first + _IN_FLIGHT_MAX]:
                receipt.status = "unknown"
                acknowledgement = await _within(
                    timeout_seconds,
                    _send(producer, receipt.request, partition_counts),
                    "the broker did not take the messages",
                )
                confirmations.append(asyncio.create_task(_confirm(receipt, acknowledgement)))
            await _within(
                timeout_seconds, asyncio.gather(*confirmations), "the broker did not acknowledge"
            )
        finally:
            for confirmation in confirmations:
                confirmation.cancel()
            await asyncio.gather(*confirmations, return_exceptions=True)


async def _send(
    producer: AIOKafkaProducer, request: UpstreamRequest, partition_counts: Mapping[str, int]
) -> asyncio.Future[Any]:
    account_id, topic = request.envelope.partitionkey, request.topic.name
    future: asyncio.Future[Any] = await producer.send(
        topic,
        key=account_id.encode(),
        value=request.body,
        headers=request.headers,
        partition=shard_of(account_id, partition_counts[topic]),
    )
    return future


async def _confirm(receipt: DeliveryReceipt, acknowledgement: asyncio.Future[Any]) -> None:
    record = await acknowledgement
    receipt.partition, receipt.offset = record.partition, record.offset
    receipt.status = "acknowledged"


async def _within(seconds: int, awaitable: Awaitable[Any], what: str) -> Any:  # noqa: ANN401
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        message = f"{what} within {seconds} s"
        raise DeliveryBroken(message) from None
    except _NOT_ALLOWED:
        message = f"{what}: this login may not write there (see docs/OPERATIONS.md)"
        raise DeliveryBroken(message) from None
    except KafkaError as error:
        message = f"{what} ({type(error).__name__})"
        raise DeliveryBroken(message) from None


async def _stop(producer: AIOKafkaProducer) -> None:
    """Close the producer, without waiting for messages that the broker will not take."""
    try:
        await asyncio.wait_for(producer.stop(), _STOP_SECONDS_MAX)
    except (TimeoutError, KafkaError):
        return
