"""`perennial archive`: what is closed and old goes to files, whole and provable, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from services.cli.app import app
from services.runtime.errors import ConfigurationError
from services.runtime.flow.operator import archive
from services.runtime.key_ring import KeyRing
from tests.integration.ledger.ledger_database import LedgerDatabase, open_ledger_database
from tests.integration.ledger.test_ledger_books import played

NOW = datetime.now(UTC)
BEFORE = NOW - timedelta(days=60)
RETENTION = timedelta(days=30)
KEYS = KeyRing({"first": b"k" * 32})
_LETTER = """
INSERT INTO dead_letter (topic, topic_id, partition, record_offset, record_key, record_value,
    record_headers, reason, detail, attempts, dead_lettered_at, published_at, account_id, closed_at,
    closed_as, closed_note)
VALUES ('billing.requests.v1', 'id', 0, $1, 'acct-1', 'lin@example.org', '[["name", "TGlu"]]',
    'not_json', 'is no JSON', 1, $2, $4, 'acct-1', $3, CASE WHEN $3::timestamptz IS NOT NULL
    THEN 'discarded' END, 'spam')
"""
_REQUEST = """
INSERT INTO operator_request (request_id, shard, effect_id, content, asked_at, closed_at, closed_as)
VALUES (gen_random_uuid(), 0, $1, '{"by": "ops", "reason": "seen at the gateway"}', $2, $3,
    CASE WHEN $3::timestamptz IS NOT NULL THEN 'applied' END)
"""
OLD, YOUNG = NOW - timedelta(days=90), NOW - timedelta(days=2)


@pytest.fixture
async def ledger(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LedgerDatabase]:
    """Return books with letters and requests of every age and state."""
    monkeypatch.setattr(archive, "AT_ONCE", 2)
    async with open_ledger_database(fresh_database) as database:
        await database.feed(played(30).records())
        async with database.connect() as connection:
            for offset in range(5):
                await connection.execute(_LETTER, offset, OLD, OLD, OLD)
            await connection.execute(_LETTER, 10, OLD, YOUNG, OLD)
            await connection.execute(_LETTER, 11, OLD, OLD, None)
            for number in range(3):
                await connection.execute(_REQUEST, f"old/{number}", OLD, OLD)
            await connection.execute(_REQUEST, "open", OLD, None)
            await connection.execute(_REQUEST, "young", OLD, YOUNG)
        yield database


async def archived(ledger: LedgerDatabase, folder: Path) -> list[archive.Archived]:
    """Archive what was closed 60 days ago, as the owner of the tables."""
    owner = await asyncpg.connect(ledger.admin_dsn, server_settings={"search_path": "ledger"})
    try:
        return await archive.archive_closed(
            owner, "ledger", before=BEFORE, folder=folder, now=NOW, retention=RETENTION, keys=KEYS
        )
    finally:
        await owner.close()


def rows_of(found: archive.Archived) -> list[dict[str, Any]]:
    """Return the rows of an archive."""
    return [json.loads(line) for line in found.file.read_text().splitlines()]


async def left(ledger: LedgerDatabase) -> tuple[list[int], list[str]]:
    """Return the offsets of the letters and the effects of the requests that the database holds."""
    async with ledger.connect() as connection:
        letters = await connection.fetch("SELECT record_offset FROM dead_letter ORDER BY 1")
        requests = await connection.fetch("SELECT effect_id FROM operator_request ORDER BY 1")
    return [row[0] for row in letters], [row[0] for row in requests]


async def test_what_was_closed_long_ago_is_in_files_and_the_books_stay_sound(
    ledger: LedgerDatabase, tmp_path: Path
) -> None:
    assert await ledger.failed() == {}

    found = await archived(ledger, tmp_path)

    assert [(each.kind, each.rows) for each in found] == [("letters", 5), ("requests", 3)]
    letters, requests = (
        [json.loads(line) for line in each.file.read_text().splitlines()] for each in found
    )
    assert [row["record_offset"] for row in letters] == [0, 1, 2, 3, 4]
    assert {row["effect_id"] for row in requests} == {"old/0", "old/1", "old/2"}
    assert requests[0]["content"]["by"] == "ops"
    assert await left(ledger) == ([10, 11], ["open", "young"])
    assert archive.problems_in(tmp_path, KEYS) == (2, [])
    assert await ledger.failed() == {}
    assert await archived(ledger, tmp_path) == []
    assert archive.problems_in(tmp_path, KEYS) == (2, [])


async def test_archive_holds_nothing_of_a_record_but_its_hash(
    ledger: LedgerDatabase, tmp_path: Path
) -> None:
    text = (await archived(ledger, tmp_path))[0].file.read_text()

    assert "lin@" not in text
    assert "TGlu" not in text
    assert json.loads(text.splitlines()[0])["value_bytes_kept"] == len("lin@example.org")


@pytest.mark.parametrize("damage", ["row", "missing row", "manifest", "lost file", "lost manifest"])
async def test_tampered_archive_is_found(
    ledger: LedgerDatabase, tmp_path: Path, damage: str
) -> None:
    file = (await archived(ledger, tmp_path))[0].file
    manifest = file.with_suffix(archive.MANIFEST)
    match damage:
        case "row":
            file.write_text(file.read_text().replace("spam", "ham!", 1))
        case "missing row":
            file.write_text(file.read_text().partition("\n")[2])
        case "manifest":
            rest = file.read_text().partition("\n")[2]
            file.write_text(rest)
            content = json.loads(manifest.read_text())
            digest = sha256(rest.encode()).hexdigest()
            manifest.write_text(json.dumps(content | {"rows": 4, "sha256": digest}))
        case "lost file":
            file.unlink()
        case _:
            manifest.unlink()

    count, [problem] = archive.problems_in(tmp_path, KEYS)

    assert count == 2
    assert file.name in problem


async def test_nothing_is_deleted_when_the_files_do_not_read_back(
    ledger: LedgerDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await left(ledger)
    monkeypatch.setattr(archive, "problem_of", lambda file, _keys: f"{file.name} is short")

    with pytest.raises(ConfigurationError, match="nothing was deleted"):
        await archived(ledger, tmp_path)

    assert await left(ledger) == before


async def test_what_may_come_again_from_its_topic_is_not_archived(
    ledger: LedgerDatabase, tmp_path: Path
) -> None:
    async with ledger.connect() as connection:
        with pytest.raises(ConfigurationError, match="may come again"):
            await archive.archive_closed(
                connection,
                "ledger",
                before=NOW - timedelta(days=30),
                folder=tmp_path,
                now=NOW,
                retention=RETENTION,
                keys=None,
            )


async def test_role_of_the_service_may_not_delete_what_it_archives(
    ledger: LedgerDatabase, tmp_path: Path
) -> None:
    before = await left(ledger)
    async with ledger.connect() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await archive.archive_closed(
                connection,
                "ledger",
                before=BEFORE,
                folder=tmp_path,
                now=NOW,
                retention=RETENTION,
                keys=None,
            )
    assert await left(ledger) == before


async def perennial(*arguments: str) -> Result:
    """Run the command beside the loop of the test."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["archive", *arguments])


async def test_command_archives_and_checks(
    ledger: LedgerDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("PERENNIAL_ADMIN_DSN", ledger.admin_dsn)
    day = f"{BEFORE:%Y-%m-%d}"
    arguments = ("closed", "--service", "ledger", "--before", day, "--to", str(tmp_path))

    done = await perennial(*arguments)
    again = await perennial(*arguments)

    assert done.exit_code == 0, done.output
    assert "5 letters of ledger" in done.output
    assert "nothing of ledger was closed before" in again.output
    sound = await perennial("check", str(tmp_path))
    assert (sound.exit_code, sound.output) == (0, "2 sound\n")
    for file in await asyncio.to_thread(lambda: list(tmp_path.glob("*letters*.jsonl"))):
        file.write_text("")
    wrong = await perennial("check", str(tmp_path))
    assert wrong.exit_code == 1
    assert "1 of 2 archives wrong" in wrong.output
