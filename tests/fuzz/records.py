"""Kafka records that an enemy would publish."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from schemas import EVENT_TYPES
from schemas.registry import Topic
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.kafka.records.record_size import Headers
from tests.fuzz import hostile
from tests.fuzz.examples import example, types_on

SHARDS = 8


@dataclass(slots=True)
class Record:
    """A consumed record as the parser sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def record(random: Random, topics: tuple[Topic, ...]) -> Record:
    """Return a record on one of `topics`: a golden example, changed."""
    topic = random.choice(topics)
    own = types_on(topic)
    wire_type = random.choice(own if own and random.random() < 0.9 else tuple(EVENT_TYPES))
    event = hostile.changed(random, example(wire_type))
    if not isinstance(event, dict):
        event = {}
    value: bytes | None
    if random.random() < 0.3:
        value, headers = _structured(random, event)
    else:
        value, headers = _binary(random, event)
    key = _key(random, event)
    partition = shard_of(key.decode(), SHARDS) if key and key.isascii() else 0
    if random.random() < 0.02:
        value = None
    return Record(topic.name, partition, random.randrange(1 << 40), key, value, headers)


def _key(random: Random, event: dict[str, Any]) -> bytes | None:
    kind = random.random()
    if kind < 0.05:
        return None
    if kind < 0.1:
        return hostile.text(random).encode("utf-8", "surrogatepass")
    return str(event.get("partitionkey", "")).encode("utf-8", "surrogatepass")


def _structured(
    random: Random, event: dict[str, Any]
) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    content_type = random.choice(
        (b"application/cloudevents+json", b"application/cloudevents+json; charset=utf-8")
    )
    return hostile.encoded(random, event), _spoiled(random, [("content-type", content_type)])


def _binary(random: Random, event: dict[str, Any]) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    attributes = {name: each for name, each in event.items() if name != "data"}
    headers: list[tuple[str, bytes | None]] = [("content-type", b"application/json")]
    for name, each in attributes.items():
        text = each if isinstance(each, str) else hostile.written(each)
        headers.append((f"ce_{name}", text.encode("utf-8", "surrogatepass")))
    return hostile.encoded(random, event.get("data")), _spoiled(random, headers)


def _spoiled(
    random: Random, headers: list[tuple[str, bytes | None]]
) -> list[tuple[str, bytes | None]]:
    for _ in range(random.choice((0, 0, 0, 1, 2, 5))):
        change = random.randrange(7)
        at = random.randrange(len(headers)) if headers else 0
        name, value = headers[at] if headers else ("ce_id", b"")
        if change == 0 and headers:
            del headers[at]
        elif change == 1:
            headers.append((name, value))
        elif change == 2 and headers:
            headers[at] = (name, None)
        elif change == 3 and headers:
            headers[at] = (random.choice((name.upper(), name + " ", name[3:])), value)
        elif change == 4:
            headers.append((hostile.text(random), hostile.text(random).encode("utf-8", "replace")))
        elif change == 5 and headers:
            headers[at] = (name, hostile.damaged(random, value or b"x"))
        else:
            made = hostile.text(random).encode("utf-8", "surrogatepass")
            headers.append((random.choice(("ce_time", "ce_sequence", "CE_ID", "ce_source")), made))
    return headers
