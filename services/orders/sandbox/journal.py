"""An append-only file of JSON lines: what the sandbox really did, whoever asked and however often.

Every access locks the file and reads what others wrote, so that several processes, and a
process started again, keep one truth.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

Entry = dict[str, Any]
_NEW_LINE: Final = b"\n"
_AS_LINE: Final = json.JSONEncoder(separators=(",", ":")).encode


class Journal:
    """Entries by (kind, key). Use it inside `locked` only."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`, and its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._read_bytes = 0
        self._entries: dict[tuple[str, str], list[Entry]] = {}

    def close(self) -> None:
        """Close the file; the journal cannot be used any more."""
        os.close(self._file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other writer out, and know what they wrote before."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._read_on()
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def first(self, kind: str, key: str) -> Entry | None:
        """Return the oldest entry of the kind under the key."""
        entries = self._entries.get((kind, key))
        return entries[0] if entries else None

    def count(self, kind: str, key: str) -> int:
        """Return how many entries of the kind there are under the key."""
        return len(self._entries.get((kind, key), ()))

    def append(self, kind: str, key: str, **facts: object) -> Entry:
        """Write an entry; it is there for everyone when this returns."""
        entry: Entry = {"kind": kind, "key": key, **facts}
        line = _AS_LINE(entry).encode() + _NEW_LINE
        os.pwrite(self._file, line, self._read_bytes)
        self._take(entry, len(line))
        return entry

    def _read_on(self) -> None:
        size = os.fstat(self._file).st_size
        if size == self._read_bytes:
            return
        fresh = os.pread(self._file, size - self._read_bytes, self._read_bytes)
        for line in fresh[: fresh.rfind(_NEW_LINE) + 1].splitlines(keepends=True):
            self._take(json.loads(line), len(line))
        # A writer killed in mid-line leaves a tail that no reader takes.
        os.ftruncate(self._file, self._read_bytes)

    def _take(self, entry: Entry, size: int) -> None:
        self._entries.setdefault((entry["kind"], entry["key"]), []).append(entry)
        self._read_bytes += size
