"""A slow gateway or mail server slows intake down; memory stays flat and nothing is done twice."""

from __future__ import annotations

import asyncio
import email
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psutil
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.ports import HOST
from deploy.local.processes import Child
from services.runtime.effects import BACKLOG_MAX
from tests.faults.outcome import Outcome
from tests.faults.requests import Wave, card_renewal
from tests.infrastructure.system import System

RENEWALS: Final = 3_000
BATCH: Final = 200
SLOW_SECONDS: Final = 3
LEASE_SECONDS: Final = 2
"""Shorter than the slow answer, and than the wait for a free slot: leases must be kept meanwhile."""
GROWTH_MAX: Final = 1.2


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

    def check(self) -> None:
        """Fail unless intake stopped at the limit, and memory grew no more from there on."""
        assert BACKLOG_MAX <= max(count for count, _ in self.samples) <= BACKLOG_MAX + BATCH
        first = next(n for n, (count, _) in enumerate(self.samples) if count >= BACKLOG_MAX)
        at_limit = self.samples[first][1]
        assert max(rss for _, rss in self.samples[first:]) <= at_limit * GROWTH_MAX


def effects(system: System, service: str) -> int:
    """Return how many effects are not finished and not held."""
    rows = system.query(service, "SELECT count(*) FROM effect WHERE hold_key IS NULL")
    return int(rows[0][0])


def recorded(system: System, service: str, name: str) -> int:
    """Return how many events of one kind a service's log holds."""
    rows = system.query(
        service, "SELECT count(*) FROM event WHERE type = $1", f"billing.{name}.v1"
    )
    return int(rows[0][0])


def attempts(system: System, kind: str) -> float:
    """Return how often orders began an effect of one kind."""
    with urllib.request.urlopen(f"{system.address('orders')}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
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
