"""Heads of a log kept outside of its database: whoever rewrites the log cannot rewrite them.

A line of JSON for each service and moment; with keys it bears a MAC over everything else in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from schemas.envelope import utc_text
from services.runtime.archive.ranges import Archive
from services.runtime.errors import MALFORMED, ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.log.event_log import ShardHead, StoredEvent
from services.runtime.verify.checks import Check, place

_REWRITTEN: Final = (
    "the log was rewritten after this head was kept: stop the service, keep the database as it is, "
    "find out who owns its tables, and restore a backup that passes with this file"
)


def heads_line(
    service: str, heads: Mapping[int, ShardHead], at: datetime, keys: KeyRing | None
) -> str:
    """Return the heads of a service at a moment as one line, signed when there are keys."""
    content: dict[str, Any] = {
        "service": service,
        "at": utc_text(at),
        "heads": [
            {"shard": shard, "position": head.position, "hash": head.hash.hex()}
            for shard, head in sorted(heads.items())
        ],
    }
    if keys is not None:
        content["mac"] = keys.sign(_canonical(content))
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _canonical(content: Mapping[str, Any]) -> bytes:
    unsigned = {name: value for name, value in content.items() if name != "mac"}
    return b"perennial-heads-1\0" + json.dumps(unsigned, sort_keys=True).encode()


_NOT_READ: Final = b""
Expected = dict[str, dict[tuple[int, int], set[bytes]]]
"""By service, the hashes that were kept of each shard and position."""


def read_heads(path: Path, keys: KeyRing | None) -> Expected:
    """Read a file of heads, or every `.json` file of a folder.

    Raises:
        ConfigurationError: there is none, one is not of our form, or (with keys) not authentic.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    expected: Expected = {}
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
            for line in lines:
                if line.strip():
                    _take(json.loads(line), keys, expected)
        except OSError as error:
            message = f"{file} cannot be read ({type(error).__name__}): name the file of heads"
            raise ConfigurationError(message) from None
        except MALFORMED:
            message = (
                f"{file} holds a line that is no authentic line of heads: name a file that "
                "`perennial log heads` or a service wrote, and the keys that signed it (ANCHOR_KEYS)"
            )
            raise ConfigurationError(message) from None
    if not expected:
        message = (
            f"{path} holds no heads: name a file that `perennial log heads` or a service wrote"
        )
        raise ConfigurationError(message)
    return expected


def _take(content: Any, keys: KeyRing | None, expected: Expected) -> None:  # noqa: ANN401 - JSON
    if keys is not None and not keys.signed(_canonical(content), content["mac"]):
        raise ValueError
    of_service = expected.setdefault(content["service"], {})
    for head in content["heads"]:
        place_ = (int(head["shard"]), int(head["position"]))
        if place_[1]:
            of_service.setdefault(place_, set()).add(bytes.fromhex(head["hash"]))


@dataclass(slots=True)
class AnchorCheck:
    """Compares the events at the positions of kept heads with the hashes that were kept."""

    expected: Mapping[tuple[int, int], set[bytes]]
    archive: Archive = field(default_factory=Archive)
    problem: str | None = None
    _found: set[tuple[int, int]] = field(default_factory=set)

    def look(self, events: Sequence[StoredEvent]) -> None:
        """Compare those of the next events that a head was kept of."""
        for stored in events:
            kept = self.expected.get((stored.shard, stored.position))
            if kept is None:
                continue
            self._found.add((stored.shard, stored.position))
            if kept != {stored.hash} and self.problem is None:
                self.problem = f"{place(stored)} has another hash than the head that was kept"

    def result(self) -> Check:
        """Name a head beyond the log, too, and what ranges end with where they are not read."""
        unread = 0
        for shard, position in sorted(self.expected.keys() - self._found):
            known = self._archived(shard, position)
            if known is not None and known in {_NOT_READ, *self.expected[shard, position]}:
                unread += known == _NOT_READ
            elif self.problem is None and known:
                self.problem = f"shard {shard} position {position} was archived with another hash"
            elif self.problem is None:
                self.problem = (
                    f"a head was kept of shard {shard} position {position}, which is gone"
                )
        compared = f"{len(self.expected)} heads that were kept"
        told = f"{unread} of them lie in what is archived" if unread else ""
        return Check("expected heads", compared, self.problem, _REWRITTEN, told)

    def _archived(self, shard: int, position: int) -> bytes | None:
        """Return the hash that a range ends with there, or that it is not read; None elsewhere."""
        if self.archive.is_read(shard):
            return None
        ranges = self.archive.ranges.get(shard, ())
        at = next((each for each in ranges if each.last_position >= position), None)
        if at is None:
            return None
        return at.last_hash if at.last_position == position else _NOT_READ
