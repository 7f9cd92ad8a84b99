"""The three services go on over logs whose past is in files, and are verified with and without it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from services.cli.archive.archivals import ARCHIVED
from services.runtime.archive.events import ArchiveOutcome, archive_events
from services.runtime.log.event_log import StoredEvent
from tests.faults.recovery.recovery import perennial
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System
from tests.integration.operation.test_verify_logs import (
    CAUSES,
    FILED,
    Copy,
    failures,
    forged_fact,
    from_wallet,
    play,
    rewrite,
    top_up,
)

SERVICES = ("orders", "ledger", "notifier")


def archived(system: System, service: str, folder: Path) -> ArchiveOutcome:
    """Archive what is over, as if it were long after."""

    async def run() -> ArchiveOutcome:
        owner = await asyncpg.connect(system.admin_dsn, server_settings={"search_path": service})
        later = datetime.now(UTC) + timedelta(days=400)
        try:
            return await archive_events(
                owner, service, ARCHIVED[service], before=later, folder=folder,
                now=later + timedelta(days=400), retention=timedelta(days=30), keys=None,
            )  # fmt: skip
        finally:
            await owner.close()

    return asyncio.run(run())


def unread(system: System, *arguments: str) -> dict[str, str]:
    """Return what `perennial log verify` did not compare, as `log: check`."""
    found: dict[str, Any] = json.loads(
        perennial(system, "log", "verify", "--json", *arguments).stdout
    )
    return {
        f"{service}: {check['name']}": check["unread"]
        for service, checks in found["checks"].items()
        for check in checks
        if "unread" in check
    }


def wait_for_plans(system: System, count: int) -> None:
    """Wait until the ledger has filed so many activations."""
    system.wait_for("a plan", lambda: len(system.events("ledger", "PlanActivated")) == count)


def wait_until_marked(system: System, service: str) -> None:
    """Wait until the service has noted what it published: nothing else leaves for files."""
    left = "SELECT sum(head_position - published_position) FROM shard"
    system.wait_for("the marks", lambda: system.query(service, left)[0][0] == 0)


def wrong_cause(event: StoredEvent) -> StoredEvent:
    """Return a notification of something that never happened."""
    return event._replace(body=forged_fact(event))


def test_services_go_on_over_archived_logs_and_verify_reads_the_files(system: System) -> None:
    play(system)
    folder = system.folder / "archive"
    folder.mkdir()
    wait_until_marked(system, "orders")
    before = system.query("orders", "SELECT sum(head_position) FROM shard")[0][0]
    written = archived(system, "orders", folder).written
    assert sum(each.events for each in written) > before / 2
    files = ("--archive", str(folder))

    assert failures(system) == failures(system, *files, "--topics") == {}
    of_orders = {"archive", "archived streams", "claims on transactions"}
    assert set(unread(system)) == {FILED, *(f"orders: {each}" for each in of_orders)}
    told = f"{sum(each.last_sequence for each in written)} filed events are archived by orders"
    assert unread(system)[FILED] == told
    # What is on the topic is younger than what is ever archived.
    assert set(unread(system, *files, "--topics")) == {"orders: topic = log"}

    # What runs and what starts anew both know what is archived.
    asked = [card_renewal(1, "rnw-card", token="tok_ok"), from_wallet("acct-1")]
    for again in (0, 1):
        orders = "SELECT count(*) FROM event"
        events = system.query("orders", orders)[0][0]
        system.publish("RenewalRequested", *asked, prefix=f"again-{again}")
        system.publish("TopUpRequested", top_up("acct-1"), prefix=f"again-{again}")
        system.publish("RenewalRequested", card_renewal(2, f"rnw-new-{again}", token="tok_ok"))
        wait_for_plans(system, 6 + again)
        assert system.query("orders", orders)[0][0] == events + 3
        archived(system, "notifier", folder)
        for service in SERVICES:
            assert system.children[service].stop() == 0
            system.start(service)
    system.wait_for(
        "told", lambda: system.query("notifier", "SELECT count(*) FROM effect")[0][0] == 0
    )
    for service in SERVICES:
        assert system.children[service].stop() == 0
    assert failures(system) == failures(system, *files) == {}
    assert unread(system, *files) == {}
    assert len(system.events("ledger", "WalletCharged")) == 4


def test_forged_causes_are_found_with_the_files_and_without(system: System) -> None:
    play(system)
    for service in SERVICES:
        assert system.children[service].stop() == 0
    folder = system.folder / "archive"
    folder.mkdir()
    archived(system, "orders", folder)
    copy = Copy(system)
    rewrite(system, "notifier", wrong_cause)

    # The ledger filed what orders archived.
    assert set(failures(system)) == {CAUSES}
    assert set(failures(system, "--archive", str(folder))) == {CAUSES}
    copy.put_back()
    assert failures(system, "--archive", str(folder)) == {}
