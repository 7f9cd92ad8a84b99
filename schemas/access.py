"""The access list: operations of each principal on topics and consumer groups, derived from the topics.

A role is a part of the system; one or more Kafka principals play it. Whoever administers the broker
is a super user there, and not in the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from schemas.topics import ALL_TOPICS, CONFIRMATIONS, REQUESTS, TOPICS

SERVICES: Final = ("orders", "ledger", "notifier")
OPERATOR: Final = "operator"
"""Reads every topic, publishes requests, sees who may do what and how topics are set: all else is
the administrator's."""
OBSERVER: Final = "observer"
"""Reads what the services say, as any system around them, in groups whose names begin as below."""
OBSERVER_GROUPS: Final = "observer-"


class ResourceKind(IntEnum):
    """What is granted on, with Kafka's number for it."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Operation(IntEnum):
    """What is granted, with Kafka's number for it."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12


@dataclass(frozen=True, slots=True)
class Grant:
    """One row: `role` may do `operation` on the resource named, or on all that begin so."""

    role: str
    kind: ResourceKind
    name: str
    operation: Operation
    prefixed: bool = False


def grants() -> tuple[Grant, ...]:
    """Return the whole table. Read and write imply describe, in Kafka as here."""
    return tuple(dict.fromkeys(_rows()))


def roles() -> tuple[str, ...]:
    """Return every role, in the order of the table."""
    return tuple(dict.fromkeys(grant.role for grant in grants()))


def our_topics() -> frozenset[str]:
    """Return the topics and dead-letter topics."""
    letters = {topic.dead_letter_topic(group) for topic in TOPICS for group in topic.groups}
    return frozenset({topic.name for topic in ALL_TOPICS} | letters)


def _rows() -> Iterator[Grant]:
    for topic in ALL_TOPICS:
        yield Grant(topic.written_by, ResourceKind.TOPIC, topic.name, Operation.WRITE)
        for group in topic.groups:
            yield Grant(group, ResourceKind.TOPIC, topic.name, Operation.READ)
            yield Grant(group, ResourceKind.TOPIC, topic.dead_letter_topic(group), Operation.WRITE)
        if not topic.external:
            # A service reads its own topic: to see that it goes on where its log ends.
            yield Grant(topic.written_by, ResourceKind.TOPIC, topic.name, Operation.READ)
            yield Grant(OBSERVER, ResourceKind.TOPIC, topic.name, Operation.READ)
        if topic.compacted:
            for role in (*SERVICES, REQUESTS.written_by, CONFIRMATIONS.written_by):
                yield Grant(role, ResourceKind.TOPIC, topic.name, Operation.READ)
    for service in SERVICES:
        yield Grant(service, ResourceKind.GROUP, service, Operation.READ)
    yield Grant(OBSERVER, ResourceKind.GROUP, OBSERVER_GROUPS, Operation.READ, prefixed=True)
    for name in sorted(our_topics()):
        yield Grant(OPERATOR, ResourceKind.TOPIC, name, Operation.READ)
        yield Grant(OPERATOR, ResourceKind.TOPIC, name, Operation.DESCRIBE_CONFIGS)
    yield Grant(OPERATOR, ResourceKind.TOPIC, REQUESTS.name, Operation.WRITE)
    yield Grant(OPERATOR, ResourceKind.CLUSTER, "kafka-cluster", Operation.DESCRIBE)
    yield Grant(OPERATOR, ResourceKind.CLUSTER, "kafka-cluster", Operation.DESCRIBE_CONFIGS)
