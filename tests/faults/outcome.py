"""What came of a stream, read where it happened: the sandbox's journals, the mails, the logs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import asyncpg

from schemas.topics import LEDGER, ORDERS
from services.notifier.notification.templates import TEMPLATE_OF
from services.orders.order.identities import activation_id, payment_id
from services.orders.sandbox_journal import GATEWAY_JOURNAL, PROVIDER_JOURNAL
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.verify.checks import ChainCheck, PositionCheck
from services.runtime.verify.slices import heads_of
from tests.faults.requests import Wave
from tests.infrastructure.system import System

_FACTS = [model.wire_type() for model in TEMPLATE_OF]
_EVENTS = f"SELECT {EVENT_COLUMNS} FROM event ORDER BY shard, position"
# A connection that is lost between two messages is, to asyncpg, a state of its own.
_UNWELL = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Outcome:
    """What the requests of `waves` led to, and what they must lead to."""

    def __init__(self, system: System, waves: Sequence[Wave]) -> None:
        """Know what was asked for."""
        self._system = system
        renewals = [request for wave in waves for request in wave.renewals]
        top_ups = [request for wave in waves for request in wave.top_ups]
        self.activations = sorted(
            activation_id(r["account_id"], f"order/{r['renewal_id']}") for r in renewals
        )
        paid_by_card = [r for r in renewals if r["payment"]["method"] == "card"]
        self.payments = sorted(
            [payment_id(r["account_id"], f"order/{r['renewal_id']}") for r in paid_by_card]
            + [payment_id(t["account_id"], f"topup/{t['topup_id']}") for t in top_ups]
        )

    # -- progress ----------------------------------------------------------------------------------

    def charges(self) -> list[str]:
        """Return the payment of each time the gateway took money."""
        return self._journal(GATEWAY_JOURNAL, "charge")

    def wallets_filled(self) -> int:
        """Return how many top-ups the ledger has booked; 0 while its database is away."""
        try:
            return self._count("ledger", "WalletToppedUp")
        except _UNWELL:
            return 0

    def is_complete(self) -> bool:
        """Say whether every request led to its last fact, and every fact to a mail or a failure."""
        try:
            return (
                self._count("orders", "PlanActivated") == len(self.activations)
                and self.is_booked()
                and not self._untold()
            )
        except _UNWELL:
            return False

    def _count(self, service: str, name: str) -> int:
        rows = self._system.query(
            service, "SELECT count(*) FROM event WHERE type = $1", f"billing.{name}.v1"
        )
        return int(rows[0]["count"])

    def is_booked(self) -> bool:
        """Say whether the ledger has the last event of orders in every shard."""
        taken = self._system.query(
            "ledger",
            "SELECT shard, last_sequence FROM source_sequence WHERE source = $1",
            "/billing/orders",
        )
        return {row["shard"]: row["last_sequence"] for row in taken} == self._heads()

    def _heads(self) -> dict[int, int]:
        rows = self._system.query("orders", "SELECT shard, head_sequence FROM shard")
        return {row["shard"]: row["head_sequence"] for row in rows if row["head_sequence"]}

    def _untold(self) -> set[UUID]:
        return (
            self._facts() - self._settled("NotificationSent") - self._settled("NotificationFailed")
        )

    def _facts(self) -> set[UUID]:
        found: set[UUID] = set()
        for service, source in (("orders", "/billing/orders"), ("ledger", "/billing/ledger")):
            rows = self._system.query(
                service,
                "SELECT event_id FROM event WHERE source = $1 AND type = ANY($2)",
                source,
                _FACTS,
            )
            found |= {row["event_id"] for row in rows}
        return found

    def _settled(self, name: str) -> set[UUID]:
        return {UUID(body["fact_event_id"]) for body in self._system.events("notifier", name)}

    def _journal(self, name: str, kind: str) -> list[str]:
        path = self._system.folder / "sandbox" / name
        if not path.is_file():
            return []
        # A line that is still being written has no end yet.
        lines = path.read_bytes().rpartition(b"\n")[0].splitlines()
        entries = [json.loads(line) for line in lines]
        return sorted(entry["key"] for entry in entries if entry["kind"] == kind)

    # -- what must be true in the end --------------------------------------------------------------

    def check(self) -> None:
        """Fail unless everything was done once, and every log is whole."""
        self.check_done_once()
        self.check_ledger_has_each_event_once()
        self.check_told_once()
        for service in ("orders", "ledger", "notifier"):
            asyncio.run(self._check_log(service))
            assert self._system.dead_letters(service) == []
        self.check_books()

    def check_done_once(self) -> None:
        """Each order was charged once and activated once, by what gateway and provider wrote."""
        assert self.charges() == self.payments
        assert self._journal(PROVIDER_JOURNAL, "activation") == self.activations
        assert self._journal(GATEWAY_JOURNAL, "refund") == []
        captured = [
            e for e in self._system.events("orders", "PaymentCaptured") if e["method"] == "card"
        ]
        assert sorted(e["payment_id"] for e in captured) == self.payments
        activated = self._system.events("orders", "PlanActivated")
        assert sorted(e["activation_id"] for e in activated) == self.activations

    def check_ledger_has_each_event_once(self) -> None:
        """The ledger's log holds the sequence 1..n of each shard of orders, and nothing twice."""
        rows = self._system.query(
            "ledger",
            "SELECT shard, count(*) AS events, count(DISTINCT sequence) AS numbers,"
            " count(DISTINCT event_id) AS ids, max(sequence) AS last"
            " FROM event WHERE source = '/billing/orders' GROUP BY shard",
        )
        counted = {row["shard"]: tuple(row)[1:] for row in rows}
        assert counted == {shard: (last,) * 4 for shard, last in self._heads().items()}

    def check_told_once(self) -> None:
        """Each fact is mailed at most once; without a mail only if its delivery is unknown."""
        facts = {
            body["notification_id"].removeprefix("ntf-"): UUID(body["fact_event_id"])
            for name in ("NotificationSent", "NotificationFailed")
            for body in self._system.events("notifier", name)
        }
        messages = (str(mail["Message-ID"])[1:].partition("@")[0] for mail in self._system.mails())
        mailed = Counter(facts[message] for message in messages)
        assert {fact: times for fact, times in mailed.items() if times > 1} == {}
        failed = self._system.events("notifier", "NotificationFailed")
        assert {body["reason"] for body in failed} <= {"delivery_unknown"}
        assert self._settled("NotificationSent") <= set(mailed)
        assert self._facts() - set(mailed) <= self._settled("NotificationFailed")
        assert set(mailed) <= self._facts()

    async def _check_log(self, service: str) -> None:
        connection = await asyncpg.connect(
            self._system.admin_dsn, server_settings={"search_path": service}
        )
        try:
            heads = await heads_of(connection)
            events = [stored_event(row) for row in await connection.fetch(_EVENTS)]
        finally:
            await connection.close()
        for check in (ChainCheck(heads), PositionCheck(heads)):
            check.look(events)
            assert check.result().problem is None

    def check_books(self) -> None:
        """`perennial log verify` finds nothing wrong, in no log and between none."""
        environment = os.environ | {
            "PERENNIAL_BOOTSTRAP_SERVERS": self._system.infrastructure.bootstrap_servers,
            **{
                f"PERENNIAL_{name.upper()}_POSTGRES_DSN": self._system.dsn(name)
                for name in ("orders", "ledger", "notifier")
            },
        }
        command = [sys.executable, "-m", "services.cli", "log", "verify"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def balances(self) -> dict[tuple[int, str, str], int]:
        """Return all balances by (shard, account, currency)."""
        rows = self._system.query(
            "ledger", "SELECT shard, account, currency, amount_minor FROM balance"
        )
        return {tuple(row)[:3]: row["amount_minor"] for row in rows}

    def topics(self) -> dict[str, int]:
        """Return how many records each topic of events holds."""
        return {topic.name: len(self._system.records(topic.name)) for topic in (ORDERS, LEDGER)}
