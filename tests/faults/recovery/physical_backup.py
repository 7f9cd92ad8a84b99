"""A database server of a test's own, with a base backup, archived WAL, and restores to a point."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import asyncpg

from deploy.local.errors import StackError
from deploy.local.processes import Processes
from deploy.local.servers.postgres import PostgresServer, program

_PASSWORD: Final = "secret"
_RECOVERY_SECONDS: Final = 60


class ArchivedPostgres:
    """A server that archives its WAL to a folder; a restore takes the place of its data."""

    def __init__(self, folder: Path, port: int, processes: Processes) -> None:
        """Prepare; nothing runs yet."""
        self._folder = folder
        self._data = folder / "postgres"
        self._archive, self._base = folder / "wal", folder / "base"
        self._port = port
        self._server = PostgresServer(folder, port, _PASSWORD, processes)
        self.admin_dsn = self._server.admin_dsn

    def start(self) -> None:
        """Start a new server that archives."""
        self._server.start()
        asyncio.run(self._ready())
        asyncio.run(self._archive_from_now_on())
        self._server.child.stop()
        self._server.start()
        asyncio.run(self._ready())

    async def _archive_from_now_on(self) -> None:
        self._archive.mkdir()
        _give(self._archive, self._data)
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            await connection.execute("ALTER SYSTEM SET archive_mode = 'on'")
            copy = f"test ! -f {self._archive}/%f && cp %p {self._archive}/%f"
            await connection.execute(f"ALTER SYSTEM SET archive_command = '{copy}'")
        finally:
            await connection.close()

    def back_up(self) -> None:
        """Take a base backup of the running server, as the documentation has it."""
        self._run("pg_basebackup", f"--pgdata={self._base}", "--checkpoint=fast")

    def restore_point(self, name: str) -> None:
        """Name this moment, and see that the WAL up to it is archived."""
        asyncio.run(self._mark(name))

    async def _mark(self, name: str) -> None:
        connection = await asyncpg.connect(self.admin_dsn)
        try:
            await connection.execute("SELECT pg_create_restore_point($1)", name)
            segment = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
            async with asyncio.timeout(_RECOVERY_SECONDS):
                while not (self._archive / segment).is_file():  # noqa: ASYNC110 - no signal
                    await asyncio.sleep(0.1)
        finally:
            await connection.close()

    def restore(self, name: str) -> None:
        """Put the backup, rolled forward to a named moment, in the place of the data."""
        self._server.child.kill()
        owner = self._data.stat()
        shutil.rmtree(self._data)
        shutil.copytree(self._base, self._data)
        self._data.chmod(0o700)
        (self._data / "recovery.signal").touch()
        with (self._data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = 'cp {self._archive}/%f %p'\n")
            settings.write(f"recovery_target_name = '{name}'\n")
            settings.write("recovery_target_action = 'promote'\n")
        for path in (self._data, *self._data.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        self._start_again()
        asyncio.run(self._ready())

    def _start_again(self) -> None:
        for _ in range(_RECOVERY_SECONDS):
            try:
                return self._server.start()
            except StackError:
                # The children of the killed server may hold its shared memory for a moment.
                continue
        return self._server.start()

    async def _ready(self) -> None:
        """Return when it answers, and recovers nothing any more."""
        async with asyncio.timeout(_RECOVERY_SECONDS):
            while True:
                try:
                    connection = await asyncpg.connect(self.admin_dsn)
                except (asyncpg.CannotConnectNowError, OSError):
                    await asyncio.sleep(0.1)
                    continue
                try:
                    if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                        return
                finally:
                    await connection.close()
                await asyncio.sleep(0.1)

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(program(name)), f"--dbname={self.admin_dsn}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def _give(path: Path, example: Path) -> None:
    """Let whoever owns `example` write to `path`: the server does not run as root."""
    owner = example.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
