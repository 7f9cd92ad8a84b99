"""What open transactions hold back: where the stable offset of a partition stands still, and since when.

Readers of committed records get nothing at or behind the stable offset, and it does not count as lag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from services.runtime.log.event_log import TopicPartition


@dataclass(frozen=True, slots=True)
class Held:
    """What lies behind the stable offset of a partition, and how long that has not moved."""

    records: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Mark:
    stable: int
    since: float


class HeldBack:
    """Remembers what each look saw; whoever looks, the others know it too."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Have seen nothing yet."""
        self._monotonic = monotonic
        self._marks: dict[TopicPartition, _Mark] = {}
        self._held: dict[TopicPartition, Held] = {}

    def note(
        self, stable: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, Held]:
        """Compare the stable offsets with the ends, which were asked for before them.

        Returns what is held back on each of these partitions.
        """
        now = self._monotonic()
        for partition, offset in stable.items():
            waiting = max(0, ends[partition] - offset)
            mark = self._marks.get(partition)
            if not waiting:
                self._marks.pop(partition, None)
            elif mark is None or mark.stable != offset:
                mark = self._marks[partition] = _Mark(offset, now)
            self._held[partition] = Held(waiting, now - mark.since if waiting and mark else 0.0)
        return {partition: self._held[partition] for partition in stable}

    def said(self, partitions: frozenset[TopicPartition]) -> list[str]:
        """Say in words what the last look at these partitions saw."""
        return list(self._words(partitions))

    def _words(self, partitions: frozenset[TopicPartition]) -> Iterator[str]:
        for topic, partition in sorted(partitions):
            held = self._held.get((topic, partition), Held())
            if held.records:
                yield (
                    f"{topic}/{partition}: an open transaction holds back {held.records} records, "
                    f"for {held.seconds:.0f} s"
                )
