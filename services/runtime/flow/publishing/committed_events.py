"""The newest events that this process committed, so that the relay need not read them again."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from services.runtime.log.event_log import LogEnd, StoredEvent, Unpublished, chain_hash

KEPT_PER_SHARD_MAX: Final = 1_000
"""What a relay that falls behind needs from before, it reads from the log."""


@dataclass(slots=True)
class _Run:
    """Events of one shard without a gap, up to `end`, whose oldest are forgotten."""

    end: LogEnd
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
            end = _end_of(event)
            if run is None or run.end.position + 1 != event.position:
                run = self._runs[event.shard] = _Run(end, deque(maxlen=KEPT_PER_SHARD_MAX))
            run.events.append(event)
            run.end = end

    def behind(self, shard: int, end: LogEnd, *, limit: int) -> Unpublished | None:
        """Return the first own events that follow `end`; None when only the log can tell.

        Nobody asks for what lies before it again: that is forgotten.
        """
        run = self._runs.get(shard)
        if run is None or run.end.position < end.position:
            return None
        known = run.end
        while run.events and run.events[0].position <= end.position:
            known = _end_of(run.events.popleft())
        if known != end and not (run.events and _follows(end, run.events[0])):
            return None
        own = list(islice((each for each in run.events if each.source == self._source), limit))
        return Unpublished(own, _end_of(own[-1]) if len(own) == limit else run.end)

    def keep_only(self, shards: Collection[int]) -> None:
        """Forget the shards that another process serves by now."""
        self.forget(self._runs.keys() - set(shards))

    def forget(self, shards: Collection[int]) -> None:
        """Forget these shards: the log is asked."""
        for shard in shards:
            self._runs.pop(shard, None)

    def clear(self) -> None:
        """Forget everything: the log is asked."""
        self._runs.clear()


def _end_of(event: StoredEvent) -> LogEnd:
    return LogEnd(event.position, event.hash)


def _follows(end: LogEnd, event: StoredEvent) -> bool:
    """Say whether an event lies directly behind an end, and was hashed with it."""
    return event.position == end.position + 1 and event.hash == chain_hash(end.hash, event)
