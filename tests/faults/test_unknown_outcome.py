"""No answer from the gateway, and orders killed before it knows: looked up, never charged again."""

from __future__ import annotations

from typing import Any

from tests.faults.outcome import Outcome
from tests.faults.requests import Wave, card_renewal
from tests.infrastructure.system import System

SETTINGS: dict[str, Any] = {
    "EFFECT_LEASE_SECONDS": 2,
    "SANDBOX_TIMEOUT_SECONDS": 2,
    "UNKNOWN_LOOK_UP_SECONDS": 2,
    "UNKNOWN_SETTLE_SECONDS": 3,
}


def asked(system: System, token: str) -> Outcome:
    """Publish ten renewals by one token."""
    renewals = [card_renewal(number, "lost", token=token, ending="0000") for number in range(10)]
    system.publish("RenewalRequested", *renewals)
    return Outcome(system, [Wave(renewals, [])])


def killed_and_started(system: System) -> None:
    system.children["orders"].kill()
    system.start("orders", wait=False, **SETTINGS)


def activated(system: System, outcome: Outcome) -> bool:
    return len(system.events("orders", "PlanActivated")) == len(outcome.activations)


def test_charge_without_answer_is_looked_up_after_a_crash(system: System) -> None:
    system.start("orders", **SETTINGS)
    outcome = asked(system, "tok_timeout_after")
    system.wait_for("all are charged", lambda: outcome.charges() == outcome.payments)

    killed_and_started(system)

    system.wait_for("all are activated", lambda: activated(system, outcome))
    outcome.check_done_once()


def test_unknown_outcome_is_resolved_after_a_crash(system: System) -> None:
    system.start("orders", **SETTINGS)
    outcome = asked(system, "tok_timeout_after")
    system.wait_for(
        "all are unknown", lambda: len(system.events("orders", "PaymentOutcomeUnknown")) == 10
    )

    killed_and_started(system)

    system.wait_for("all are activated", lambda: activated(system, outcome))
    resolved = system.events("orders", "PaymentOutcomeResolved")
    assert sorted((e["payment_id"], e["outcome"]) for e in resolved) == [
        (payment, "captured") for payment in outcome.payments
    ]
    outcome.check_done_once()


def test_charge_that_never_happened_is_never_activated(system: System) -> None:
    system.start("orders", **SETTINGS)
    outcome = asked(system, "tok_timeout_before")
    system.wait_for(
        "all are unknown", lambda: len(system.events("orders", "PaymentOutcomeUnknown")) == 10
    )

    killed_and_started(system)

    system.wait_for("all have failed", lambda: len(system.events("orders", "PaymentFailed")) == 10)
    resolved = system.events("orders", "PaymentOutcomeResolved")
    assert sorted((e["payment_id"], e["outcome"]) for e in resolved) == [
        (payment, "not_charged") for payment in outcome.payments
    ]
    assert outcome.charges() == []
    assert system.events("orders", "PlanActivated") == []
