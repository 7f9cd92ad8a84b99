"""The newest events that this process committed, so that the relay need not read them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from services.runtime.log.event_log import StoredEvent, Unpublished

KEPT_PER_SHARD_MAX: Final = 1_000
"""What a relay that falls behind needs from before, it reads from the log."""


@dataclass(slots=True)
class _Run:
    """Events of one shard without a gap, up to `last_position`, whose oldest are forgotten."""

    last_position: int
    events: deque[StoredEvent]


class CommittedEvents:
    """By shard, what this process committed since another process last wrote there.

    Events of other sources are kept among our own: else each would look like a gap.
    """

    def __init__(self, source: str) -> None:
        """Keep what is to be published of `source`."""
        self._source = source
        self._runs: dict[int, _Run] = {}

    def __contains__(self, shard: int) -> bool:
        """Say whether this process committed to `shard` lately."""
        return shard in self._runs

    def add(self, events: Iterable[StoredEvent]) -> None:
        """Take the events of one committed transaction, those of a shard in order of position."""
        for event in events:
            run = self._runs.get(event.shard)
            if run is None or run.last_position + 1 != event.position:
                run = self._runs[event.shard] = _Run(0, deque(maxlen=KEPT_PER_SHARD_MAX))
            run.events.append(event)
            run.last_position = event.position

    def behind(self, shard: int, position: int, *, limit: int) -> Unpublished | None:
        """Return the first own events behind `position`; None when only the log can tell.

        Nobody asks for what lies before it again: that is forgotten.
        """
        run = self._runs.get(shard)
        if run is None or run.last_position < position:
            return None
        while run.events and run.events[0].position <= position:
            run.events.popleft()
        if run.events and run.events[0].position != position + 1:
            return None
        own = list(islice((each for each in run.events if each.source == self._source), limit))
        return Unpublished(own, own[-1].position if len(own) == limit else run.last_position)

    def keep_only(self, shards: Collection[int]) -> None:
        """Forget the shards that another process serves by now."""
        for shard in self._runs.keys() - set(shards):
            del self._runs[shard]

    def clear(self) -> None:
        """Forget everything: the log is asked."""
        self._runs.clear()
