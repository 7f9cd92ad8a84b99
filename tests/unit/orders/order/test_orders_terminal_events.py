"""An order has exactly one terminal event, whatever is paid, answered or settled, in any order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import TERMINAL_EVENTS
from schemas.confirmations import RefundInstructed
from schemas.envelope import Event
from schemas.requests import PaymentInstruction
from services.orders.renewals.commands import AcceptRenewal
from services.orders.topups.commands import AcceptTopUp
from services.runtime.errors import Poison, SettlementRefused
from services.runtime.processor import Settlement
from tests.unit.orders.builders import ICCID, by_token, confirmation, in_app, renewal, top_up, usd
from tests.unit.orders.steps import ORDER, TOP_UP, hint, pay_in_app, shop_gives_back
from tests.unit.orders.world import World

ROUNDS_MAX: Final = 3_000
SETTLEMENTS: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "charge": (
        {"outcome": "captured", "gateway": "silent-bank", "reference": "slip-1"},
        {"outcome": "not_charged"},
    ),
    "activate": (
        {"outcome": "activated", "provider": "desk", "reference": "plan-1"},
        {"outcome": "not_activated"},
    ),
    "refund": (
        {"outcome": "refunded", "gateway": "bank", "reference": "back-1"},
        {"outcome": "not_refunded"},
    ),
    "expire": ({"outcome": "expired"},),
    "confirm": ({"outcome": "settled"},),
}


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens to one of two orders."""

    kind: Literal["run", "crash", "pay", "settle", "wait"]
    renewal: bool
    pick: int
    amount: Literal["agreed", "less"]


_steps = st.builds(
    Step,
    kind=st.sampled_from(["run", "run", "crash", "pay", "pay", "settle", "wait"]),
    renewal=st.booleans(),
    pick=st.integers(0, 5),
    amount=st.sampled_from(["agreed", "agreed", "less"]),
)
_payments = st.sampled_from(
    [in_app(), *map(by_token, ("tok_ok", "tok_bank_limit", "tok_timeout_after", "tok_down_3"))]
)
_iccids = st.sampled_from([ICCID, ICCID[:-4] + "9001", ICCID[:-4] + "9007"])


@settings(max_examples=400, database=None, derandomize=True)
@given(st.lists(_steps, max_size=16), _payments, _payments, _iccids)
def test_every_order_ends_with_exactly_one_terminal_event(
    steps: list[Step], first: PaymentInstruction, second: PaymentInstruction, iccid: str
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            asked, topped = renewal(payment=first, iccid=iccid), top_up(payment=second)
            world.tell(ORDER, lambda now: AcceptRenewal(asked, now))
            world.tell(TOP_UP, lambda now: AcceptTopUp(topped, now))
            for step in steps:
                _take(world, step)
            _finish(world)
            ends = Counter(_order_of(each) for each in world.events if _is_terminal(each))
            assert ends == {"ren-1": 1, "top-1": 1}, world.names()
        finally:
            world.close()


def _is_terminal(event: Event) -> bool:
    return type(event) in TERMINAL_EVENTS


def _order_of(event: Event) -> str:
    return str(getattr(event, "renewal_id", None) or getattr(event, "topup_id", None))


def _take(world: World, step: Step) -> None:
    due = [key for key, each in world.effects.items() if each.due_at is not None]
    match step.kind:
        case "run" | "crash" if due:
            world.execute(due[step.pick % len(due)], crash=step.kind == "crash")
        case "pay":
            _pay(world, step)
        case "settle" if world.effects:
            _settle(world, sorted(world.effects)[step.pick % len(world.effects)], step.pick)
        case _:
            world.run_until(world.now + timedelta(minutes=10 * (1 + step.pick)))


def _pay(world: World, step: Step) -> None:
    """Pay in the app, and have it confirmed."""
    agreed = 2120 if step.renewal else 5000
    said: dict[str, Any] = {
        "gateway_txn_id": f"txn-{step.renewal}-{step.pick}",
        "amount": usd(agreed if step.amount == "agreed" else agreed - 1),
    }
    if not step.renewal:
        said |= {"renewal_id": None, "topup_id": "top-1"}
    pay_in_app(world, confirmation(**said))
    hint(world, **said)


def _settle(world: World, effect_id: str, pick: int) -> None:
    """Have a person settle an effect; what makes no sense now is refused."""
    ways = SETTLEMENTS[world.effects[effect_id].kind]
    said = Settlement(by="maria", reason="as the statement says", **ways[pick % len(ways)])
    try:
        world.settle(effect_id, said)
    except SettlementRefused:
        return
    except Poison as poison:
        assert poison.reason == "transaction_already_used"  # noqa: PT017 - of many


def _finish(world: World) -> None:
    """Run what is left; the shop gives back what it took, and a person what nobody else can."""
    shop = True
    for _ in range(ROUNDS_MAX):
        moments = [each.due_at for each in world.effects.values() if each.due_at is not None]
        if moments:
            world.run_until(max(world.now, min(moments)))
        elif any(isinstance(each, RefundInstructed) for each in world.events) and shop:
            shop_gives_back(world)
            shop = False
        elif held := [key for key, each in world.effects.items() if each.kind == "refund"]:
            _settle(world, held[0], 0)
        else:
            assert world.effects == {}
            return
    message = f"effects are left: {sorted(world.effects)}"
    raise AssertionError(message)
