"""Compares what a service took from another one with what that one has in its own log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from services.runtime.log.event_log import StoredEvent
from services.runtime.verify.checks import Check, LogHead, place
from services.runtime.verify.slices import SliceMark

MINTED: Final = (
    "somebody else wrote to the topic, or a database lost its newest events: stop the services and "
    "follow 'Two events with one number' in docs/OPERATIONS.md before anything is discarded"
)
_COMPARED: Final = (
    *("event_id", "type", "account_id", "correlation_id", "causation_id", "traceparent"),
    *("occurred_at", "body"),
)
Slices = AsyncIterator[list[StoredEvent]]
Claim = Callable[[StoredEvent], UUID | None]
"""Returns the id of the event of another service that an event rests on, if it rests on one."""


@dataclass(slots=True)
class FiledCheck:
    """Every event that was filed is the one that its producer has, and none is missing or more.

    `moved_to` begins the streams in which the consumer numbers events itself.
    """

    producer: str
    moved_to: str
    compared: int = 0
    differing: int = 0
    unread: int = 0
    problem: str | None = None

    async def compare(
        self, shard: int, behind: int, up_to: int, published: Slices, filed: Slices
    ) -> None:
        """Walk both logs of a shard side by side, up to the number that was taken last.

        Up to the number `behind`, the producer's events are archived and not read.
        """
        ours = _of(filed, self.producer, behind, up_to)
        theirs = _of(published, self.producer, behind, up_to)
        self.unread += min(behind, up_to)
        mine, other = await anext(ours, None), await anext(theirs, None)
        while mine is not None or other is not None:
            number = min(each.sequence for each in (mine, other) if each is not None)
            here = mine if mine is not None and mine.sequence == number else None
            there = other if other is not None and other.sequence == number else None
            self._compare(shard, here, there)
            mine = mine if here is None else await anext(ours, None)
            other = other if there is None else await anext(theirs, None)

    def _compare(self, shard: int, here: StoredEvent | None, there: StoredEvent | None) -> None:
        if here is not None and there is not None:
            self.compared += 1
            what = self._difference(here, there)
            told = f"first difference: {what}" if what else None
        else:
            told = "not filed here" if here is None else "there is no event with that number there"
        if told is None:
            return
        self.differing += 1
        sequence = next(each.sequence for each in (here, there) if each is not None)
        if self.problem is None:
            self.problem = (
                f"shard {shard} sequence {sequence}: filed is {_told(here)}, {self.producer} has "
                f"{_told(there)} ({told})"
            )

    def _difference(self, mine: StoredEvent, other: StoredEvent) -> str | None:
        for name in _COMPARED:
            if getattr(mine, name) != getattr(other, name):
                return name
        moved = mine.stream_id.startswith(self.moved_to)
        if not moved and mine.stream_id != other.stream_id:
            return "stream_id"
        return (
            "stream_version" if not moved and mine.stream_version != other.stream_version else None
        )

    def result(self) -> Check:
        told = f"{self.compared} filed events with the log of {self.producer}"
        problem = self.problem
        if problem is not None and self.differing > 1:
            problem += f"; {self.differing} events differ"
        unread = f"{self.unread} filed events are archived by {_name(self.producer)}"
        name = f"filed = {_name(self.producer)}"
        return Check(name, told, problem, MINTED, unread if self.unread else "")


async def _of(slices: Slices, source: str, behind: int, up_to: int) -> AsyncIterator[StoredEvent]:
    async for events in slices:
        for event in events:
            if event.source == source and behind < event.sequence <= up_to:
                yield event


@dataclass(slots=True)
class MarkCheck:
    """The newest event that a consumer took of a service is the one with that number in its log."""

    producer: str
    consumer: str
    marks: Mapping[int, SliceMark]
    heads: Mapping[int, LogHead]
    problem: str | None = None
    _found: set[int] = field(default_factory=set)

    def look(self, events: Sequence[StoredEvent]) -> None:
        """Compare the ids of those that a mark names."""
        for stored in events:
            mark = self.marks.get(stored.shard)
            if mark is None or stored.source != self.producer or stored.sequence != mark.sequence:
                continue
            self._found.add(stored.shard)
            if stored.event_id != mark.event_id and self.problem is None:
                self.problem = (
                    f"shard {stored.shard} sequence {mark.sequence}: {self.consumer} took "
                    f"{mark.event_id}, {self.producer} has {stored.type} {stored.event_id}"
                )

    def result(self) -> Check:
        """Name a mark ahead of the log, too."""
        unread = 0
        for shard in sorted(self.marks.keys() - self._found):
            mark = self.marks[shard]
            if shard in self.heads and mark.sequence <= self.heads[shard].begin.sequence:
                unread += 1
            elif self.problem is None:
                self.problem = (
                    f"shard {shard} sequence {mark.sequence}: {self.consumer} took {mark.event_id} "
                    f"and {self.producer} has no event with that number"
                )
        compared = f"{len(self.marks)} marks of {self.consumer} with the log of {self.producer}"
        told = f"{unread} marks name what is archived" if unread else ""
        return Check(f"newest taken by {self.consumer}", compared, self.problem, MINTED, told)


@dataclass(slots=True)
class ClaimCheck:
    """What rests on an event of another service rests on one that is in that service's log.

    Nothing is kept of a shard but the claims that are still open; call `end_shard` behind its logs.
    What a producer has archived, and nobody reads, is found where another log filed it.
    """

    consumer: str
    claim: Claim
    claims: int = 0
    unfounded: int = 0
    problem: str | None = None
    _open: dict[tuple[UUID, str], str] = field(default_factory=dict)

    def look(self, events: Sequence[StoredEvent]) -> None:
        """Note what the next events of the consumer rest on."""
        for stored in events:
            if (event_id := self.claim(stored)) is not None:
                self.claims += 1
                self._open[event_id, stored.account_id] = place(stored)

    def found(self, events: Sequence[StoredEvent]) -> None:
        """Strike out what events of the producers found."""
        for stored in events:
            self._open.pop((stored.event_id, stored.account_id), None)

    def end_shard(self) -> None:
        """Say which claims of the shard nothing founds."""
        for (event_id, _), where in self._open.items():
            self.unfounded += 1
            if self.problem is None:
                self.problem = f"{where} rests on {event_id}, which no log holds for that account"
        self._open.clear()

    def result(self) -> Check:
        problem = self.problem
        if problem is not None and self.unfounded > 1:
            problem += f"; {self.unfounded} rest on nothing"
        compared = f"{self.claims} events of {self.consumer} with what they rest on"
        return Check(f"causes of {self.consumer}", compared, problem, MINTED)


def _told(event: StoredEvent | None) -> str:
    return "nothing" if event is None else f"{event.type} {event.event_id}"


def _name(source: str) -> str:
    return source.rpartition("/")[2]
