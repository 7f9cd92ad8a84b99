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
    """Entries by (kind, key). Use it inside `locked` only: outside, what others write is missing."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`, and its folder, and know what is in it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._read_bytes = 0
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        # A long past takes seconds to parse. Left to the first call, the batch waits for it, and
        # every other process for the lock.
        with self._lock():
            past = self._unread()
        self._take_lines(past)

    def close(self) -> None:
        """Close the file; the journal cannot be used any more."""
        os.close(self._file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other writer out, and know what they wrote before."""
        with self._lock():
            self._take_lines(self._unread())
            yield

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

    @contextmanager
    def _lock(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _unread(self) -> bytes:
        """Return the lines that others wrote, and cut off what is not a line."""
        size = os.fstat(self._file).st_size
        if size == self._read_bytes:
            return b""
        fresh = os.pread(self._file, size - self._read_bytes, self._read_bytes)
        lines = fresh[: fresh.rfind(_NEW_LINE) + 1]
        # A writer killed in mid-line leaves a tail that no reader takes.
        os.ftruncate(self._file, self._read_bytes + len(lines))
        return lines

    def _take_lines(self, lines: bytes) -> None:
        for line in lines.splitlines(keepends=True):
            self._take(json.loads(line), len(line))

    def _take(self, entry: Entry, size: int) -> None:
        self._entries.setdefault((entry["kind"], entry["key"]), []).append(entry)
        self._read_bytes += size
