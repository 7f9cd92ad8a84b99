"""Applies SQL migrations in dbmate's file format and `schema_migrations` table.

Beyond dbmate: an advisory lock, so that several processes may start at once; a content hash for each
applied file, so that an edited migration is refused; and a migration that gives way to the services
that run, so that it neither makes them wait for long nor ends in a deadlock with them. dbmate itself
works on the same folders.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asyncpg.exceptions import DeadlockDetectedError, LockNotAvailableError

from services.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection | PoolConnectionProxy

_FILE_NAME: Final = re.compile(r"^(\d+)_[a-z0-9_]+\.sql$")
_UP: Final = re.compile(r"^-- migrate:up.*$", re.MULTILINE)
_DOWN: Final = re.compile(r"^-- migrate:down.*$", re.MULTILINE)
_LOCK_TIMEOUT_MS: Final = 500
"""Less than Postgres' deadlock_timeout: the migration gives way before a service is made to."""
_PAUSE_SECONDS: Final = 0.5
_ATTEMPTS: Final = 120
RUNTIME_MIGRATIONS: Final = Path(__file__).parents[1] / "migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `version` is its leading number, `up` its first section."""

    version: str
    path: Path
    up: str
    sha256: str


def read_migrations(folders: Sequence[Path]) -> list[Migration]:
    """Return the migrations of all `folders` in version order.

    Raises:
        ConfigurationError: a file is not in dbmate's format, or two share a version.
    """
    found: dict[str, Migration] = {}
    for path in sorted(path for folder in folders for path in folder.glob("*.sql")):
        name, text = _FILE_NAME.match(path.name), path.read_text(encoding="utf-8")
        up, down = _UP.search(text), _DOWN.search(text)
        if name is None or up is None or down is None or down.start() < up.end():
            message = (
                f"{path}: name it <digits>_<words>.sql, with a line '-- migrate:up' "
                "and below it a line '-- migrate:down'"
            )
            raise ConfigurationError(message)
        version = name.group(1)
        if version in found:
            message = f"{path} and {found[version].path} share version {version}: rename one"
            raise ConfigurationError(message)
        digest = hashlib.sha256(text.encode()).hexdigest()
        found[version] = Migration(version, path, text[up.end() : down.start()], digest)
    return [found[version] for version in sorted(found)]


async def applied_versions(connection: Connection) -> dict[str, str | None]:
    """Return version -> content hash (None when dbmate applied it) of the current schema."""
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    rows = await connection.fetch(
        "SELECT version, sha256 FROM schema_migrations LEFT JOIN migration_hash USING (version)"
        if await connection.fetchval("SELECT to_regclass('migration_hash')")
        else "SELECT version, NULL AS sha256 FROM schema_migrations"
    )
    return {row["version"]: row["sha256"] for row in rows}


def check_applied(migrations: Sequence[Migration], applied: dict[str, str | None]) -> None:
    """Compare what the database has with what this code knows.

    Raises:
        ConfigurationError: the database is newer than this code, or an applied file was edited.
    """
    known = {migration.version: migration for migration in migrations}
    for version, digest in sorted(applied.items()):
        if version not in known:
            message = (
                f"the database has migration {version}, which this version of the code does not "
                "know: deploy the version that made it, or a newer one"
            )
            raise ConfigurationError(message)
        if digest is not None and digest != known[version].sha256:
            message = (
                f"{known[version].path.name} was changed after it was applied: "
                "restore it and write the change as a new migration"
            )
            raise ConfigurationError(message)


async def migrate(connection: asyncpg.Connection, folders: Sequence[Path]) -> list[str]:
    """Apply what is missing, in version order, each file in a transaction of its own.

    `connection` must have the service's schema first in its search_path and may own it.
    Returns the versions applied now.

    Raises:
        ConfigurationError: as `read_migrations` and `check_applied`, or a table stayed in use.
    """
    migrations = read_migrations(folders)
    schema = await connection.fetchval("SELECT current_schema()")
    lock = f"perennial migrations of {schema}"
    await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", lock)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version varchar(128) PRIMARY KEY);"
            "CREATE TABLE IF NOT EXISTS migration_hash"
            " (version varchar(128) PRIMARY KEY, sha256 text NOT NULL)"
        )
        applied = await applied_versions(connection)
        check_applied(migrations, applied)
        missing = [migration for migration in migrations if migration.version not in applied]
        for migration in missing:
            await _apply(connection, migration)
        return [migration.version for migration in missing]
    finally:
        await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", lock)


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    """Apply one file; while a table of it is in use, give way and try again."""
    for _ in range(_ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}")
                await connection.execute(migration.up)
                await connection.execute(
                    "INSERT INTO schema_migrations VALUES ($1)", migration.version
                )
                await connection.execute(
                    "INSERT INTO migration_hash VALUES ($1, $2)",
                    migration.version,
                    migration.sha256,
                )
        except (DeadlockDetectedError, LockNotAvailableError):
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return
    message = (
        f"migration {migration.path.name} found its tables in use {_ATTEMPTS} times and changed "
        "nothing: look in pg_stat_activity for a transaction that stays open, a dump for example, "
        "end it or wait for its end, and run `perennial setup` again"
    )
    raise ConfigurationError(message)
