"""What is archived is provable: in its files, in the database, and when it stops in between."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.cli.connections import connect
from services.runtime.archive import events as archiving
from services.runtime.archive import plan
from services.runtime.archive.files import (
    EventFile,
    Manifest,
    event_problems_in,
    events_in,
    manifest_path,
    write_manifest,
)
from services.runtime.archive.ranges import open_archive
from services.runtime.errors import ConfigurationError, VersionConflict
from services.runtime.key_ring import KeyRing
from services.runtime.log.event_log import StoredEvent, chain_hash
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.log.postgres_transaction import PostgresTransaction
from services.runtime.verify.anchors import AnchorCheck
from services.runtime.verify.logs import Log, verify_logs
from tests.controls import dsn_for
from tests.integration.orders.orders_database import (
    KEYS,
    ROLE,
    Orders,
    failed,
    owner_of,
    unread,
    verified,
)
from tests.unit.orders.builders import renewal

STRANGER = KeyRing({"stranger": b"s" * 32})


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have several files, and several slices of each."""
    monkeypatch.setattr(plan, "RANGE_EVENTS", 6)
    monkeypatch.setattr(archiving, "SLICE", 4)


async def archived(orders: Orders, folder: Path) -> list[Manifest]:
    """Archive four orders; the newest event stays."""
    await orders.buy("ren-1", "ren-2", "ren-3", "ren-4")
    written = (await orders.archive(folder)).written
    assert [(each.first_position, each.last_position) for each in written] == [(1, 6), (7, 11)]
    return written


def written_anew(
    folder: Path, manifest: Manifest, change: Callable[[StoredEvent], StoredEvent]
) -> None:
    """Write a file anew with changed events, every hash and the manifest fitting."""
    stored = [change(each) for each in events_in(folder / manifest.file)]
    file = EventFile(
        folder / manifest.file,
        manifest.service,
        manifest.first_position,
        bytes.fromhex(manifest.previous_hash),
    )
    previous = bytes.fromhex(manifest.previous_hash)
    with file.writing():
        for each in stored:
            previous = chain_hash(previous, each)
            file.add(each._replace(hash=previous))
    write_manifest(folder, file.manifest(), STRANGER)


def cut(folder: Path, manifest: Manifest) -> None:
    """Take the last line away."""
    lines = gzip.decompress((folder / manifest.file).read_bytes()).splitlines(keepends=True)
    (folder / manifest.file).write_bytes(gzip.compress(b"".join(lines[:-1])))


def damaged(folder: Path, manifest: Manifest, damage: str) -> None:
    """Do something to a file of the archive."""
    path = folder / manifest.file
    match damage:
        case "a byte":
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        case "a line":
            cut(folder, manifest)
        case "every hash":
            written_anew(folder, manifest, lambda each: each._replace(account_id="acct-2"))
        case "the manifest":
            content_ = json.loads(manifest_path(folder, manifest.file).read_text())
            content_["last_position"] -= 1
            manifest_path(folder, manifest.file).write_text(json.dumps(content_))
        case "no file":
            path.unlink()
        case _:
            manifest_path(folder, manifest.file).unlink()


@pytest.mark.parametrize(
    "damage", ["a byte", "a line", "every hash", "the manifest", "no file", "no manifest"]
)
async def test_archive_that_was_changed_is_found(orders: Orders, folder: Path, damage: str) -> None:
    manifest = (await archived(orders, folder))[0]
    assert failed(await verified(orders, folder)) == {}

    await asyncio.to_thread(damaged, folder, manifest, damage)

    assert set(failed(await verified(orders, folder))) == {"archive"}
    count, [problem] = event_problems_in(folder, KEYS)
    assert count == 2
    assert manifest.file in problem


async def test_file_with_other_events_is_found_without_keys_too(
    orders: Orders, folder: Path
) -> None:
    manifest = (await archived(orders, folder))[0]
    await asyncio.to_thread(damaged, folder, manifest, "every hash")
    assert event_problems_in(folder, None) == (2, [])

    async with orders.pool.acquire() as connection:
        found = await open_archive(connection, folder, None)

    assert "is not the file that was archived" in found.problems[manifest.shard]


async def test_file_holds_every_column_and_byte_of_what_left(orders: Orders, folder: Path) -> None:
    await orders.buy("ren-1", "ren-2", "ren-3", "ren-4")
    rows = await orders.pool.fetch(f"SELECT {EVENT_COLUMNS} FROM event ORDER BY shard, position")

    written = (await orders.archive(folder)).written

    kept = [each for manifest in written for each in events_in(folder / manifest.file)]
    assert kept == [stored_event(row) for row in rows][:-1]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM event WHERE position = 12",
        "UPDATE shard SET archived_position = 9 WHERE archived_position = 11",
        "DELETE FROM archived_range WHERE first_position = 1",
        "DELETE FROM archived_range",
        "UPDATE archived_range SET last_hash = sha256(last_hash) WHERE last_position = 11",
        "UPDATE archived_range SET last_sequence = 5 WHERE last_position = 11",
    ],
)
async def test_log_that_was_shortened_by_hand_is_found(
    orders: Orders, folder: Path, statement: str
) -> None:
    await archived(orders, folder)
    await orders.execute(statement)

    assert failed(await verified(orders)) != {}
    assert failed(await verified(orders, folder)) != {}


async def test_missing_versions_behind_archived_ones_are_found(
    orders: Orders, folder: Path
) -> None:
    await archived(orders, folder)
    await orders.take(renewal(renewal_id="ren-1", quantity=2))
    assert failed(await verified(orders)) == {}

    await orders.execute("UPDATE event SET stream_version = 5 WHERE stream_id = 'order/ren-1'")

    found = failed(await verified(orders))
    assert found["dense stream versions"] == "versions of order/ren-1 are missing"


async def test_log_that_was_never_archived_and_lost_its_beginning_is_found(
    orders: Orders,
) -> None:
    await orders.buy("ren-1", "ren-2")
    await orders.execute("DELETE FROM event WHERE position <= 3")

    found = failed(await verified(orders))

    assert "position 1 of shard" in found["dense positions"]
    assert "hash chain" in found


async def test_not_even_the_owner_deletes_what_is_in_no_file(orders: Orders, folder: Path) -> None:
    await archived(orders, folder)
    owner = await owner_of(orders.admin_dsn)
    try:
        for statement in ("DELETE FROM event", "DELETE FROM event WHERE position = 12"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await owner.execute(statement)
        shard, last = await owner.fetchrow(
            "SELECT shard, position FROM event ORDER BY position LIMIT 1"
        )
        for first, until in ((last, last), (last + 1, last + 1), (1, last)):
            with pytest.raises(asyncpg.CheckViolationError, match="do not follow"):
                await owner.execute(
                    "INSERT INTO archived_range (shard, first_position, last_position, previous_hash,"
                    " last_hash, last_sequence, file, file_sha256) SELECT $1, $2, $3, last_hash,"
                    " sha256(''), 1, 'f', sha256('') FROM archived_range LIMIT 1",
                    shard,
                    first,
                    until,
                )
    finally:
        await owner.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM event",
        "UPDATE shard SET archived_position = 0 WHERE archived_position > 0",
        "UPDATE archived_stream SET stream_version = 0",
        "DELETE FROM archived_stream",
        "DELETE FROM archived_range",
        "INSERT INTO archived_range SELECT * FROM archived_range",
    ],
)
async def test_service_can_neither_archive_nor_forget_what_is_archived(
    orders: Orders, folder: Path, statement: str
) -> None:
    await archived(orders, folder)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await orders.pool.execute(statement)


async def test_code_that_knows_no_archive_begins_no_stream_anew(
    orders: Orders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archived(orders, folder)
    await orders.again()

    async def forgets(_tx: object, _streams: object) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(PostgresTransaction, "load_streams", forgets)
    with pytest.raises(VersionConflict):
        await orders.take(renewal(renewal_id="ren-1"), name="again")


async def test_nothing_is_deleted_when_a_file_does_not_read_back(
    orders: Orders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await orders.buy("ren-1", "ren-2")

    def unreadable(_folder: Path, file: str, _keys: object) -> Manifest:
        raise ConfigurationError(file)

    monkeypatch.setattr(archiving, "check_file", unreadable)
    with pytest.raises(ConfigurationError, match="nothing was deleted"):
        await orders.archive(folder)

    assert len(await orders.events()) == 6
    assert failed(await verified(orders)) == {}


class Killed(BaseException):
    """The command ends here."""


async def stop_before_a_range(*_: object) -> None:
    """Be killed when a file is written and not noted."""
    raise Killed


async def stop_behind_a_range(run: Any, _shard: int) -> None:
    """Be killed when a range is noted and nothing is deleted yet."""
    if await run.connection.fetchval("SELECT count(*) FROM archived_range"):
        raise Killed


STOPS = {"_register": stop_before_a_range, "_let_go": stop_behind_a_range}


@pytest.mark.parametrize("at", STOPS)
async def test_archive_that_stopped_in_between_goes_on_and_loses_nothing(
    orders: Orders, folder: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    await orders.buy("ren-1", "ren-2", "ren-3", "ren-4")
    before = await verified(orders)

    with monkeypatch.context() as stopping:
        stopping.setattr(f"services.runtime.archive.events._Run.{at}", STOPS[at])
        with pytest.raises(Killed):
            await orders.archive(folder)

    assert len(await orders.events()) == 12
    assert failed(await verified(orders)) == failed(await verified(orders, folder)) == {}
    await orders.again()
    told = await orders.take(renewal(renewal_id="ren-1"), name="again")
    assert told == {"ignored:duplicate_request": 1}

    await orders.archive(folder)

    assert (await orders.archive(folder)).written == []
    assert len(await orders.events()) == 1
    whole = await verified(orders, folder)
    assert failed(whole) == unread(whole) == {}
    assert whole["hash chain"].compared == before["hash chain"].compared


async def test_rows_stay_when_the_file_of_their_range_is_gone(
    orders: Orders, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await orders.buy("ren-1", "ren-2", "ren-3", "ren-4")
    with monkeypatch.context() as stopping:
        stopping.setattr("services.runtime.archive.events._Run._let_go", stop_behind_a_range)
        with pytest.raises(Killed):
            await orders.archive(folder)
    for file in await asyncio.to_thread(lambda: [*folder.glob("*.gz")]):
        await asyncio.to_thread(file.unlink)

    with pytest.raises(ConfigurationError, match="still in the database, and stay there"):
        await orders.archive(folder)

    assert len(await orders.events()) == 12


async def test_heads_kept_outside_are_compared_with_what_is_archived(
    orders: Orders, folder: Path
) -> None:
    written = await archived(orders, folder)
    shard = written[0].shard
    kept = {
        (shard, each.position): {each.hash}
        for manifest in written
        for each in events_in(folder / manifest.file)
    }

    async def check(kept: dict[tuple[int, int], set[bytes]], files: Path | None) -> tuple[Any, ...]:
        async with connect("orders", dsn_for(orders.admin_dsn, ROLE)) as connection:
            found = await open_archive(connection, files, KEYS)
            log = Log("orders", "/billing/orders", connection, archive=found)
            results = await verify_logs([log], {"orders": [AnchorCheck(kept, found)]})
        [heads] = [each for each in results["orders"] if each.name == "expected heads"]
        return heads.problem, heads.unread

    assert await check(kept, folder) == (None, "")
    assert await check(kept, None) == (None, "9 of them lie in what is archived")
    for position, files in ((3, folder), (6, folder), (6, None), (11, None)):
        problem, _ = await check(kept | {(shard, position): {b"another"}}, files)
        assert problem is not None
        assert f"position {position}" in problem
