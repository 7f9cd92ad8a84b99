"""Whatever is said to have been paid, in any order: the gateway's transactions alone move money."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.orders import OrderExpired, PaymentCaptured
from schemas.surplus import SurplusCaptured
from services.orders.order import identities
from services.orders.renewals.commands import AcceptRenewal
from services.orders.sandbox_journal import Entry
from services.runtime.errors import Poison
from tests.unit.orders.builders import by_token, confirmation, in_app, renewal, usd
from tests.unit.orders.steps import hint, pay_in_app, shop_gives_back
from tests.unit.orders.world import World

ORDERS: Final = ("ren-1", "ren-2")
TXNS: Final = ("txn-1", "txn-2", "txn-late-2", "txn-down-1", "txn-pending-1", "txn-cancelled")
AMOUNTS: Final = (2120, 2119, 900_000, 0)
ROUNDS_MAX: Final = 3_000


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens: about one of two orders, one transaction and one amount."""

    kind: Literal["pay", "say", "say_charge", "run", "crash", "wait"]
    order: str
    txn: str
    amount: int
    pick: int


_steps = st.builds(
    Step,
    kind=st.sampled_from(["pay", "pay", "say", "say", "say_charge", "run", "run", "crash", "wait"]),
    order=st.sampled_from(ORDERS),
    txn=st.sampled_from(TXNS),
    amount=st.sampled_from(AMOUNTS),
    pick=st.integers(0, 5),
)


@settings(
    max_examples=250,
    database=None,
    derandomize=True,
)
@given(st.lists(_steps, max_size=20), st.sampled_from(["tok_ok", "tok_timeout_after", "in_app"]))
def test_money_moves_by_what_the_gateway_holds_alone(steps: list[Step], first: str) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            payments = (in_app() if first == "in_app" else by_token(first), in_app())
            for renewal_id, payment in zip(ORDERS, payments, strict=True):
                asked = AcceptRenewal(renewal(renewal_id=renewal_id, payment=payment), world.now)
                world.tell(f"order/{renewal_id}", partial(_as_it_is, asked))
            for step in steps:
                _take(world, step)
            _finish(world)
            _check(world)
        finally:
            world.close()


def _as_it_is(command: AcceptRenewal, _now: datetime) -> AcceptRenewal:
    return command


def _take(world: World, step: Step) -> None:
    said = {
        "renewal_id": step.order,
        "gateway_txn_id": step.txn,
        "amount": usd(step.amount),
    }
    due = [key for key, each in world.effects.items() if each.due_at is not None]
    match step.kind:
        case "pay":
            pay_in_app(world, confirmation(**said))
        case "say":
            _say(world, said)
        case "say_charge":
            _say(world, said | {"gateway": "sandbox", "gateway_txn_id": _own_charge(world)})
        case "run" | "crash" if due:
            world.execute(due[step.pick % len(due)], crash=step.kind == "crash")
        case _:
            world.run_until(world.now + timedelta(minutes=5 * (1 + step.pick)))


def _say(world: World, said: dict[str, object]) -> None:
    try:
        hint(world, **said)
    except Poison as poison:
        assert poison.reason == "confirmations_too_many"  # noqa: PT017 - the only one there may be


def _own_charge(world: World) -> str:
    charges = _entries(world, "charge")
    return str(charges[0]["txn"]) if charges else "none-yet"


def _entries(world: World, kind: str) -> list[Entry]:
    journal = world.ports.gateway.journal
    with journal.locked():
        return list(journal.all(kind))


def _finish(world: World) -> None:
    for _ in range(ROUNDS_MAX):
        moments = [each.due_at for each in world.effects.values() if each.due_at is not None]
        if not moments and world.effects:
            shop_gives_back(world)
            continue
        if not moments:
            return
        world.run_until(max(world.now, min(moments)))
    message = f"effects are left: {sorted(world.effects)}"
    raise AssertionError(message)


def _check(world: World) -> None:
    paid = {("app-gateway", each["txn"]): each for each in _entries(world, "payment")}
    charged = {("sandbox", each["txn"]): each for each in _entries(world, "charge")}
    captured = [
        each for each in world.events if isinstance(each, PaymentCaptured | SurplusCaptured)
    ]
    keys = Counter((each.gateway, each.gateway_txn_id) for each in captured)
    assert max(keys.values(), default=0) <= 1, "a transaction served twice"
    for each in captured:
        assert each.amount.amount_minor > 0, "nothing is no payment"
        assert world.claims.owners[each.gateway, each.gateway_txn_id] == f"order/{each.renewal_id}"
        key = (each.gateway, each.gateway_txn_id)
        stream_id = f"order/{each.renewal_id}"
        held = paid.get(key) or charged[key]
        reference = held.get("reference", stream_id)
        assert reference == stream_id, "money of another order"
        assert held["amount_minor"] == each.amount.amount_minor, "another amount than is held"
        if key in charged:
            assert held["key"] == identities.payment_id("acct-1", stream_id)
    given_back: Counter[tuple[str, str]] = Counter()
    for refund in _entries(world, "refund"):
        given_back[refund["gateway"], refund["txn"]] += refund["amount_minor"]
    for key, amount in given_back.items():
        assert amount <= (paid.get(key) or charged[key])["amount_minor"], "more than was captured"
        assert key in keys, "given back what was never captured"
    _check_expiry(world, captured)


def _check_expiry(world: World, captured: list[PaymentCaptured | SurplusCaptured]) -> None:
    """An order that expired had no payment of its own: what came later was given back."""
    expired = {each.renewal_id for each in world.events if isinstance(each, OrderExpired)}
    activated = {
        getattr(each, "renewal_id", "")
        for each in world.events
        if type(each).__name__ == "PlanActivated"
    }
    assert not expired & activated
    bought = {each.renewal_id for each in captured if each.amount == usd(2120)}
    assert activated <= bought
