"""SQL files in dbmate's format, applied once each, in order, by one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from services.runtime.errors import ConfigurationError
from services.runtime.log.migrator import applied_versions, check_applied, migrate, read_migrations

Write = Callable[..., Path]
FILE = "-- migrate:up\n{up}\n-- migrate:down\n{down}\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a migration and returns its folder."""

    def make(name: str, up: str, *, down: str = "SELECT 1;", folder: str = "one") -> Path:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / name).write_text(FILE.format(up=up, down=down))
        return place

    return make


@pytest.fixture
async def connection(fresh_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(fresh_database)
    try:
        yield connection
    finally:
        await connection.close()


async def connect(dsn: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE SCHEMA IF NOT EXISTS toys; SET search_path = toys")
    return connection


async def test_files_of_all_folders_are_applied_in_the_order_of_their_versions_and_once(
    connection: asyncpg.Connection, write: Write
) -> None:
    second = write("20260102_second.sql", "INSERT INTO step VALUES ('second');", folder="b")
    first = write("20260101_first.sql", "CREATE TABLE step (name text);", folder="c")
    third = write("20260103_third.sql", "INSERT INTO step VALUES ('third');", folder="a")
    folders = [second, first, third]
    assert await migrate(connection, folders) == ["20260101", "20260102", "20260103"]
    assert await migrate(connection, folders) == []
    rows = await connection.fetch("SELECT name FROM step")
    assert [row["name"] for row in rows] == ["second", "third"]


async def test_down_section_is_never_run(connection: asyncpg.Connection, write: Write) -> None:
    folder = write("1_toy.sql", "CREATE TABLE toy ();", down="DROP TABLE toy;")
    await migrate(connection, [folder])
    assert await connection.fetchval("SELECT to_regclass('toy')") == "toy"


async def test_applied_file_that_was_edited_is_refused(
    connection: asyncpg.Connection, write: Write
) -> None:
    folder = write("1_toy.sql", "CREATE TABLE toy ();")
    await migrate(connection, [folder])
    write("1_toy.sql", "CREATE TABLE toy (more text);")
    with pytest.raises(ConfigurationError, match=r"1_toy.sql was changed after it was applied"):
        await migrate(connection, [folder])


async def test_database_of_a_newer_version_is_refused(
    connection: asyncpg.Connection, write: Write
) -> None:
    folder = write("1_toy.sql", "CREATE TABLE toy ();")
    write("2_newer.sql", "CREATE TABLE newer ();")
    await migrate(connection, [folder])
    (folder / "2_newer.sql").unlink()
    with pytest.raises(ConfigurationError, match="deploy the version that made it"):
        await migrate(connection, [folder])


async def test_failed_file_leaves_nothing_of_itself_and_keeps_those_before_it(
    connection: asyncpg.Connection, write: Write
) -> None:
    folder = write("1_toy.sql", "CREATE TABLE toy ();")
    write("2_wrong.sql", "CREATE TABLE half (); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, [folder])
    assert list(await applied_versions(connection)) == ["1"]
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    write("2_wrong.sql", "CREATE TABLE whole ();")
    assert await migrate(connection, [folder]) == ["2"]


async def test_processes_that_start_together_apply_each_file_once(
    fresh_database: str, write: Write
) -> None:
    folder = write("1_toy.sql", "CREATE TABLE toy (); SELECT pg_sleep(0.3);")
    connections = [await connect(fresh_database) for _ in range(4)]
    try:
        done = await asyncio.gather(*(migrate(each, [folder]) for each in connections))
    finally:
        for each in connections:
            await each.close()
    assert sorted(done) == [[], [], [], ["1"]]


async def test_migration_gives_way_to_who_holds_a_table_and_waits_for_another(
    fresh_database: str, write: Write
) -> None:
    folder = write("1_toys.sql", "CREATE TABLE first (); CREATE TABLE last ();")
    migrating, working = [await connect(fresh_database) for _ in range(2)]
    try:
        await migrate(migrating, [folder])
        write(
            "2_more.sql", "ALTER TABLE first ADD COLUMN a int; ALTER TABLE last ADD COLUMN a int;"
        )
        async with working.transaction():
            await working.execute("SELECT * FROM last")
            migration = asyncio.create_task(migrate(migrating, [folder]))
            await _until_it_waits(working)
            await working.execute("SELECT * FROM first")
        assert await migration == ["2"]
    finally:
        await working.close()
        await migrating.close()


async def _until_it_waits(connection: asyncpg.Connection) -> None:
    """Return when the migration holds its first table and waits for its last."""
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'last'::regclass"
    while not await connection.fetchval(waiting):  # noqa: ASYNC110 - Postgres has no signal for it
        await asyncio.sleep(0.01)


async def test_migration_whose_table_stays_in_use_says_what_to_look_for(
    fresh_database: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.log.migrator._ATTEMPTS", 2)
    folder = write("1_toy.sql", "CREATE TABLE toy ();")
    migrating, working = [await connect(fresh_database) for _ in range(2)]
    try:
        await migrate(migrating, [folder])
        write("2_more.sql", "ALTER TABLE toy ADD COLUMN a int;")
        async with working.transaction():
            await working.execute("SELECT * FROM toy")
            with pytest.raises(
                ConfigurationError, match=r"2_more.sql found .* in pg_stat_activity"
            ):
                await migrate(migrating, [folder])
        assert list(await applied_versions(migrating)) == ["1"]
    finally:
        await working.close()
        await migrating.close()


async def test_file_that_dbmate_applied_is_known_and_its_content_not_compared(
    connection: asyncpg.Connection, write: Write
) -> None:
    folder = write("1_toy.sql", "CREATE TABLE toy ();")
    await connection.execute(
        "CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);"
        " INSERT INTO schema_migrations VALUES ('1')"
    )
    assert await applied_versions(connection) == {"1": None}
    assert await migrate(connection, [folder]) == []


async def test_schema_without_migrations_has_none_applied(connection: asyncpg.Connection) -> None:
    assert await applied_versions(connection) == {}


def test_what_is_missing_in_the_database_is_no_reason_to_refuse(write: Write) -> None:
    migrations = read_migrations([write("1_toy.sql", "SELECT 1;")])
    check_applied(migrations, {})
    check_applied(migrations, {"1": migrations[0].sha256})


@pytest.mark.parametrize("name", ["toy.sql", "1-toy.sql", "1_Toy.sql", "1_.sql"])
def test_file_with_another_kind_of_name_is_refused(write: Write, name: str) -> None:
    with pytest.raises(ConfigurationError, match="<digits>_<words>"):
        read_migrations([write(name, "SELECT 1;")])


@pytest.mark.parametrize(
    "text", ["SELECT 1;", "-- migrate:up\n", "-- migrate:down\nx\n-- migrate:up\ny\n"]
)
def test_file_without_both_sections_in_order_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "1_toy.sql").write_text(text)
    with pytest.raises(ConfigurationError, match="migrate:down"):
        read_migrations([tmp_path])


def test_two_files_of_one_version_are_refused(write: Write) -> None:
    folders = [write("1_toy.sql", "SELECT 1;"), write("1_other.sql", "SELECT 1;", folder="two")]
    with pytest.raises(ConfigurationError, match="share version 1"):
        read_migrations(folders)
