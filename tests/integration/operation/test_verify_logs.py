"""`perennial log verify` finds what was changed in a log, and what its producer never wrote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS
from services.runtime.log.event_log import ShardHead, StoredEvent, chain_hash
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from tests.faults.recovery.recovery import perennial
from tests.faults.requests import card_renewal
from tests.infrastructure.system import System

_EVENTS = f"SELECT {EVENT_COLUMNS} FROM event WHERE shard = $1 ORDER BY position"
STRANGE = UUID(int=7)
SECOND = timedelta(seconds=1)
AN_EVENT = (
    "(shard, position) = (SELECT shard, position FROM event WHERE type LIKE '%WalletToppedUp%'"
    " ORDER BY shard, position LIMIT 1)"
)


def tamper(system: System, service: str, *statements: str) -> None:
    """Change rows as the administrator, with every trigger off."""
    asyncio.run(_tamper(system, service, statements))


async def _tamper(system: System, service: str, statements: tuple[str, ...]) -> None:
    connection = await asyncpg.connect(system.admin_dsn, server_settings={"search_path": service})
    try:
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def rewrite(
    system: System, service: str, change: Callable[[StoredEvent], StoredEvent | None]
) -> None:
    """Change events as an owner of the tables does who knows everything: every hash and head fits."""

    async def run() -> None:
        connection = await asyncpg.connect(
            system.admin_dsn, server_settings={"search_path": service}
        )
        try:
            await connection.execute("SET session_replication_role = replica")
            for (shard,) in await connection.fetch(
                "SELECT shard FROM shard WHERE head_position > 0"
            ):
                events = [stored_event(row) for row in await connection.fetch(_EVENTS, shard)]
                head, written = ShardHead(), list[StoredEvent]()
                for event in events:
                    if (changed := change(event)) is None:
                        continue
                    changed = changed._replace(position=head.position + 1)
                    head.hash = chain_hash(head.hash, changed)
                    head.position = changed.position
                    written.append(changed._replace(hash=head.hash))
                await connection.execute("DELETE FROM event WHERE shard = $1", shard)
                await connection.copy_records_to_table(
                    "event", columns=EVENT_COLUMNS.split(", "), records=written
                )
                await connection.execute(
                    "UPDATE shard SET head_position = $2, head_hash = $3,"
                    " published_position = least(published_position, $2) WHERE shard = $1",
                    shard,
                    head.position,
                    head.hash,
                )
        finally:
            await connection.close()

    asyncio.run(run())


def failures(system: System, *arguments: str) -> dict[str, str]:
    """Return what `perennial log verify` finds, as `log: check` and the problem."""
    done = perennial(system, "log", "verify", "--json", *arguments)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    failed = {
        f"{service}: {check['name']}": str(check["problem"])
        for service, checks in found["checks"].items()
        for check in checks
        if not check["ok"]
    }
    assert found["ok"] is (not failed) is (done.returncode == 0)
    return failed


class Copy:
    """Puts the tables of all services back to how they were."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._tables = ("event", "shard", "source_sequence", "amount", "balance", "cursor")
        self._each("CREATE TABLE kept_{0} AS TABLE {0}")

    def put_back(self) -> None:
        """Undo whatever was done."""
        self._each("DELETE FROM {0}; INSERT INTO {0} SELECT * FROM kept_{0}")

    def _each(self, statement: str) -> None:
        for service in ("orders", "ledger", "notifier"):
            tables = self._tables if service == "ledger" else (*self._tables[:3], "cursor")
            tamper(self._system, service, *(statement.format(name) for name in tables))


def play(system: System) -> None:
    """Have customers top up and pay by card and from the wallet; everybody has read everything."""
    heads = system.folder / "heads"
    heads.mkdir()
    system.start_mail_sink()
    for service in ("orders", "ledger", "notifier"):
        system.start(service, ANCHOR_FOLDER=heads, ANCHOR_SECONDS=1)
    accounts = [f"acct-{number}" for number in range(1, 5)]
    system.publish("CustomerContactChanged", *(contact(account) for account in accounts))
    system.publish("TopUpRequested", *(top_up(account) for account in accounts))
    system.wait_for("credit", lambda: len(system.events("ledger", "WalletToppedUp")) == 4)
    system.publish("RenewalRequested", *(from_wallet(account) for account in accounts))
    system.publish("RenewalRequested", card_renewal(1, "rnw-card", token="tok_ok"))
    system.wait_for("plans", lambda: len(system.events("orders", "PlanActivated")) == 5)
    system.wait_for("filed", lambda: len(system.events("ledger", "PlanActivated")) == 5)
    told = "SELECT count(*) FROM event"
    system.wait_for("told", lambda: system.query("notifier", told)[0][0] >= 9)


def contact(account: str) -> dict[str, Any]:
    return {
        "account_id": account,
        "contact": {"email": f"{account}@example.org", "locale": "en", "time_zone": "UTC"},
        "changed_at": "2026-11-20T07:00:00Z",
    }


def top_up(account: str) -> dict[str, Any]:
    return {
        "account_id": account,
        "topup_id": f"top-{account}",
        "amount": {"amount_minor": 5_000, "currency": "EUR"},
        "payment": {"method": "card", "mode": "charge", "currency": "EUR", "token": "tok_ok"},
        "requested_at": "2026-11-20T08:00:00Z",
    }


def from_wallet(account: str) -> dict[str, Any]:
    renewal = card_renewal(int(account[5:]), f"rnw-{account}", token="tok_ok")
    payment = {"method": "wallet", "mode": "wallet", "currency": "EUR"}
    return {**renewal, "account_id": account, "payment": payment}


def changed_body(event: StoredEvent) -> StoredEvent:
    """Return a top-up that says ten times as much; everything else stays."""
    if "WalletToppedUp" not in event.type:
        return event
    return event._replace(body=event.body.replace(b'"amount_minor":5', b'"amount_minor":50'))


FILED, CAUSES = "ledger: filed = orders", "notifier: causes of notifier"
TAMPERINGS: dict[str, tuple[Callable[[System], None], set[str]]] = {
    "a body of orders": (
        lambda s: tamper(
            s, "orders", f"UPDATE event SET body = body || ' '::bytea WHERE {AN_EVENT}"
        ),
        {"orders: hash chain", FILED},
    ),
    "a body of the notifier": (
        lambda s: tamper(
            s, "notifier", "UPDATE event SET body = body || ' '::bytea WHERE position = 1"
        ),
        {"notifier: hash chain"},
    ),
    "a head of the notifier": (
        lambda s: tamper(s, "notifier", "UPDATE shard SET head_hash = 'x' WHERE head_position > 0"),
        {"notifier: hash chain"},
    ),
    "the positions of the notifier": (
        lambda s: tamper(
            s,
            "notifier",
            "UPDATE shard SET head_position = head_position + 1 WHERE head_position > 0",
        ),
        {"notifier: dense positions"},
    ),
    "a number of the notifier used twice": (
        lambda s: rewrite(s, "notifier", lambda e: e._replace(sequence=max(1, e.sequence - 1))),
        {"notifier: dense own sequences"},
    ),
    "the last number of the notifier": (
        lambda s: tamper(
            s,
            "notifier",
            "UPDATE shard SET head_sequence = head_sequence + 1 WHERE head_position > 0",
        ),
        {"notifier: dense own sequences"},
    ),
    "more published than there is": (
        lambda s: tamper(
            s,
            "notifier",
            "ALTER TABLE shard DROP CONSTRAINT shard_check",
            "UPDATE shard SET published_position = head_position + 1",
        ),
        {"notifier: published positions"},
    ),
    "a version that the streams of the notifier leave out": (
        lambda s: rewrite(s, "notifier", lambda e: e._replace(stream_version=2)),
        {"notifier: dense stream versions"},
    ),
    "an amount in the log of orders, with every hash": (
        lambda s: rewrite(s, "orders", changed_body),
        {FILED},
    ),
    "the newest event taken by the notifier": (
        lambda s: tamper(
            s,
            "notifier",
            f"UPDATE source_sequence SET last_event_id = '{STRANGE}' WHERE source = '/billing/orders'",
        ),
        {"orders: newest taken by notifier"},
    ),
    "a number taken by orders that the ledger does not have": (
        lambda s: tamper(
            s,
            "orders",
            "UPDATE source_sequence SET last_sequence = 99 WHERE source = '/billing/ledger'",
        ),
        {"ledger: newest taken by orders"},
    ),
    "a fact that a customer was told of": (
        lambda s: rewrite(s, "notifier", lambda e: e._replace(body=forged_fact(e))),
        {CAUSES},
    ),
    "a payment from the wallet that the wallet did not make": (
        lambda s: rewrite(
            s,
            "orders",
            lambda e: e._replace(causation_id=STRANGE) if b'"method":"wallet"' in e.body else e,
        ),
        {FILED, "orders: causes of orders"},
    ),
}


def forged_fact(event: StoredEvent) -> bytes:
    """Return the body of a notification about something that never happened."""
    body = json.loads(event.body) | {"fact_event_id": str(STRANGE)}
    return json.dumps(body, separators=(",", ":")).encode()


def test_verify_finds_each_kind_of_tampering(system: System) -> None:
    play(system)
    for service in ("orders", "ledger", "notifier"):
        assert system.children[service].stop() == 0
    assert failures(system) == {}
    assert failures(system, "--service", "orders", "--service", "notifier") == {}
    copy = Copy(system)
    wrong: dict[str, Any] = {}
    for name, (change, expected) in TAMPERINGS.items():
        change(system)
        found = failures(system)
        if set(found) != expected:
            wrong[name] = found
        copy.put_back()
    assert wrong == {}
    heads = system.folder / "heads.json"
    heads.write_text(perennial(system, "log", "heads").stdout)
    assert failures(system, "--topics", "--expected-head", str(heads)) == {}
    compared = perennial(system, "log", "verify", "--json", "--topics").stdout
    for topic in (ORDERS, LEDGER, NOTIFICATIONS):
        assert f"{len(system.records(topic.name))} records of {topic.name}" in compared
    assert failures(system, "--expected-head", str(system.folder / "heads")) == {}
    rewrite(system, "notifier", lambda e: e._replace(recorded_at=e.recorded_at + SECOND))
    assert failures(system) == {}, "every hash and head fits"
    assert set(failures(system, "--expected-head", str(heads))) == {"notifier: expected heads"}
    assert set(failures(system, "--topics")) == {"notifier: topic = log"}


def test_service_that_does_not_exist_is_refused(system: System) -> None:
    refused = perennial(system, "log", "verify", "--service", "bookkeeper")
    assert refused.returncode == 2
    assert "name orders, ledger, notifier" in refused.stderr
