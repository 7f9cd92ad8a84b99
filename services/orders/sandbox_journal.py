"""An append-only file of JSON lines: what the sandbox really did, whoever asked and however often.

Every access locks the file and reads what others wrote, so that several processes, and a
process started again, keep one truth.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

Entry = dict[str, Any]
GATEWAY_JOURNAL: Final = "gateway.jsonl"
PROVIDER_JOURNAL: Final = "provider.jsonl"
_NEW_LINE: Final = b"\n"
_LINE_BYTES_MAX: Final = 4 * 1024
_READ_BYTES_MAX: Final = 1024 * 1024
_HEAD_BYTES: Final = 128
_EMPTIED: Final = "emptied"
_AS_LINE: Final = json.JSONEncoder(separators=(",", ":")).encode


class SandboxJournal:
    """Entries by (kind, key). Use it inside `locked` only. Memory holds the keys, the file the rest."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`, and its folder; read what it holds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._forget()
        # A long past takes seconds, and no other process should wait for the lock meanwhile: what is
        # a whole line stays as it is.
        self._read_on()

    def close(self) -> None:
        """Close the file; the journal cannot be used any more."""
        os.close(self._file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other writer out, and know what they wrote before."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._read_on()
            # A writer killed in mid-line leaves a tail that no reader takes.
            if os.fstat(self._file).st_size > self._read_bytes:
                os.ftruncate(self._file, self._read_bytes)
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def first(self, kind: str, key: str) -> Entry | None:
        """Return the oldest entry of the kind under the key."""
        at = self._first_at.get(kind, {}).get(key)
        if at is None:
            return None
        entry: Entry = json.loads(os.pread(self._file, _LINE_BYTES_MAX, at).partition(_NEW_LINE)[0])
        return entry

    def all(self, kind: str) -> Iterator[Entry]:
        """Yield the oldest entry of the kind under each key; this reads much of the file."""
        for key in self._first_at.get(kind, {}):
            if entry := self.first(kind, key):
                yield entry

    def count(self, kind: str, key: str) -> int:
        """Return how many entries of the kind there are under the key."""
        known = key in self._first_at.get(kind, {})
        return known + self._repeats[kind, key]

    def append(self, kind: str, key: str, **facts: object) -> Entry:
        """Write an entry; it is there for everyone when this returns.

        Raises:
            ValueError: it is longer than an entry can be.
        """
        entry: Entry = {"kind": kind, "key": key, **facts}
        line = _AS_LINE(entry).encode() + _NEW_LINE
        if len(line) > _LINE_BYTES_MAX:
            message = f"an entry of {len(line)} bytes: the limit is {_LINE_BYTES_MAX}"
            raise ValueError(message)
        os.pwrite(self._file, line, self._read_bytes)
        self._take(kind, key, len(line))
        return entry

    def empty(self) -> int:
        """Forget everything, for every process that has the file open; return how many entries.

        The first line is then a mark that no other file has, by which they know.
        """
        entries = sum(len(keys) for keys in self._first_at.values()) + self._repeats.total()
        marks = len(self._first_at.get(_EMPTIED, {}))
        os.ftruncate(self._file, 0)
        self._forget()
        self.append(_EMPTIED, str(uuid4()))
        return entries - marks

    def _forget(self) -> None:
        self._head = b""
        self._read_bytes = 0
        self._first_at: dict[str, dict[str, int]] = {}
        self._repeats: Counter[tuple[str, str]] = Counter()

    def _read_on(self) -> None:
        head = os.pread(self._file, _HEAD_BYTES, 0)
        if not head.startswith(self._head):
            self._forget()
        self._head = head
        while os.fstat(self._file).st_size > self._read_bytes:
            fresh = os.pread(self._file, _READ_BYTES_MAX, self._read_bytes)
            whole = fresh[: fresh.rfind(_NEW_LINE) + 1]
            if not whole:
                return
            for line in whole.splitlines(keepends=True):
                entry = json.loads(line)
                self._take(entry["kind"], entry["key"], len(line))

    def _take(self, kind: str, key: str, size: int) -> None:
        first_at = self._first_at.setdefault(kind, {})
        if first_at.setdefault(key, self._read_bytes) != self._read_bytes:
            self._repeats[kind, key] += 1
        self._read_bytes += size
