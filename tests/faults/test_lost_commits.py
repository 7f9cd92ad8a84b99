"""The answer to a commit is lost, at any point and again and again: everything happens once."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Final

import pytest

from deploy.local.ports import choose_ports
from tests.faults.conftest import Books
from tests.faults.postgres_proxy import COMMIT, OTHER, TURN, Loss, PostgresProxy, RandomLosses
from tests.faults.processes.test_start import address, at_port
from tests.faults.stream import SETTINGS, Stream, all_are_ready
from tests.infrastructure.system import System

SHARES: Final = {
    (COMMIT, Loss.ANSWERED): 0.2,
    (COMMIT, Loss.ASKED): 0.04,
    (TURN, Loss.ANSWERED): 0.05,
    (OTHER, Loss.ANSWERED): 0.004,
    (OTHER, Loss.ASKED): 0.002,
}
LOSSES_MAX: Final = 40
"""Of each service: then the rest goes through."""
COMMITS_LOST_MIN: Final = 10


@pytest.mark.parametrize("seed", [1, 2])
def test_every_order_is_done_once_whatever_answers_of_the_database_are_lost(
    system: System, undisturbed_books: Books, seed: int
) -> None:
    ports = choose_ports(system.folder / "proxies", list(SETTINGS))
    with ExitStack() as resources:
        proxies: dict[str, PostgresProxy] = {}
        system.start_mail_sink()
        for service, port in ports.items():
            dsn = system.dsn(service)
            proxy = PostgresProxy(port, address(dsn))
            proxies[service] = resources.enter_context(proxy)
            proxy.open()
            at_proxy = at_port(dsn, port)
            system.start(service, wait=False, POSTGRES_DSN=at_proxy, **SETTINGS[service])
        system.wait_for("all are ready", lambda: all_are_ready(system))
        for number, proxy in enumerate(proxies.values()):
            proxy.choose = RandomLosses(10 * seed + number, SHARES, LOSSES_MAX)

        with Stream(system) as stream:
            pass

        lost = sum((proxy.lost for proxy in proxies.values()), Counter[tuple[str, Loss]]())
        assert lost[COMMIT, Loss.ANSWERED] >= COMMITS_LOST_MIN
        assert lost[TURN, Loss.ANSWERED]
        assert all(proxy.lost for proxy in proxies.values())
        assert [system.children[service].exit_code for service in SETTINGS] == [None] * 3
        stream.outcome.check()
        assert stream.outcome.balances() == undisturbed_books
