"""The hostile upstreams, in a process of their own: what the fuzzer makes, at a steady rate."""

from __future__ import annotations

import argparse
import sys
import time
from random import Random
from typing import Any, Final

from confluent_kafka import Producer

from schemas.topics import REQUESTS
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.kafka.records.record_size import Headers
from tests.fuzz.examples import example, types_on
from tests.fuzz.records import Record, record

SOURCES: Final = ("/upstream/hostile-1", "/upstream/hostile-2", "/upstream/hostile-3")
MADE: Final = 5_000
"""Different records; then they come again."""
_OVERSIZED_EVERY: Final = 500
_OVERSIZED: Final = b'{"x": "' + b"y" * 400_000 + b'"}'
_BYTES_MAX: Final = 16_384
"""Most of what is longer differs in its length alone: the broker's disk is not what is tried."""
_TICK_SECONDS: Final = 0.01
_EXAMPLE_SOURCES: Final = {
    str(example(wire_type)["source"]).encode() for wire_type in types_on(REQUESTS)
}


def hostile_records(seed: int, shards: int, count: int = MADE) -> list[dict[str, Any]]:
    """Return what a producer's `produce` takes, without the topic; the same for the same seed."""
    random = Random(seed)
    made: list[dict[str, Any]] = []
    while len(made) < count:
        found = record(random, (REQUESTS,))
        headers = _sendable(found.headers)
        sizes = [len(found.key or b""), len(found.value or b"")]
        sizes += [len(name) + len(value or b"") for name, value in headers]
        if sum(sizes) > _BYTES_MAX:
            continue
        if len(made) % _OVERSIZED_EVERY == 0:
            found.value = _OVERSIZED
        source = SOURCES[len(made) % len(SOURCES)].encode()
        made.append(
            {
                "key": found.key,
                "value": _from(source, found.value),
                "headers": [(name, _from(source, value)) for name, value in headers],
                "partition": _partition(found, random, shards),
            }
        )
    return made


def _from(source: bytes, value: bytes | None) -> bytes | None:
    for example_source in _EXAMPLE_SOURCES if value else ():
        value = (value or b"").replace(example_source, source)
    return value


def _sendable(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Leave out the names that no client can write."""
    return [(n, value) for n, value in headers if n.isprintable() and n]


def _partition(found: Record, random: Random, shards: int) -> int:
    if found.key and found.key.isascii():
        return shard_of(found.key.decode(), shards)
    return random.randrange(shards)


def flood(servers: str, *, shards: int, rate: int, seconds: float, seed: int) -> int:
    """Send `rate` records a second for so long; return how many the broker has."""
    records = hostile_records(seed, shards)
    delivered = 0

    def count(error: object, _message: object) -> None:
        nonlocal delivered
        delivered += error is None

    options = {"bootstrap.servers": servers, "linger.ms": 20, "compression.type": "lz4"}
    producer = Producer(options)
    print("ready", flush=True)
    started, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds:
        for number in range(sent, int(elapsed * rate)):
            try:
                each = records[number % len(records)]
                producer.produce(REQUESTS.name, on_delivery=count, **each)
            except BufferError:
                break
            sent += 1
        producer.poll(0)
        time.sleep(_TICK_SECONDS)
    producer.flush(60)
    return delivered


def main() -> int:
    """Send, and print how many arrived."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.flood", description=__doc__)
    parser.add_argument("--servers", required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    delivered = flood(
        options.servers,
        shards=options.shards,
        rate=options.rate,
        seconds=options.seconds,
        seed=options.seed,
    )
    print(f"delivered {delivered}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
