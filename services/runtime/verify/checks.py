"""What a check of a log says, and the checks that read every event of a log once. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from services.runtime.archive.ranges import Archive
from services.runtime.log.event_log import GENESIS_HASH, ShardHead, StoredEvent, chain_hash

RESTORE: Final = (
    "stop the service and restore the newest backup that passes; Kafka fills in the rest"
)
_ARCHIVE: Final = (
    "fetch the file from where versions of it are kept: without it, nobody can tell what it held"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `problem` is the first thing that differs, None when all is well.

    `unread` says what lies in an archive that was not read, and so was not compared.
    """

    name: str
    compared: str
    problem: str | None = None
    advice: str = ""
    unread: str = ""

    @property
    def ok(self) -> bool:
        return self.problem is None

    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"name": self.name, "ok": self.ok, "compared": self.compared}
        if self.unread:
            content["unread"] = self.unread
        if self.ok:
            return content
        return content | {"problem": self.problem, "advice": self.advice}


class Begin(NamedTuple):
    """What lies before the first event that is read: nothing, or what is archived and not read."""

    position: int = 0
    hash: bytes = GENESIS_HASH
    sequence: int = 0


NOTHING_BEFORE: Final = Begin()


@dataclass(slots=True)
class LogHead(ShardHead):
    """Where a shard's log ends, up to where it was published, and behind what it is read."""

    published: int = 0
    begin: Begin = NOTHING_BEFORE


class LogCheck(Protocol):
    """A check that sees a whole log, shard after shard, each in the order of positions."""

    def look(self, events: Sequence[StoredEvent]) -> None:
        """Look at the next events of a shard."""

    def result(self) -> Check: ...


@dataclass(slots=True)
class ChainCheck:
    """Recomputes the hash of every event from its columns, its body and the hash before it."""

    heads: Mapping[int, LogHead]
    events: int = 0
    problem: str | None = None
    _last: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Begin behind what is not read."""
        self._last = {shard: head.begin.hash for shard, head in self.heads.items()}

    def look(self, events: Sequence[StoredEvent]) -> None:
        """Chain the next events; a break is reported once, and the chain goes on behind it."""
        for stored in events:
            self.events += 1
            previous = self._last.get(stored.shard, GENESIS_HASH)
            if chain_hash(previous, stored) != stored.hash and self.problem is None:
                self.problem = f"{place(stored)} is not what was hashed when it was recorded"
            self._last[stored.shard] = stored.hash

    def result(self) -> Check:
        """Compare the ends of the chains with the heads, too."""
        for shard, head in sorted(self.heads.items()):
            if self.problem is None and self._last[shard] != head.hash:
                self.problem = f"the chain of shard {shard} does not end in the hash of its head"
        compared = f"{self.events} hashes in {len(self.heads)} shards"
        return Check("hash chain", compared, self.problem, RESTORE)


@dataclass(slots=True)
class PositionCheck:
    """Looks for missing positions: each shard holds 1..head."""

    heads: Mapping[int, LogHead]
    problem: str | None = None
    _last: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        """Begin behind what is not read."""
        self._last = defaultdict(int, {s: head.begin.position for s, head in self.heads.items()})

    def look(self, events: Sequence[StoredEvent]) -> None:
        """Count on from the last position."""
        for stored in events:
            expected = self._last[stored.shard] + 1
            if stored.position != expected and self.problem is None:
                self.problem = f"position {expected} of shard {stored.shard} is missing"
            self._last[stored.shard] = stored.position

    def result(self) -> Check:
        """Compare the last positions with the heads, too."""
        for shard, head in sorted(self.heads.items()):
            if self.problem is None and self._last[shard] != head.position:
                last = self._last[shard]
                self.problem = f"shard {shard} ends at {last} and its head at {head.position}"
        positions = sum(head.position - head.begin.position for head in self.heads.values())
        compared = f"{positions} positions in {len(self.heads)} shards"
        return Check("dense positions", compared, self.problem, RESTORE)


@dataclass(slots=True)
class NumberCheck:
    """Looks at the numbers that a service gave its own events: 1, 2, 3 ... up to the head's."""

    source: str
    heads: Mapping[int, LogHead]
    numbers: int = 0
    problem: str | None = None
    _last: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        """Begin behind what is not read."""
        self._last = defaultdict(int, {s: head.begin.sequence for s, head in self.heads.items()})

    def look(self, events: Sequence[StoredEvent]) -> None:
        """Count on from the last number of `source`."""
        for stored in events:
            if stored.source != self.source:
                continue
            self.numbers += 1
            expected = self._last[stored.shard] + 1
            if stored.sequence != expected and self.problem is None:
                what = "used twice" if stored.sequence < expected else "not the next one"
                self.problem = (
                    f"{place(stored)}: its sequence {stored.sequence} is {what}, {expected} was due"
                )
            self._last[stored.shard] = stored.sequence

    def result(self) -> Check:
        """Compare the last numbers with the heads, too."""
        for shard, head in sorted(self.heads.items()):
            if self.problem is None and self._last[shard] != head.sequence:
                last = self._last[shard]
                self.problem = f"shard {shard} ends at sequence {last}, its head at {head.sequence}"
        compared = f"{self.numbers} numbers of {self.source}"
        return Check("dense own sequences", compared, self.problem, RESTORE)


def published_check(heads: Mapping[int, LogHead]) -> Check:
    """See that nothing is said to be published that the log does not hold."""
    problem = next(
        (
            f"shard {shard} is published up to {head.published} and ends at {head.position}"
            for shard, head in sorted(heads.items())
            if head.published > head.position
        ),
        None,
    )
    return Check("published positions", f"{len(heads)} shards", problem, RESTORE)


def archive_checks(archive: Archive) -> list[Check]:
    """See that what is archived is archived without a gap, and, where files are read, in them."""
    if archive.empty:
        return []
    problem = next(iter(archive.problems.values()), None)
    files = sum(len(each) for each in archive.ranges.values())
    unread = sum(
        ranges[-1].last_position
        for shard, ranges in archive.ranges.items()
        if not archive.is_read(shard)
    )
    told = f"{unread} archived events: name the folder of their files with --archive"
    compared = f"{archive.events} events in {files} files"
    return [Check("archive", compared, problem, _ARCHIVE, told if unread else "")]


def place(stored: StoredEvent) -> str:
    """Name an event by its place in the log."""
    return f"shard {stored.shard} position {stored.position} ({stored.type} {stored.event_id})"
