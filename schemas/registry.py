"""A published language as one value: its events, their topics, and how its URIs are named.

Nothing here knows whose language it is. Ours is `schemas.BILLING`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

from schemas.envelope import Event

SHARD_COUNT_DEFAULT: Final = 8
"""Partitions of every topic of events, and shards of every log. Fixed when the topics are created."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic; `groups` are the consumer groups, each of which has a dead-letter topic.

    A topic with a `source` belongs to the one service of ours that `written_by` names. One with a
    `source_prefix` is external: systems around us write it, each under a name of its own after the
    prefix. Their records bear no sequence of ours and may lie in any partition. A `compacted` topic
    is a table: of each key the newest record holds, in one partition, and it is no part of any log.
    """

    name: str
    written_by: str
    groups: tuple[str, ...]
    about: str
    retention_days: int = 30
    source: str | None = None
    source_prefix: str | None = None
    compacted: bool = False

    def __post_init__(self) -> None:
        """Refuse a topic that both or neither of us and the systems around us write."""
        if (self.source is None) == (self.source_prefix is None):
            message = f"{self.name} needs either a source or a source_prefix"
            raise ValueError(message)

    @property
    def external(self) -> bool:
        """Say whether systems around us write it."""
        return self.source is None

    @property
    def source_rule(self) -> str:
        """Return the `ce_source` that its events have, with `<name>` for what the writer chooses."""
        return self.source or f"{self.source_prefix}<name>"

    def admits(self, source: str) -> bool:
        """Say whether events of `source` belong here."""
        if self.source is not None:
            return source == self.source
        return source.startswith(self.source_prefix or "\0")

    def partition_count(self, shard_count: int) -> int:
        """Return how many partitions it has in a system with `shard_count` shards."""
        return 1 if self.compacted else shard_count

    def dead_letter_topic(self, group: str) -> str:
        """Return `<topic>.<group>.dlq`."""
        return f"{self.name}.{group}.dlq"


def writers(topics: Collection[Topic]) -> dict[str, str]:
    """Return by topic which service of ours alone writes it; external topics are left out."""
    return {topic.name: topic.written_by for topic in topics if not topic.external}


def key_pairs(topics: Collection[Topic]) -> tuple[tuple[str, str], ...]:
    """Return (writer, reader) of each key that events are signed with.

    A service reads its own topic, too, to see how far it published.
    """
    return tuple(
        (topic.written_by, reader)
        for topic in topics
        if not topic.external
        for reader in (topic.written_by, *topic.groups)
    )


def retention(topics: Collection[Topic]) -> timedelta:
    """Return how long a record may lie on one of `topics` that is no table."""
    return timedelta(days=max(topic.retention_days for topic in topics if not topic.compacted))


@dataclass(frozen=True, eq=False)
class EventRegistry:
    """The events of one language and the topic of each.

    Types are `<namespace>.<EventName>.v<major>`, and the `dataschema` of one is
    `<schema_base><EventName>.v<major>`.
    """

    events: tuple[tuple[type[Event], Topic], ...]
    namespace: str
    schema_base: str

    def __post_init__(self) -> None:
        """Refuse models that name themselves in another way than the registry says, and doubles.

        Raises:
            ValueError: there is one.
        """
        seen: set[str] = set()
        for model, _ in self.events:
            name = model.wire_type()
            own = f"{self.namespace}.{model.__name__}.v{model.schema_version}"
            if name != own or model.schema_uri() != self.data_schema(name):
                message = f"{name} ({model.schema_uri()}) is not named as {self.namespace} names it"
                raise ValueError(message)
            if name in seen:
                message = f"two models claim to be {name}"
                raise ValueError(message)
            seen.add(name)

    @cached_property
    def types(self) -> Mapping[str, type[Event]]:
        """The model of each CloudEvents `type`."""
        return {model.wire_type(): model for model, _ in self.events}

    @cached_property
    def topic_of(self) -> Mapping[str, Topic]:
        """The topic of each CloudEvents `type`."""
        return {model.wire_type(): topic for model, topic in self.events}

    @cached_property
    def topics(self) -> Mapping[str, Topic]:
        """The topics of all events by name, in the order of the events."""
        return {topic.name: topic for _, topic in self.events}

    @cached_property
    def field_names(self) -> frozenset[str]:
        """Every name of a field in the events: what a message may repeat of a refused body."""
        names: set[str] = set()
        for model, _ in self.events:
            schema = model.model_json_schema()
            for part in (schema, *schema.get("$defs", {}).values()):
                names.update(part.get("properties", ()))
        return frozenset(names)

    def data_schema(self, event_type: str) -> str:
        """Return the `dataschema` URI of `<namespace>.<EventName>.v<major>`."""
        return self.schema_base + event_type.removeprefix(f"{self.namespace}.")
