"""Postgres fails over to another timeline while a service runs."""

from __future__ import annotations

import json
from typing import Any

from tests.faults.recovery.physical_backup import ArchivedPostgres
from tests.faults.requests import card_renewal
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import System

HALTED = 70


def logged(system: System, event: str) -> list[dict[str, Any]]:
    lines = system.children["orders"].log.read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in found if line["event"] == event]


def renew(system: System, number: int) -> None:
    """Have a renewal be activated."""
    name = f"number-{number}"
    renewal = card_renewal(number, name, token="tok_ok", ending="0000")
    system.publish("RenewalRequested", renewal)
    wanted = renewal["renewal_id"]

    def activated() -> bool:
        try:
            events = system.events("orders", "PlanActivated")
        except OSError:
            return False
        return wanted in {event["renewal_id"] for event in events}

    system.wait_for(f"{wanted} is activated", activated)


def test_fail_over_that_loses_nothing_is_compared_and_the_service_goes_on(
    infrastructure: Infrastructure, database: ArchivedPostgres
) -> None:
    with System(infrastructure, database.admin_dsn) as system:
        system.start("orders")
        renew(system, 1)
        database.back_up()
        renew(system, 2)
        database.restore_point("everything")

        database.restore("everything")

        renew(system, 3)
        [changed] = logged(system, "database_changed")
        assert [changed["was"][-8:], changed["now"][-8:]] == ["00000001", "00000002"]
        assert [line["now"] for line in logged(system, "database_compared")] == [changed["now"]]
        assert system.children["orders"].exit_code is None


def test_fail_over_that_loses_what_was_published_ends_the_service_and_writes_nothing(
    infrastructure: Infrastructure, database: ArchivedPostgres
) -> None:
    with System(infrastructure, database.admin_dsn) as system:
        orders = system.start("orders")
        renew(system, 1)
        database.back_up()
        database.restore_point("the first alone")
        renew(system, 2)

        database.restore("the first alone")
        system.publish("RenewalRequested", card_renewal(4, "next", token="tok_ok", ending="0000"))

        assert orders.popen.wait(60) == HALTED
        assert len(system.events("orders", "PlanActivated")) == 1
        assert len(system.events("orders", "RenewalAccepted")) == 1
