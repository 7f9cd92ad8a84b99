"""What operators do with archived events: archive, check, verify, show, recover; and mail twice none."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from schemas import BILLING
from services.cli.app import app
from services.cli.connections import connect
from services.cli.setup.setup import set_up_postgres
from services.notifier.notification.archival import NOTIFICATION_STREAMS
from services.runtime.archive import events as archiving
from services.runtime.errors import ConfigurationError
from services.runtime.processor import Streams
from tests.controls import dsn_for
from tests.integration.notifier.notifier_database import notifier_on
from tests.integration.orders.orders_database import LATER, ROLE, SHARDS, Orders
from tests.unit.orders.builders import in_app, renewal

DAY = "2027-01-01"


@pytest.fixture
def operator(fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of the commands; nothing is too young."""
    keys = tmp_path / "keys"
    keys.write_text("first:" + "6b" * 32)
    monkeypatch.setenv("PERENNIAL_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("PERENNIAL_ADMIN_DSN", fresh_database)
    monkeypatch.setenv("PERENNIAL_ANCHOR_KEYS_FILE", str(keys))
    for service in ("orders", "ledger", "notifier"):
        role = ROLE.replace("orders", service)
        monkeypatch.setenv(
            f"PERENNIAL_{service.upper()}_POSTGRES_DSN", dsn_for(fresh_database, role)
        )
    monkeypatch.setattr(archiving, "SEGMENTS_OUTLIVE", timedelta(days=-1030))


async def perennial(*arguments: str) -> Result:
    """Run the command beside the loop of the test."""
    return await asyncio.to_thread(CliRunner().invoke, app, [*arguments])


async def archive(folder: Path, service: str = "orders", before: str = DAY) -> Result:
    """Run `perennial archive events`."""
    arguments = ("--service", service, "--before", before, "--to", str(folder))
    return await perennial("archive", "events", *arguments)


@pytest.mark.usefixtures("operator")
async def test_command_archives_says_what_stays_and_is_checked(
    orders: Orders, folder: Path
) -> None:
    await orders.buy("ren-1")
    await orders.take(renewal(renewal_id="ren-2", payment=in_app()))
    await orders.publish()

    done, again = await archive(folder), await archive(folder)

    assert done.exit_code == 0, done.output
    assert "3 events of orders, positions 1 to 3 of shard" in done.output
    assert "no events of orders before 2027-01-01 00:00:00 UTC may leave" in again.output
    assert (await perennial("archive", "check", str(folder))).output == "1 sound\n"
    only = ("log", "verify", "--service", "orders")
    assert "what was read of the logs is sound" in (await perennial(*only)).output
    with_files = await perennial(*only, "--archive", str(folder))
    assert (with_files.exit_code, "the logs are sound" in with_files.output) == (0, True)
    [file] = await asyncio.to_thread(lambda: [*folder.glob("*.gz")])
    await asyncio.to_thread(file.write_bytes, b"")
    wrong = await perennial("archive", "check", str(folder))
    assert (wrong.exit_code, "1 of 1 archive" in wrong.output) == (1, True)
    found = await perennial(*only, "--archive", str(folder), "--json")
    assert found.exit_code == 1
    [bad] = [each for each in json.loads(found.output)["checks"]["orders"] if not each["ok"]]
    assert bad["name"] == "archive"


@pytest.mark.usefixtures("operator", "orders")
async def test_ledger_and_young_events_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = await archive(folder, "ledger")
    assert isinstance(refused.exception, ConfigurationError)
    assert "its balances are the sums of all of them" in str(refused.exception)
    monkeypatch.setattr(archiving, "SEGMENTS_OUTLIVE", timedelta(days=8))
    refused = await archive(folder)
    assert "what is younger than 38 days may still be on its topic" in str(refused.exception)


@pytest.mark.usefixtures("operator")
async def test_nothing_is_archived_while_somebody_verifies(orders: Orders, folder: Path) -> None:
    await orders.buy("ren-1")
    async with orders.pool.acquire() as connection:
        await archiving.hold_archive(connection)
        refused = await archive(folder)
        assert "somebody verifies or archives this log" in str(refused.exception)
        await connection.execute("SELECT pg_advisory_unlock_all()")
    assert (await archive(folder)).exit_code == 0


@pytest.mark.usefixtures("operator")
async def test_archived_order_is_shown_with_its_file_and_published_no_more(
    orders: Orders, folder: Path
) -> None:
    for service in ("ledger", "notifier"):
        await set_up_postgres(orders.admin_dsn, service, "secret", SHARDS)
    await orders.buy("ren-1", "ren-2")
    [manifest] = (await orders.archive(folder)).written

    shown = await perennial("orders", "show", "ren-1", "--json")

    [row] = json.loads(shown.output)
    assert (row["type"], row["data"]["files"]) == ("archived", [manifest.file])
    assert row["position"] == f"{manifest.shard}/1-3"
    both = json.loads((await perennial("orders", "show", "ren-2", "--json")).output)
    assert [each["type"] for each in both] == ["archived", "billing.PlanActivated.v1"]
    refused = await perennial("recover", "republish", "orders", "--from-position", "5")
    assert "positions up to 5 are archived" in str(refused.exception)
    assert (
        await perennial("recover", "republish", "orders", "--from-position", "6")
    ).exit_code == 0


async def test_customer_is_not_told_again_of_what_is_archived(
    fresh_database: str, folder: Path
) -> None:
    async with notifier_on(fresh_database) as notifier:
        await notifier.take(notifier.contact_changed("lin@example.org"))
        await notifier.take(notifier.record("PlanActivated"), notifier.record("PaymentFailed"))
        await notifier.settle(until=2)
        ends = await notifier.log.ends()
        await notifier.log.mark_published(ends)
        owner = await asyncpg.connect(fresh_database, server_settings={"search_path": "notifier"})
        try:
            outcome = await archiving.archive_events(
                owner, "notifier", Streams(BILLING, NOTIFICATION_STREAMS), before=LATER,
                folder=folder, now=LATER + timedelta(days=400), retention=timedelta(days=30), keys=None,
            )  # fmt: skip
            # Nothing but the notifications themselves can tell that these facts come again.
            await owner.execute("DELETE FROM source_sequence; DELETE FROM taken_event")
        finally:
            await owner.close()
        notifier.sequences.clear()
        assert [each.events for each in outcome.written] == [1]
        await notifier.stop()
        notifier.start()
        mails = len(notifier.postbox.mails)

        told = await notifier.take(
            notifier.record("PlanActivated"), notifier.record("PaymentFailed")
        )

        # A fact is sent on to its channels, and it is their archived streams that have nothing to do.
        assert told == {"applied": 2}
        assert await notifier.pool.fetchval("SELECT count(*) FROM effect") == 0
        await asyncio.sleep(0.3)
        assert len(notifier.postbox.mails) == mails


@pytest.mark.usefixtures("operator")
async def test_claims_of_archived_orders_are_made_anew_from_their_files(
    orders: Orders, folder: Path
) -> None:
    await orders.buy("ren-1", "ren-2")
    await orders.archive(folder)
    before = await orders.pool.fetch("TABLE gateway_transaction")
    await orders.stop()
    await orders.pool.close()
    await orders.execute("DELETE FROM gateway_transaction")

    without = await perennial("recover", "claims", "--yes")
    whole = await perennial("recover", "claims", "--yes", "--archive", str(folder))

    assert "0 transactions of orders are claimed again" in without.output
    assert "2 transactions of orders are claimed again" in whole.output, whole.output
    async with connect("orders") as connection:
        after = await connection.fetch("TABLE gateway_transaction")
    assert {tuple(row) for row in after} == {tuple(row) for row in before}
