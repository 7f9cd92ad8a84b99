"""A stream of requests that flows while a test makes faults, and what must be true in the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from aiokafka.errors import KafkaError

from deploy.local.processes import Child
from services.runtime.app.start import EXIT_TRY_AGAIN
from tests.faults.outcome import Outcome
from tests.faults.requests import Wave, first_wave, second_wave
from tests.infrastructure.system import System

ACCOUNTS: Final = 120
HASTE: Final[dict[str, Any]] = {
    "EFFECT_LEASE_SECONDS": 3,
    "POSTGRES_TIMEOUT_SECONDS": 10,
    "WATCHDOG_SECONDS": 15,
    "SANDBOX_TIMEOUT_SECONDS": 0.5,
    "SANDBOX_SLOW_SECONDS": 0.5,
    "UNKNOWN_LOOK_UP_SECONDS": 0.5,
    "ACTIVATION_RETRY_SECONDS": 0.5,
}
"""Settings of orders that make its waiting short."""
LEASE: Final[dict[str, Any]] = {
    "EFFECT_LEASE_SECONDS": 3,
    "POSTGRES_TIMEOUT_SECONDS": 10,
    "WATCHDOG_SECONDS": 15,
}
MAIL_HASTE: Final[dict[str, Any]] = LEASE | {"RETRY_SECONDS": 1, "RETRY_SECONDS_MAX": 2}
"""Settings of the notifier that make it try again soon."""
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "orders": HASTE,
    "ledger": LEASE,
    "notifier": MAIL_HASTE,
}
_SLICE: Final = 15
_PAUSE_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 75


def start_services(system: System) -> None:
    """Start the mail sink and the three services, in haste."""
    system.start_mail_sink()
    for service in SETTINGS:
        start(system, service, wait=False)
    system.wait_for("all are ready", lambda: all_are_ready(system))


def tend(system: System) -> None:
    """Start again what ended with 75, as whatever runs the services must.

    After a broker restart the Kafka client can stand still for good; the watchdog then ends the
    process with that status. Any other end is for the test to judge.
    """
    for service in SETTINGS:
        if system.children[service].exit_code == EXIT_TRY_AGAIN:
            start(system, service, wait=False)


def all_are_ready(system: System) -> bool:
    """Say whether the three services do their work; none has ended for good."""
    tend(system)
    assert [system.children[service].exit_code for service in SETTINGS] == [None, None, None]
    return all(map(system.is_ready, SETTINGS))


def start(system: System, service: str, *, name: str | None = None, wait: bool = True) -> Child:
    """Start one service, in haste."""
    return system.start(service, name=name, wait=wait, **SETTINGS[service])


class Stream:
    """Publishes in the background: the second wave when the wallets of the first are filled."""

    def __init__(self, system: System, accounts: int = ACCOUNTS) -> None:
        """Prepare two waves of requests; nothing is published yet."""
        self._system = system
        self.waves = (first_wave(accounts), second_wave(accounts))
        self.outcome = Outcome(system, self.waves)
        self._pool = ThreadPoolExecutor(1)
        self._given_up = False

    def __enter__(self) -> Self:
        """Begin to publish."""
        self._feeding: Future[None] = self._pool.submit(self._feed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Wait until all is published and has led to what it must; not after a failure."""
        try:
            if kind is None:
                self._complete()
        finally:
            self._given_up = True
            self._pool.shutdown()

    def charged(self, share: float) -> None:
        """Return when the gateway has taken this share of all charges."""
        wanted = int(share * len(self.outcome.payments))
        self._system.wait_for(
            f"{wanted} charges", lambda: len(self.outcome.charges()) >= wanted, seconds=60
        )

    def _complete(self) -> None:
        feeding = self._feeding
        self._wait_for("all is published", feeding.done)
        feeding.result()
        self._wait_for("all is done", self.outcome.is_complete)

    def _wait_for(self, what: str, done: Callable[[], bool]) -> None:
        def tended_and_done() -> bool:
            tend(self._system)
            return done()

        self._system.wait_for(what, tended_and_done, seconds=_PATIENCE_SECONDS)

    def _feed(self) -> None:
        first, second = self.waves
        self._publish(first)
        self._until(lambda: self.outcome.wallets_filled() == len(first.top_ups))
        self._publish(second)

    def _publish(self, wave: Wave) -> None:
        for start in range(0, max(len(wave.renewals), len(wave.top_ups)), _SLICE):
            part = slice(start, start + _SLICE)
            self._until(partial(self._published, wave, part))
            time.sleep(_PAUSE_SECONDS)

    def _published(self, wave: Wave, part: slice) -> bool:
        """Publish one slice; one that may have arrived in part is published again, as it is."""
        try:
            self._system.publish("TopUpRequested", *wave.top_ups[part])
            self._system.publish("RenewalRequested", *wave.renewals[part])
        except (KafkaError, OSError):
            return False
        return True

    def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            if self._given_up:
                raise TimeoutError
            time.sleep(0.1)
