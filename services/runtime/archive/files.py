"""Files of archived events: a line of JSON for each, compressed, and a signed manifest beside it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from schemas.envelope import utc_text
from services.runtime.errors import MALFORMED, ConfigurationError
from services.runtime.key_ring import KeyRing
from services.runtime.log.event_log import GENESIS_HASH, StoredEvent, chain_hash

ROWS: Final = ".events.gz"
MANIFEST: Final = ".events.json"
_CONTEXT: Final = b"perennial-archived-events-1\0"
_LEVEL: Final = 6
UNREADABLE: Final = (*MALFORMED, EOFError, OverflowError, zlib.error)
"""What reading a line that is no event raises."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file holds: positions of one shard, and the hashes before the first and of the last.

    `last_sequence` is the service's own number of the last event, `sha256` that of the file itself.
    """

    file: str
    service: str
    shard: int
    first_position: int
    last_position: int
    previous_hash: str
    last_hash: str
    last_sequence: int
    sha256: str

    @property
    def events(self) -> int:
        """Return how many events the file holds."""
        return self.last_position - self.first_position + 1


class EventFile:
    """A file that is being written; it has its name when it is complete."""

    _output: gzip.GzipFile

    def __init__(self, file: Path, service: str, first_position: int, previous_hash: bytes) -> None:
        """Begin at `first_position`, behind an event with `previous_hash`."""
        self._file = file
        self._service = service
        self._first = first_position
        self._previous = previous_hash
        self._last: StoredEvent | None = None

    @contextmanager
    def writing(self) -> Iterator[EventFile]:
        """Write what is added, durably, then give the file its name."""
        partial = self._file.with_name(self._file.name + ".partial")
        with partial.open("wb") as raw:
            # Without name and time: the same events make the same bytes.
            with gzip.GzipFile(
                filename="", mode="wb", compresslevel=_LEVEL, fileobj=raw, mtime=0
            ) as output:
                self._output = output
                yield self
            raw.flush()
            os.fsync(raw.fileno())
        partial.rename(self._file)

    def add(self, stored: StoredEvent) -> None:
        self._output.write(_line(stored))
        self._last = stored

    def manifest(self) -> Manifest:
        """Return what was written.

        Raises:
            ConfigurationError: nothing was.
        """
        last = self._last
        if last is None:
            message = f"{self._file.name} holds no event: the log is not what was planned"
            raise ConfigurationError(message)
        return Manifest(
            file=self._file.name,
            service=self._service,
            shard=last.shard,
            first_position=self._first,
            last_position=last.position,
            previous_hash=self._previous.hex(),
            last_hash=last.hash.hex(),
            last_sequence=last.sequence,
            sha256=_digest(self._file),
        )


def write_manifest(folder: Path, manifest: Manifest, keys: KeyRing | None) -> None:
    """Write a manifest beside its file, signed when there are keys; durably, with the folder."""
    content: dict[str, Any] = asdict(manifest)
    if keys is not None:
        content["mac"] = keys.sign(_signed(content))
    path = manifest_path(folder, manifest.file)
    with path.open("w", encoding="utf-8") as text:
        text.write(json.dumps(content, sort_keys=True) + "\n")
        text.flush()
        os.fsync(text.fileno())
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def manifest_path(folder: Path, file: str) -> Path:
    """Return where the manifest of a file lies."""
    return folder / (file.removesuffix(ROWS) + MANIFEST)


def read_manifest(folder: Path, file: str, keys: KeyRing | None) -> Manifest:
    """Read the manifest of a file; with `keys`, one of them must have signed it.

    Raises:
        ConfigurationError: it is absent, of another form, or not authentic.
    """
    try:
        content = json.loads(manifest_path(folder, file).read_text(encoding="utf-8"))
        if keys is not None and not keys.signed(_signed(content), content["mac"]):
            message = f"the manifest of {file} is not authentic"
            raise ConfigurationError(message)
        content.pop("mac", None)
        return Manifest(**content)
    except OSError as error:
        message = f"the manifest of {file} cannot be read ({type(error).__name__})"
        raise ConfigurationError(message) from None
    except MALFORMED:
        message = f"the manifest of {file} is none"
        raise ConfigurationError(message) from None


def check_file(folder: Path, file: str, keys: KeyRing | None) -> Manifest:
    """Read a file to its end and compare it with its manifest: bytes, positions and every hash.

    Raises:
        ConfigurationError: what differs first.
    """
    manifest = read_manifest(folder, file, keys)
    try:
        if (manifest.file, _digest(folder / file)) != (file, manifest.sha256):
            message = f"{file} is not what its manifest says"
            raise ConfigurationError(message)
        position, previous = manifest.first_position - 1, bytes.fromhex(manifest.previous_hash)
        sequence = 0
        for stored in events_in(folder / file):
            position += 1
            if (stored.shard, stored.position) != (manifest.shard, position):
                message = f"position {position} of shard {manifest.shard} is not in {file}"
                raise ConfigurationError(message)
            if chain_hash(previous, stored) != stored.hash:
                message = f"position {position} in {file} is not what was hashed"
                raise ConfigurationError(message)
            previous, sequence = stored.hash, stored.sequence
    except OSError as error:
        message = f"{file} cannot be read ({type(error).__name__})"
        raise ConfigurationError(message) from None
    except UNREADABLE:
        message = f"{file} holds a line that is no event"
        raise ConfigurationError(message) from None
    ends = (position, previous.hex(), sequence)
    if ends != (manifest.last_position, manifest.last_hash, manifest.last_sequence):
        message = f"{file} does not end as its manifest says"
        raise ConfigurationError(message)
    if manifest.first_position == 1 and manifest.previous_hash != GENESIS_HASH.hex():
        message = f"{file} does not begin where a log begins"
        raise ConfigurationError(message)
    return manifest


def events_in(path: Path) -> Iterator[StoredEvent]:
    """Read the events of a file, in order.

    Raises:
        OSError: it cannot be read.
        UNREADABLE: it holds a line that is no event.
    """
    with gzip.open(path, "rb") as lines:
        for line in lines:
            yield _event(line)


def event_problems_in(folder: Path, keys: KeyRing | None) -> tuple[int, list[str]]:
    """Return how many files of events a folder holds, and what is wrong with which."""
    files = {path.name for path in folder.glob(f"*{ROWS}")}
    files |= {path.name.removesuffix(MANIFEST) + ROWS for path in folder.glob(f"*{MANIFEST}")}
    problems = []
    for file in sorted(files):
        try:
            check_file(folder, file, keys)
        except ConfigurationError as problem:
            problems.append(str(problem))
    return len(files), problems


def _line(stored: StoredEvent) -> bytes:
    content: dict[str, Any] = stored._asdict()
    content |= {
        "event_id": str(stored.event_id),
        "causation_id": None if stored.causation_id is None else str(stored.causation_id),
        "occurred_at": utc_text(stored.occurred_at),
        "recorded_at": utc_text(stored.recorded_at),
        "hash": stored.hash.hex(),
        # The exact bytes, whatever they are: JSON keeps the surrogates as they were escaped.
        "body": stored.body.decode(errors="surrogateescape"),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _event(line: bytes) -> StoredEvent:
    content = json.loads(line)
    causation_id = content["causation_id"]
    content |= {
        "event_id": UUID(content["event_id"]),
        "causation_id": None if causation_id is None else UUID(causation_id),
        "occurred_at": datetime.fromisoformat(content["occurred_at"]),
        "recorded_at": datetime.fromisoformat(content["recorded_at"]),
        "hash": bytes.fromhex(content["hash"]),
        "body": content["body"].encode(errors="surrogateescape"),
    }
    return StoredEvent(**content)


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _signed(content: dict[str, Any]) -> bytes:
    unsigned = {name: value for name, value in content.items() if name != "mac"}
    return _CONTEXT + json.dumps(unsigned, sort_keys=True).encode()
