"""The settings of our topics that we rely on: compared with what the broker has, and put right.

A setting is changed by IncrementalAlterConfigs 0 (Kafka 2.3), which aiokafka has not: its own call
takes away whatever else was set. Field by field as in https://kafka.apache.org/protocol.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

from schemas.registry import Topic
from services.runtime.errors import ConfigurationError
from services.runtime.kafka.limits import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from aiokafka.admin import AIOKafkaAdminClient

_TOPIC: Final = 2
_SET: Final = 0
_NOT_ONLY_VALIDATED: Final = False
_DAY_MS: Final = 24 * 60 * 60 * 1000
_FOR_EVER: Final = -1
_AT_LEAST: Final = frozenset({"retention.ms", "delete.retention.ms", "min.insync.replicas"})
"""Of these, more does no harm; the others must be as they are wanted."""


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A setting of a topic that is not what we rely on."""

    topic: str
    name: str
    found: str
    wanted: str

    def __str__(self) -> str:
        """Say it in a sentence without a full stop."""
        least = "at least " if self.name in _AT_LEAST else ""
        return f"{self.topic} has {self.name} {self.found}, and should have {least}{self.wanted}"


def wanted_limits(topic: Topic, replicas: int) -> dict[str, str]:
    """Return the settings of a topic, or of its dead-letter topics, that has so many replicas."""
    kept = "delete.retention.ms" if topic.compacted else "retention.ms"
    return {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
        kept: str(topic.retention_days * _DAY_MS),
        # Else a sender's date says how long a record is kept: for ever, or not until it is read.
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(max(1, replicas - 1)),
    }


async def differences(
    admin: AIOKafkaAdminClient, topics: Iterable[Topic], described: Sequence[Mapping[str, Any]]
) -> list[Difference]:
    """Compare those of `topics`, and of their dead-letter topics, that were `described`.

    Raises:
        ConfigurationError: our principal may not see the settings.
    """
    wanted = {
        name: wanted_limits(topic, replicas)
        for name, topic, replicas in _existing(topics, described)
    }
    if not wanted:
        return []
    answers = await admin.describe_configs(
        [
            ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(settings))
            for topic, settings in wanted.items()
        ]
    )
    found: dict[str, dict[str, str]] = {}
    for resource in (each for answer in answers for each in answer.to_object()["resources"]):
        _check(resource["error_code"], f"see the settings of {resource['resource_name']}")
        found[resource["resource_name"]] = {
            entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]
        }
    return sorted(
        Difference(topic, name, found[topic][name], value)
        for topic, settings in wanted.items()
        for name, value in settings.items()
        if not _suffices(name, found[topic][name], value)
    )


def _existing(
    topics: Iterable[Topic], described: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Topic, int]]:
    replicas = {
        each["topic"]: min((len(part["replicas"]) for part in each["partitions"]), default=0)
        for each in described
        if not each["error_code"]
    }
    for topic in topics:
        for name in (topic.name, *map(topic.dead_letter_topic, topic.groups)):
            if replicas.get(name):
                yield name, topic, replicas[name]


def _suffices(name: str, found: str, wanted: str) -> bool:
    if name not in _AT_LEAST:
        return found == wanted
    return int(found) >= int(wanted) or (name == "retention.ms" and int(found) == _FOR_EVER)


async def put_right(admin: AIOKafkaAdminClient, found: Sequence[Difference]) -> None:
    """Set what differs, and nothing else.

    Raises:
        ConfigurationError: our principal may not, or the broker refuses a value.
    """
    answer: Any = await admin._send_request(_AlterRequest(found))  # noqa: SLF001 - see above
    for code, _, _, topic in answer.responses:
        _check(code, f"change the settings of {topic}")


def _check(code: int, what: str) -> None:
    if code:
        message = (
            f"cannot {what}: {for_code(code).__name__}; run `perennial setup` as an administrator"
        )
        raise ConfigurationError(message)


class _AlterResponse(Response):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _AlterStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlterResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(
                        ("name", String("utf-8")),
                        ("config_operation", Int8),
                        ("value", String("utf-8")),
                    ),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class _AlterRequest(Request[_AlterStruct]):  # type: ignore[misc]
    API_KEY = 44

    def __init__(self, found: Sequence[Difference]) -> None:
        self._found = found

    def build(self, request_struct_class: type[_AlterStruct]) -> _AlterStruct:
        by_topic: dict[str, list[tuple[str, int, str]]] = {}
        for each in self._found:
            by_topic.setdefault(each.topic, []).append((each.name, _SET, each.wanted))
        resources = [(_TOPIC, topic, configs) for topic, configs in by_topic.items()]
        return request_struct_class(resources, _NOT_ONLY_VALIDATED)
