"""Which record a cursor expects next, as far as this process knows: others may move it meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.runtime.flow.work import Parsed
from services.runtime.log.event_log import TopicPartition


class NextOffsets:
    """The cursors as this process committed them last, and where its consumer was sent to."""

    def __init__(self) -> None:
        self._committed: dict[TopicPartition, int] = {}
        self._sought: dict[TopicPartition, int] = {}

    def committed(self, cursors: Mapping[TopicPartition, int]) -> None:
        """Note cursors as they stand after a commit."""
        self._committed |= cursors

    def sought(self, partition: TopicPartition, offset: int) -> None:
        """Note that the consumer was really sent to `offset`."""
        self._sought[partition] = offset

    def follows(self, partition: TopicPartition, offset: int, wanted: int) -> bool:
        """Say whether a record is the one that a cursor at `wanted` expects.

        A hole that is still there after a seek to it holds no record of ours: control records of a
        transactional upstream, or a compacted range.
        """
        return offset == wanted or (offset > wanted and self._sought.get(partition) == wanted)

    def expected(self, parsed: Sequence[Parsed]) -> list[Parsed]:
        """Return the records that are surely next, or behind such in the batch.

        What is behind a cursor was handled, and what lies beyond a gap comes again; where the cursor
        of a partition is not known yet, a record may be either.
        """
        cursors = dict(self._committed)
        found: list[Parsed] = []
        for item in parsed:
            partition, offset = (item.record.topic, item.record.partition), item.record.offset
            wanted = cursors.get(partition)
            if wanted is not None and self.follows(partition, offset, wanted):
                cursors[partition] = offset + 1
                found.append(item)
        return found
