"""What keeps the id of an archived order used up is compared with the files, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from services.cli.archive.archivals import ARCHIVED
from services.runtime.archive import events as archiving
from services.runtime.archive import plan
from services.runtime.archive.ranges import open_archive
from services.runtime.verify.archived_streams import check_archived_streams
from services.runtime.verify.checks import Check
from tests.integration.orders.orders_database import KEYS, Orders, failed, owner_of, verified
from tests.unit.orders.builders import renewal

TAMPERINGS: Mapping[str, tuple[str, str]] = {
    "a row is gone": (
        "DELETE FROM archived_stream WHERE stream_id = 'order/ren-2'",
        "nothing is left of order/ren-2",
    ),
    "a row of no order": (
        (
            "INSERT INTO archived_stream SELECT 'order/victim', shard, stream_version, first_position,"
            " last_position, account_id, recorded_at, remains FROM archived_stream LIMIT 1"
        ),
        "no file has an event",
    ),
    "another digest": (
        (
            "UPDATE archived_stream SET remains = (jsonb_set(convert_from(remains, 'UTF8')::jsonb,"
            " '{digest}', '\"0\"')::text)::bytea WHERE stream_id = 'order/ren-1'"
        ),
        "is not what its events come to",
    ),
    "an earlier version": (
        (
            "UPDATE archived_stream SET stream_version = stream_version - 1"
            " WHERE stream_id = 'order/ren-1'"
        ),
        "does not fit its events",
    ),
    "a later version": (
        (
            "UPDATE archived_stream SET stream_version = stream_version + 1"
            " WHERE stream_id = 'order/ren-1'"
        ),
        "does not fit its events",
    ),
    "another account": (
        "UPDATE archived_stream SET account_id = 'acct-9' WHERE stream_id = 'order/ren-1'",
        "does not fit its events",
    ),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have several files, and an order that lies in two of them."""
    monkeypatch.setattr(plan, "RANGE_EVENTS", 4)
    monkeypatch.setattr(archiving, "SLICE", 3)


async def compared(orders: Orders, folder: Path | None) -> Check:
    owner = await owner_of(orders.admin_dsn)
    try:
        archive = await open_archive(owner, folder, KEYS)
        return await check_archived_streams(owner, archive, ARCHIVED["orders"])
    finally:
        await owner.close()


async def test_what_is_left_of_orders_fits_their_files_also_where_the_last_events_stayed(
    orders: Orders, folder: Path
) -> None:
    await orders.buy("ren-1", "ren-2", "ren-3")
    await orders.archive(folder)
    check = await compared(orders, folder)
    assert (check.problem, check.compared, check.unread) == (None, "3 streams", "")
    unread = await compared(orders, None)
    assert unread.ok
    assert "--archive" in unread.unread
    await orders.take(renewal(renewal_id="ren-1", quantity=3))
    assert (await compared(orders, folder)).problem is None
    assert failed(await verified(orders, folder)) == {}
    await orders.buy("ren-4")
    await orders.archive(folder)
    check = await compared(orders, folder)
    assert (check.problem, check.compared) == (None, "4 streams")


@pytest.mark.parametrize("tampering", TAMPERINGS)
async def test_what_is_left_of_an_order_and_was_changed_is_found(
    orders: Orders, folder: Path, tampering: str
) -> None:
    statement, problem = TAMPERINGS[tampering]
    await orders.buy("ren-1", "ren-2", "ren-3")
    await orders.archive(folder)
    await orders.execute(statement)
    found = (await compared(orders, folder)).problem
    assert found is not None
    assert problem in found
