"""Which shard an account lives in: Kafka's default partitioner, computed by us."""

from __future__ import annotations

from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of `data`, unsigned (org.apache.kafka.common.utils.Utils)."""
    length = len(data)
    digest = _SEED ^ length
    for start in range(0, length - length % 4, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        word = (word ^ (word >> 24)) * _M & _MASK
        digest = (digest * _M & _MASK) ^ word
    rest = data[length - length % 4 :]
    if rest:
        digest = (digest ^ int.from_bytes(rest, "little")) * _M & _MASK
    digest = (digest ^ (digest >> 13)) * _M & _MASK
    return digest ^ (digest >> 15)


@lru_cache(maxsize=100_000)
def shard_of(account_id: str, shard_count: int) -> int:
    """Return the partition that Kafka's default partitioner gives the key `account_id`."""
    return (murmur2(account_id.encode()) & 0x7FFFFFFF) % shard_count
