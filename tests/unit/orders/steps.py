"""What happens to orders in these tests, in one line each."""

from __future__ import annotations

from typing import Any

from services.orders import identities
from services.orders.commands import (
    AcceptRenewal,
    AcceptTopUp,
    ConfirmPayment,
)
from tests.unit.orders.builders import (
    confirmation,
    renewal,
    top_up,
    usd,
)
from tests.unit.orders.world import World

ORDER, TOP_UP = "order/ren-1", "topup/top-1"
CHARGE_ID = identities.payment_id("acct-1", ORDER)


def ask(world: World, **changes: Any) -> None:
    world.tell(ORDER, lambda now: AcceptRenewal(renewal(**changes), now))


def confirm(world: World, **changes: Any) -> Any:
    return world.tell(ORDER, lambda now: ConfirmPayment(confirmation(**changes), now))


def ask_top_up(world: World, **changes: Any) -> None:
    world.tell(TOP_UP, lambda now: AcceptTopUp(top_up(**changes), now))


def confirm_top_up(world: World, **changes: Any) -> Any:
    fields = {"renewal_id": None, "topup_id": "top-1", "amount": usd(5000)} | changes
    return world.tell(TOP_UP, lambda now: ConfirmPayment(confirmation(**fields), now))


def charges(world: World) -> int:
    journal = world.ports.gateway.journal  # type: ignore[attr-defined]
    with journal.locked():
        return int(journal.count("charge", CHARGE_ID))


def last(world: World, kind: type[Any]) -> Any:
    return [event for event in world.events if isinstance(event, kind)][-1]
