"""A database that answers late slows intake down; memory stays flat and nothing is done twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psutil

from deploy.local.ports import choose_ports
from deploy.local.processes import Child
from schemas.topics import REQUESTS
from services.runtime.flow.effects.runner import BACKLOG_MAX
from tests.faults.outcome import Outcome
from tests.faults.processes.test_start import address, at_port
from tests.faults.proxy import Proxy
from tests.faults.requests import Wave, card_renewal
from tests.faults.test_back_pressure import effects, recorded
from tests.infrastructure.system import System

DELAY_SECONDS: Final = 0.1
SLOW_SECONDS: Final = 15
WARM_SECONDS: Final = 4
EACH: Final = 125
BATCH: Final = 50
SHARE_MAX: Final = 0.5
"""In slowness at most this share of what flows in is taken in: it is faster than can be handled."""
GROWTH_MAX: Final = 1.25
AFTER_SECONDS: Final = 35


class Memory:
    """Watches the memory of processes."""

    def __init__(self, *children: Child) -> None:
        self._processes = [psutil.Process(child.popen.pid) for child in children]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.samples: list[tuple[float, list[int]]] = []

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
            sizes = [process.memory_info().rss for process in self._processes]
            self.samples.append((time.monotonic(), sizes))

    def growth(self, *, after: float, until: float) -> float:
        """Return how much the largest process size between two moments exceeds that at the first."""
        seen = [sizes for at, sizes in self.samples if after <= at <= until]
        return max(
            max(sizes[each] for sizes in seen) / seen[0][each]
            for each in range(len(self._processes))
        )


def taken_in(system: System) -> int:
    """Return how many requests orders has consumed."""
    rows = system.query(
        "orders", "SELECT coalesce(sum(next_offset), 0) FROM cursor WHERE topic = $1", REQUESTS.name
    )
    return int(rows[0][0])


def test_slow_database_slows_intake_and_charges_once(system: System) -> None:
    ports = choose_ports(system.folder / "proxies", ["orders", "ledger"])
    dsns = {service: system.dsn(service) for service in ports}
    with (
        Proxy(ports["orders"], address(dsns["orders"])) as before_orders,
        Proxy(ports["ledger"], address(dsns["ledger"])) as before_ledger,
    ):
        proxies = (before_orders, before_ledger)
        for proxy in proxies:
            proxy.open()
        children = [
            system.start(
                service,
                POSTGRES_DSN=at_port(dsns[service], ports[service]),
                BATCH_RECORDS_MAX=BATCH,
                EFFECT_LEASE_SECONDS=3,
            )
            for service in ports
        ]
        memory = Memory(*children)
        with memory.watched():
            for proxy in proxies:
                proxy.answer_delay_seconds = DELAY_SECONDS
            slow_at = time.monotonic()
            renewals, backlog = flow_in(system, until=slow_at + SLOW_SECONDS)
            taken, asked = taken_in(system), len(renewals)
            quick_at = time.monotonic()
            for proxy in proxies:
                proxy.answer_delay_seconds = 0
            system.wait_for(
                "all are activated",
                lambda: recorded(system, "orders", "PlanActivated") == asked,
                seconds=AFTER_SECONDS,
            )
        outcome = Outcome(system, [Wave(renewals, [])])
        system.wait_for("all is booked", outcome.is_booked, seconds=AFTER_SECONDS)

        assert 0 < taken < asked * SHARE_MAX
        assert backlog < BACKLOG_MAX
        assert memory.growth(after=slow_at + WARM_SECONDS, until=quick_at) <= GROWTH_MAX
        assert [child.exit_code for child in children] == [None, None]
        assert system.dead_letters("orders") == system.dead_letters("ledger") == []
        outcome.check_done_once()
        outcome.check_ledger_has_each_event_once()
        outcome.check_books()


def flow_in(system: System, *, until: float) -> tuple[list[dict[str, object]], int]:
    """Publish renewals at a steady pace; return them, and the largest backlog of effects."""
    renewals: list[dict[str, object]] = []
    backlog = 0
    while time.monotonic() < until:
        first = len(renewals)
        more = [
            card_renewal(n, "slow", token="tok_ok", ending="0000")
            for n in range(first, first + EACH)
        ]
        system.publish("RenewalRequested", *more)
        renewals += more
        backlog = max(backlog, effects(system, "orders"))
        time.sleep(0.5)
    return renewals, backlog
