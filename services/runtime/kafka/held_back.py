"""What open transactions hold back: how much lies behind the stable offset, and since when.

Readers of committed records get nothing at or behind the stable offset, and it does not count as lag.
That the offset moves says little: transactions that take turns move it, and each record waits all the
same. So it counts since when an end beyond the offset was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.runtime.log.event_log import TopicPartition

PRECISION: Final = 16
"""A wait is told too short by a sixteenth at most: so a few dozen ends are remembered for any time."""


@dataclass(frozen=True, slots=True)
class Held:
    """What lies behind the stable offset of a partition, and how long the oldest was seen to wait."""

    records: int = 0
    seconds: float = 0.0


class _Seen(NamedTuple):
    """The partition ended here then."""

    end: int
    at: float


class HeldBack:
    """Remembers what each look saw; whoever looks, the others know it too."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[TopicPartition, list[_Seen]] = {}
        self._held: dict[TopicPartition, Held] = {}

    def note(
        self, stable: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, Held]:
        """Compare the stable offsets with the ends, which were asked for before them.

        Returns what is held back on each of these partitions.
        """
        now = self._monotonic()
        for partition, offset in stable.items():
            end = max(offset, ends[partition])
            since = self._since(partition, offset, end, now)
            self._held[partition] = Held(end - offset, now - since)
        return {partition: self._held[partition] for partition in stable}

    def _since(self, partition: TopicPartition, stable: int, end: int, now: float) -> float:
        """Return when an end beyond `stable` was seen first."""
        seen = self._seen.get(partition, [])
        # One that is beyond the end of now is of a topic that was made again.
        seen = [each for each in seen if stable < each.end <= end]
        if end > stable and (not seen or now - seen[-1].at > (now - seen[0].at) / PRECISION):
            seen.append(_Seen(end, now))
        self._seen[partition] = seen
        return seen[0].at if seen else now

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
