"""The folder of one stack: who uses it now, its passwords, and what a crash left in it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import IO, Final

from deploy.local.errors import StackError
from schemas.registry import key_pairs
from schemas.topics import TOPICS

_OURS: Final = Path(__file__).parents[2] / ".perennial"
STATE: Final = Path(os.environ.get("PERENNIAL_STATE_FOLDER", _OURS))
JAR_CACHE: Final = _OURS / "cache" / "jars"


class StackFolder:
    """A folder that one process at a time may use; the lock goes with the process."""

    def __init__(self, path: Path) -> None:
        """Take the folder.

        Raises:
            StackError: another process has it, or it cannot be written.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock: IO[str] = (path / "lock").open("a+")
        except OSError as error:
            message = f"{path} cannot be written ({type(error).__name__}): check who owns it"
            raise StackError(message) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            message = (
                f"process {holder(path)} runs a stack in {path}: stop it (`make down` ends what "
                "`make up` started), or wait for it"
            )
            raise StackError(message) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()

    def passwords(self, names: tuple[str, ...]) -> dict[str, str]:
        """Return a password for each name, made once and kept where only the owner reads."""
        file = self.path / "passwords.json"
        known: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
        for name in names:
            known.setdefault(name, secrets.token_urlsafe(24))
        write_private(file, json.dumps(known))
        return known

    def anchor_keys(self) -> Path:
        """Return the file with the key of the heads that are kept, made once."""
        file = self.path / "anchor.keys"
        if not file.is_file():
            write_private(file, f"local:{secrets.token_hex(32)}\n")
        return file

    def event_keys(self) -> Path:
        """Return the file with all keys of our events, made once, that only its owner reads."""
        file = self.path / "event.keys"
        if not file.is_file():
            pairs = key_pairs(TOPICS)
            lines = [f"{writer}/{reader}/local:{secrets.token_hex(32)}" for writer, reader in pairs]
            write_private(file, "\n".join(lines) + "\n")
        return file

    def release(self) -> None:
        self._lock.close()


def holder(path: Path) -> int | None:
    """Return the id of the process that holds the folder, or None."""
    try:
        with (path / "lock").open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = lock.read().strip()
                return int(text) if text.isdecimal() else 0
    except FileNotFoundError:
        return None
    return None


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, at once and complete."""
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)
    partial.replace(file)
