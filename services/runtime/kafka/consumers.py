"""The one way to a consumer: what every reader of this project does and does not take from a topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from services.runtime.kafka.limits import FETCH_BYTES_MAX, MESSAGE_BYTES_MAX
from services.runtime.kafka.patches.fetched_records import tolerate_header_names

READING: Final[Mapping[str, Any]] = {
    # What a transaction took back did not happen: nobody may charge, book or mail for it.
    "isolation_level": "read_committed",
    "max_partition_fetch_bytes": MESSAGE_BYTES_MAX,
    "fetch_max_bytes": FETCH_BYTES_MAX,
}
"""Options of every consumer, FastStream's too. With these, the end of a partition is its last stable
offset: what an open transaction holds back does not count as waiting."""


def build_consumer(
    connection: Mapping[str, Any],
    *topics: str,
    **options: Any,  # noqa: ANN401 - aiokafka's own
) -> AIOKafkaConsumer:
    """Return a consumer that commits nothing by itself; `connection` says how to reach the broker."""
    tolerate_header_names()
    return AIOKafkaConsumer(
        *topics, **{"enable_auto_commit": False} | dict(connection) | dict(READING) | options
    )
