"""Reads the demo's records for whoever publishes them: bytes, headers and the partition of each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiokafka.partitioner import murmur2

from deploy.demo.expected.records import RawRecord, from_line

REQUESTS_FILE: Final = Path(__file__).with_name("requests.jsonl")
MANIFEST_FILE: Final = Path(__file__).with_name("manifest.json")
_SIGN_BIT_OFF: Final = 0x7FFFFFFF


def load_records(path: Path = REQUESTS_FILE) -> list[RawRecord]:
    """Return the records in the order of publishing; phases never decrease."""
    with path.open(encoding="utf-8") as lines:
        return [from_line(line) for line in lines]


def partition_of(record: RawRecord, partition_count: int) -> int:
    """Return where Kafka's own partitioner puts the key, moved on by `partition_shift`.

    A record without key goes by the shift alone.
    """
    key_hash = 0 if record.key is None else murmur2(record.key) & _SIGN_BIT_OFF
    return (key_hash + record.partition_shift) % partition_count
