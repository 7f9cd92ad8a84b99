"""What really happens outside, at a gateway and a provider that would do everything twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

import pytest

from schemas.orders import UnknownCause
from schemas.requests import PaymentMethod
from services.orders.decider import Command
from services.orders.effects import EFFECTS, Outside, build_effects
from services.orders.order import identities
from services.orders.order.state import Payment, untaxed
from services.orders.payments.claims.transactions import MemoryClaims
from services.orders.payments.commands import (
    RecordCharge,
    RecordConfirmation,
    RecordLookUp,
    RecordRefund,
)
from services.orders.payments.effects.charge import charge_effect, look_up_charge
from services.orders.payments.effects.refund import refund_effect
from services.orders.payments.gateways import gateway
from services.orders.payments.gateways.gateway import Charge, ChargeReference, Found, Refund
from services.orders.renewals.commands import RecordActivation
from services.orders.renewals.effects.activate import activate_effect, look_up_activation
from services.orders.renewals.providers import provider
from services.orders.renewals.providers.provider import PlanOrder
from services.runtime.effect import EffectRun, JsonObject
from tests.unit.orders.builders import NOW, PAYABLE, by_token, renewal, usd
from tests.unit.orders.forgetful import (
    ACTIVATED,
    CAPTURED,
    DECLINED,
    NOT_ACTIVATED,
    REFUNDED,
    REFUSED,
    UNKNOWN,
    Forgetful,
    Said,
)
from tests.unit.orders.world import no_mark, run

ORDER: Final = "order/ren-1"
CHARGE_ID: Final = PAYABLE.payment_id
REFUND_ID: Final = identities.refund_id(CHARGE_ID)
REFERENCE: Final = identities.activation_id("acct-1", ORDER)
LATER: Final = NOW + timedelta(seconds=20)
PAID: Final = Payment(
    payment_id=CHARGE_ID,
    gateway="bank",
    gateway_txn_id="txn-9",
    method=PaymentMethod.CARD,
    amount=usd(2120),
    consideration=untaxed(usd(2120), "none"),
    captured_at=NOW,
)
TXN: Final = ("app-gateway", "txn-1")
CONFIRMED: Final[JsonObject] = {
    "gateway": TXN[0],
    "gateway_txn_id": TXN[1],
    "agreed": True,
    "not_found_count": 1,
}
PAYLOADS: Final[dict[str, JsonObject]] = {
    "charge": charge_effect(CHARGE_ID, by_token(), usd(2120), PAYABLE.gateway, NOW).payload,
    "charge looked up": look_up_charge(PAYABLE, 1, LATER, NOW).payload or {},
    "activate": activate_effect(renewal(), ORDER, 30, None).payload,
    "activate looked up": look_up_activation(REFERENCE, NOW).payload or {},
    "refund": refund_effect(PAYABLE, PAID).payload,
    "confirm": CONFIRMED,
    "confirm of another amount": CONFIRMED | {"agreed": False},
}
REFUND: Final = Refund(
    refund_id=REFUND_ID,
    payment_id=CHARGE_ID,
    gateway="bank",
    gateway_txn_id="txn-9",
    method=PaymentMethod.CARD,
    amount=usd(2120),
    through=PAYABLE.gateway,
)
ASKED: Final[dict[str, object]] = {
    "charge": Charge(
        payment_id=CHARGE_ID,
        token="tok_ok",
        method=PaymentMethod.CARD,
        amount=usd(2120),
        gateway=PAYABLE.gateway,
    ),
    "look_up_charge": ChargeReference(payment_id=CHARGE_ID, gateway=PAYABLE.gateway, since=NOW),
    "look_up_charge afterwards": ChargeReference(
        payment_id=CHARGE_ID, gateway=PAYABLE.gateway, since=NOW, until=LATER
    ),
    "top_up": PlanOrder(
        reference=REFERENCE,
        iccid=renewal().iccid,
        plan_code="eu-month-basic",
        quantity=1,
        validity_days=30,
    ),
    "look_up": REFERENCE,
    "refund": REFUND,
    "look_up_refund": REFUND,
    "look_up_transaction": TXN,
}
ACTS: Final = {"charge": "charge", "activate": "top_up", "refund": "refund"}
"""The method that does something, by the kind of effect; each has a look-up beside it."""


class Run(NamedTuple):
    """Which attempt it is, and whether an earlier one may have reached the outside."""

    attempt: int
    recovered: bool


FIRST, AGAIN = Run(1, recovered=False), Run(2, recovered=False)
RECOVERED, TAKEN_UP = Run(2, recovered=True), Run(1, recovered=True)
RUNS: Final = [FIRST, AGAIN, RECOVERED, TAKEN_UP]


class Case(NamedTuple):
    """A run of an effect: all that is asked, in order, with the answers, and what is recorded."""

    effect: str
    run: Run
    told: Mapping[str, Said]
    recorded: Command


def charged(when: Run, outcome: Any, **told: Said) -> Case:
    return Case("charge", when, told, RecordCharge(outcome, when.attempt, NOW))


def looked_up(when: Run, outcome: Any, **told: Said) -> Case:
    return Case("charge looked up", when, told, RecordLookUp(outcome, 1, when.attempt, NOW))


def activated(when: Run, outcome: Any, **told: Said) -> Case:
    return Case("activate", when, told, RecordActivation(outcome, when.attempt, False, NOW))  # noqa: FBT003


def last_look(when: Run, outcome: Any, **told: Said) -> Case:
    recorded = RecordActivation(outcome, when.attempt, True, NOW)  # noqa: FBT003
    return Case("activate looked up", when, told, recorded)


def refunded(when: Run, outcome: Any, **told: Said) -> Case:
    return Case("refund", when, told, RecordRefund(CHARGE_ID, outcome, when.attempt, NOW))


DOWN, ABSENT = gateway.Unavailable(), gateway.NotFound()
NO_PROVIDER, NO_PLAN = provider.Unavailable(), provider.NotFound()
UNCLEAR: Final = gateway.OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
NOT_DONE, EITHER = (False,), (False, True)
CHARGES: Final = [
    Said(CAPTURED, done=True),
    *(Said(answer) for answer in (DECLINED, DOWN)),
    *(Said(answer, done) for answer in UNKNOWN for done in EITHER),
]
TOP_UPS: Final = [
    Said(ACTIVATED, done=True),
    *(Said(answer) for answer in (REFUSED, NO_PROVIDER)),
    *(Said(answer, done) for answer in NOT_ACTIVATED for done in EITHER),
]
REFUNDS: Final = [
    Said(REFUNDED, done=True),
    Said(DOWN),
    *(Said(answer, done) for answer in UNKNOWN for done in EITHER),
]


def cases() -> Iterator[Case]:
    found: Any
    for when in (FIRST, AGAIN):
        yield from (charged(when, said.answer, charge=said) for said in CHARGES)
    for when in (RECOVERED, TAKEN_UP):
        for found, outcome in ((CAPTURED, CAPTURED), (DECLINED, DECLINED), (DOWN, UNCLEAR)):
            yield charged(when, outcome, look_up_charge=Said(found))
        for said in CHARGES:
            outcome = UNCLEAR if said.answer == DOWN else said.answer
            yield charged(when, outcome, look_up_charge=Said(ABSENT), charge=said)
    for when in RUNS:
        for found in (CAPTURED, DECLINED, ABSENT, DOWN):
            yield looked_up(when, found, look_up_charge=Said(found))
        for found in (ACTIVATED, NO_PLAN, NO_PROVIDER):
            yield last_look(when, found, look_up=Said(found))
    yield from (activated(FIRST, said.answer, top_up=said) for said in TOP_UPS)
    yield from (refunded(FIRST, said.answer, refund=said) for said in REFUNDS)
    for when in (AGAIN, RECOVERED, TAKEN_UP):
        yield from (activated(when, each, look_up=Said(each)) for each in (ACTIVATED, NO_PROVIDER))
        yield from (
            activated(when, said.answer, look_up=Said(NO_PLAN), top_up=said) for said in TOP_UPS
        )
        yield from (refunded(when, each, look_up_refund=Said(each)) for each in (REFUNDED, DOWN))
        yield from (
            refunded(when, said.answer, look_up_refund=Said(ABSENT), refund=said)
            for said in REFUNDS
        )


def named(case: Case) -> str:
    said = [f"{method}={each.answer.outcome},{each.done}" for method, each in case.told.items()]
    return f"{case.effect}, {case.run.attempt}, {case.run.recovered}: {'; '.join(said)}"


def executed(
    effect: str, when: Run, outside: Forgetful, claims: MemoryClaims, checkpoint: str | None = None
) -> object:
    """Run an effect once, and return what it records."""
    kind = effect.split(maxsplit=1)[0]
    ports = Outside(outside, outside, lambda: NOW, claims, frozenset({"app-gateway"}))
    leased = EffectRun(0, f"{kind}/1", kind, "acct-1", ORDER, PAYLOADS[effect], *when, checkpoint)
    return run(build_effects(ports)[kind].execute(leased, no_mark))


@pytest.mark.parametrize("checkpoint", [None, "dot_sent"])
@pytest.mark.parametrize("case", list(cases()), ids=named)
def test_run_asks_what_it_must_in_order_and_does_nothing_twice(
    case: Case, checkpoint: str | None
) -> None:
    outside = Forgetful({method: [said] for method, said in case.told.items()})
    recorded = executed(case.effect, case.run, outside, MemoryClaims(), checkpoint)
    assert recorded == case.recorded
    afterwards = " afterwards" if case.effect == "charge looked up" else ""
    assert outside.asked == [(method, ASKED[method + afterwards]) for method in case.told]
    done = [method for method, said in case.told.items() if said.done]
    assert list(outside.done.elements()) == [
        (method, getattr(ASKED[method], KEYS[method])) for method in done
    ]


KEYS: Final = {"charge": "payment_id", "refund": "refund_id", "top_up": "reference"}


def held(**changes: Any) -> Found:
    fields: dict[str, Any] = {
        "gateway": TXN[0],
        "gateway_txn_id": TXN[1],
        "reference": ORDER,
        "status": "captured",
        "amount": usd(2120),
        "captured_at": NOW,
    }
    return Found(**(fields | changes))


CANNOT_SAY: Final = gateway.NotSupported()


@pytest.mark.parametrize("when", RUNS)
@pytest.mark.parametrize(
    ("effect", "answer", "owner"),
    [
        ("confirm", held(), ORDER),
        ("confirm", held(amount=usd(1)), ORDER),
        ("confirm", held(amount=usd(0)), None),
        ("confirm", held(status="pending"), None),
        ("confirm", held(status="not_captured"), None),
        ("confirm", held(reference="order/ren-2"), None),
        ("confirm", ABSENT, None),
        ("confirm", DOWN, None),
        ("confirm", CANNOT_SAY, ORDER),
        ("confirm of another amount", held(), ORDER),
        ("confirm of another amount", CANNOT_SAY, None),
    ],
)
def test_transaction_is_claimed_only_when_it_pays_the_order(
    effect: str, answer: Any, owner: str | None, when: Run
) -> None:
    outside, claims = Forgetful({"look_up_transaction": [Said(answer)]}), MemoryClaims()
    recorded = executed(effect, when, outside, claims)
    assert recorded == RecordConfirmation(*TXN, answer, owner, 1, when.attempt, NOW)
    assert outside.asked == [("look_up_transaction", TXN)]
    assert claims.owners == ({TXN: ORDER} if owner else {})


def test_transaction_of_another_order_is_recorded_as_its_own() -> None:
    outside, claims = Forgetful({"look_up_transaction": [Said(held())]}), MemoryClaims()
    claims.owners[TXN] = "order/ren-2"
    recorded = executed("confirm", FIRST, outside, claims)
    assert isinstance(recorded, RecordConfirmation)
    assert recorded.owner == "order/ren-2"


def test_gateway_that_is_not_trusted_is_not_believed() -> None:
    outside, claims = Forgetful({"look_up_transaction": [Said(CANNOT_SAY)]}), MemoryClaims()
    effects = build_effects(Outside(outside, outside, lambda: NOW, claims))
    leased = EffectRun(0, "confirm/1", "confirm", "acct-1", ORDER, CONFIRMED, *FIRST, None)
    recorded = run(effects["confirm"].execute(leased, no_mark))
    assert recorded == RecordConfirmation(*TXN, CANNOT_SAY, None, 1, 1, NOW)
    assert claims.owners == {}


def test_effects_at_a_gateway_say_by_their_payload_which_one_they_wait_for() -> None:
    usd_1 = {"amount_minor": 100, "currency": "USD"}
    money: JsonObject = {"amount": usd_1, "method": "card"}
    charged: JsonObject = {"payment_id": "p-1", "gateway": "stripe"}
    took: JsonObject = {"gateway": "stripe-eu", "gateway_txn_id": "t-1"}
    payloads: dict[str, list[JsonObject]] = {
        "charge": [
            charged | money | {"token": "tok_ok"},
            charged | {"not_found_count": 0},
            charged | {"gateway_txn_id": "t-1", "pay_by": "2026-11-20T08:00:00Z"},
        ],
        "refund": [money | took | {"refund_id": "r-1", "payment_id": "p-1", "through": "stripe"}],
        "confirm": [took | {"agreed": True, "not_found_count": 0}],
    }
    waiting = {each.kind: each for each in EFFECTS if each.waits_for is not None}
    assert waiting.keys() == payloads.keys()
    for kind, definition in waiting.items():
        for payload in payloads[kind]:
            waits_for = definition.waits_for
            assert waits_for is not None
            expected = "stripe-eu" if kind == "confirm" else "stripe"
            assert waits_for(definition.read(payload)) == expected
