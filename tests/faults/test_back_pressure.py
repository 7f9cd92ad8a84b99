"""A slow gateway or mail server slows intake down; memory stays flat and nothing is done twice."""

from __future__ import annotations

import asyncio
import email
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import psutil
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.ports import HOST, choose_ports
from deploy.local.processes import Child
from services.runtime.flow.effects.runner import BACKLOG_MAX
from tests.faults.outcome import Outcome
from tests.faults.requests import Wave, card_renewal
from tests.infrastructure.system import System

RENEWALS: Final = 3_000
MAILS: Final = 2_500
IMPATIENT: Final = 150
BATCH: Final = 200
SLOW_SECONDS: Final = 3
LEASE_SECONDS: Final = 2
"""Shorter than the slow answer, and than the wait for a free slot: leases must be kept meanwhile."""
GROWTH_MAX: Final = 1.3


class Pressure:
    """Watches the backlog and the memory of a process while it is under pressure."""

    def __init__(self, child: Child, backlog: Callable[[], int]) -> None:
        self._process = psutil.Process(child.popen.pid)
        self._backlog = backlog
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.samples: list[tuple[int, int]] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.25):
            self.samples.append((self._backlog(), self._process.memory_info().rss))

    def highest(self) -> int:
        """Return the largest backlog so far."""
        return max((count for count, _ in self.samples), default=0)

    def check(self) -> None:
        """Fail unless intake stopped at the limit, and memory grew no more from there on."""
        # A batch that was let in just below the limit, and one that was in hand already.
        assert BACKLOG_MAX <= self.highest() <= BACKLOG_MAX + 2 * BATCH
        first = next(n for n, (count, _) in enumerate(self.samples) if count >= BACKLOG_MAX)
        at_limit = self.samples[first][1]
        assert max(rss for _, rss in self.samples[first:]) <= at_limit * GROWTH_MAX


def effects(system: System, service: str) -> int:
    """Return how many effects are not finished and not held."""
    rows = system.query(service, "SELECT count(*) FROM effect WHERE hold_key IS NULL")
    return int(rows[0][0])


def recorded(system: System, service: str, name: str) -> int:
    """Return how many events of one kind a service's log holds."""
    rows = system.query(service, "SELECT count(*) FROM event WHERE type = $1", f"billing.{name}.v1")
    return int(rows[0][0])


def attempts(system: System, kind: str) -> float:
    """Return how often orders began an effect of one kind."""
    lines = httpx.get(f"{system.address('orders')}/metrics", timeout=5).text.splitlines()
    wanted = f'perennial_effect_attempts_total{{kind="{kind}"'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))


def asked(system: System, count: int, token: str) -> Outcome:
    """Publish renewals by one token."""
    renewals = [card_renewal(n, "pressed", token=token, ending="0000") for n in range(count)]
    system.publish("RenewalRequested", *renewals)
    return Outcome(system, [Wave(renewals, [])])


def test_slow_gateway_slows_intake_and_charges_once(system: System) -> None:
    orders = system.start(
        "orders",
        SANDBOX_SLOW_SECONDS=SLOW_SECONDS,
        EFFECT_LEASE_SECONDS=LEASE_SECONDS,
        EFFECT_CONCURRENCY=500,
        BATCH_RECORDS_MAX=BATCH,
    )
    pressure = Pressure(orders, lambda: effects(system, "orders"))

    with pressure.watched():
        outcome = asked(system, RENEWALS, "tok_slow")
        system.wait_for(
            "all are activated",
            lambda: recorded(system, "orders", "PlanActivated") == RENEWALS,
            seconds=90,
        )

    pressure.check()
    outcome.check_done_once()
    assert attempts(system, "charge") == RENEWALS
    assert recorded(system, "orders", "PaymentOutcomeUnknown") == 0


def test_gateway_slower_than_our_patience_is_looked_up_and_charges_once(system: System) -> None:
    port = choose_ports(system.folder / "gateway", ["gateway"])["gateway"]
    gateway = system.processes.start(
        "gateway",
        [
            *(sys.executable, "-m", "services.orders.sandbox", "--port", port),
            *("--journal-folder", system.folder / "sandbox", "--slow-seconds", "2"),
        ],
    )
    gateway.wait_for_port(port)
    system.start(
        "orders",
        GATEWAY="http",
        GATEWAY_URL=f"http://{HOST}:{port}",
        HTTP_TIMEOUT_SECONDS=1,
        UNKNOWN_LOOK_UP_SECONDS=1,
        EFFECT_LEASE_SECONDS=LEASE_SECONDS,
    )

    outcome = asked(system, IMPATIENT, "tok_slow")
    system.wait_for(
        "all are activated", lambda: recorded(system, "orders", "PlanActivated") == IMPATIENT
    )

    assert recorded(system, "orders", "PaymentOutcomeUnknown") == IMPATIENT
    outcome.check_done_once()


class SlowMailServer:
    """Accepts no message before it is told to; keeps the Message-ID of each one it accepted."""

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self.answers = False

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        while not self.answers:  # noqa: ASYNC110 - the test tells it from another thread
            await asyncio.sleep(0.1)
        message = email.message_from_bytes(envelope.original_content or b"")
        self.accepted[message["Message-ID"]] += 1
        return "250 OK"


def test_slow_mail_server_slows_intake_and_mails_once(system: System) -> None:
    system.start("orders", BATCH_RECORDS_MAX=BATCH)
    asked(system, MAILS, "tok_ok")
    system.wait_for(
        "all are activated", lambda: recorded(system, "orders", "PlanActivated") == MAILS
    )
    system.children["orders"].stop()
    server = SlowMailServer()
    port = choose_ports(system.folder / "mail", ["slow"])["slow"]
    with slow_mail(server, port):
        notifier = system.start(
            "notifier",
            SMTP_PORT=port,
            SMTP_CONNECTIONS=150,
            EFFECT_LEASE_SECONDS=LEASE_SECONDS,
            BATCH_RECORDS_MAX=BATCH,
        )
        pressure = Pressure(notifier, lambda: effects(system, "notifier"))
        with pressure.watched():
            system.wait_for("the backlog is full", lambda: pressure.highest() >= BACKLOG_MAX)
            time.sleep(SLOW_SECONDS)
            server.answers = True
            system.wait_for(
                "all are mailed",
                lambda: recorded(system, "notifier", "NotificationSent") == MAILS,
                seconds=90,
            )

    pressure.check()
    assert len(server.accepted) == server.accepted.total() == MAILS
    assert recorded(system, "notifier", "NotificationFailed") == 0


@contextmanager
def slow_mail(server: SlowMailServer, port: int) -> Iterator[None]:
    """Serve `server` on a port."""
    controller = Controller(server, hostname=HOST, port=port)
    controller.start()
    try:
        yield
    finally:
        controller.stop()
