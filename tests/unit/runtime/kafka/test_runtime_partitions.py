"""An account's shard is where every Kafka client's default partitioner puts its key."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka
import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.kafka.records.partitions import murmur2, shard_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        # org.apache.kafka.common.utils.UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_the_values_of_kafkas_own_test(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


@given(key=st.text(min_size=1, max_size=64), shard_count=st.integers(1, 1024))
def test_shard_is_the_partition_that_aiokafka_chooses(key: str, shard_count: int) -> None:
    partitions = list(range(shard_count))
    chosen = DefaultPartitioner()(key.encode(), partitions, partitions)
    assert shard_of(key, shard_count) == chosen


@given(key=st.binary(min_size=1, max_size=64), shard_count=st.integers(1, 1024))
def test_shard_is_the_partition_that_librdkafka_chooses(key: bytes, shard_count: int) -> None:
    chosen = librdkafka().rd_kafka_msg_partitioner_murmur2(
        None, key, ctypes.c_size_t(len(key)), shard_count, None, None
    )
    assert (murmur2(key) & 0x7FFFFFFF) % shard_count == chosen


def librdkafka() -> ctypes.CDLL:
    """Return the library that confluent_kafka brings with it."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    [found] = folder.glob("librdkafka*")
    return ctypes.CDLL(str(found))
