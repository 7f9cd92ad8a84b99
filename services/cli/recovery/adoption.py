"""Takes back into a restored log what its topic has, and writes down again what is still to be done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from schemas import BILLING
from schemas.topics import REQUESTS, TOPICS, source_of
from services.notifier import effects as notifier
from services.notifier.notification.evolution import NotificationState, evolve, initial_state
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT, load_catalogue
from services.orders.restoration import requests_of, take_up
from services.runtime.authenticity import EventKeys
from services.runtime.errors import ConfigurationError
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.tables import cursors
from services.runtime.recovery.adoption import Adopted, adopt, events_after, heads, records_between
from services.runtime.recovery.positions import refuse_running
from services.runtime.recovery.restoration import restore_effects, streams_of
from services.runtime.settings import KafkaSettings

_SALT = "PERENNIAL_ORDERS_ESIM_HASH_SALT"


async def adopt_from_topic(
    connection: asyncpg.Connection, service: str, settings: KafkaSettings, *, yes: bool
) -> tuple[list[Adopted], int]:
    """Return what was taken back and how many effects are to be looked up; kept only with `yes`."""
    topic = next(each.name for each in TOPICS if each.written_by == service)
    source = source_of(service)
    keys = EventKeys.of(settings.event_keys, TOPICS)
    verifier = keys.own(service) if keys else None
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("LOCK TABLE shard IN EXCLUSIVE MODE")
        await refuse_running(connection, service)
        ends = await heads(connection)
        firsts = {shard: recorded_at for shard, (_, recorded_at) in ends.items()}
        records = await records_between(settings, topic, firsts)
        found = {
            shard: events_after(head, shard, source, records[shard], verifier)
            for shard, (head, _) in ends.items()
        }
        adopted = await adopt(connection, found)
        effects = await _settle(connection, service, settings, adopted)
    except BaseException:
        await transaction.rollback()
        raise
    await (transaction.commit() if yes else transaction.rollback())
    return adopted, effects


async def _settle(
    connection: asyncpg.Connection, service: str, settings: KafkaSettings, adopted: list[Adopted]
) -> int:
    stream_ids = [stream_id for each in adopted for stream_id in each.stream_ids]
    if service == "notifier":
        streams = await streams_of(connection, stream_ids)
        return await restore_effects(connection, streams, notifier.EFFECTS, _notification)
    rows = await connection.fetch(cursors.OF_TOPIC, REQUESTS.name)
    nexts = {row["partition"]: row["next_offset"] for row in rows}
    unread = await records_between(
        settings, REQUESTS.name, {each.shard: nexts.get(each.shard) for each in adopted}
    )
    requests = requests_of(record for records in unread.values() for record in records)
    catalogue = load_catalogue(
        Path(os.environ.get("PERENNIAL_ORDERS_CATALOGUE", CATALOGUE_DEFAULT))
    )
    return await take_up(connection, stream_ids, requests, catalogue, _salt())


def _notification(stored: Sequence[StoredEvent]) -> NotificationState:
    state = initial_state()
    for each in stored:
        state = evolve(state, each.event(BILLING))
    return state


def _salt() -> str:
    """Return what keys the digests of requests: they tell a request from another with its id."""
    if path := os.environ.get(f"{_SALT}_FILE"):
        return Path(path).read_text(encoding="utf-8").strip()
    if salt := os.environ.get(_SALT):
        return salt
    message = f"set {_SALT}_FILE (or {_SALT}) to the one that orders runs with"
    raise ConfigurationError(message)
