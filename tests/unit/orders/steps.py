"""What happens to orders in these tests, in one line each."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from schemas.confirmations import PaymentConfirmed, RefundConfirmed, RefundInstructed
from services.orders.order import identities
from services.orders.payments.commands import ConfirmPayment, ConfirmRefund
from services.orders.payments.gateways.sandbox import CustomerPayment
from services.orders.ports import SandboxPorts
from services.orders.renewals.commands import AcceptRenewal
from services.orders.topups.commands import AcceptTopUp
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


class HasPorts(Protocol):
    """Whatever has the sandboxes behind it."""

    @property
    def ports(self) -> SandboxPorts:
        """Return the gateway and the provider."""


def pay_in_app(world: HasPorts, paid: PaymentConfirmed, **changes: Any) -> None:
    """Have the gateway hold what a confirmation says, under the order that it names."""
    reference = f"order/{paid.renewal_id}" if paid.renewal_id else f"topup/{paid.topup_id}"
    fields: dict[str, Any] = {
        "gateway": paid.gateway,
        "gateway_txn_id": paid.gateway_txn_id,
        "reference": reference,
        "method": paid.method,
        "amount": paid.amount,
        "fee_minor": paid.fee.amount_minor if paid.fee else 0,
        "paid_at": paid.confirmed_at,
    }
    world.ports.gateway.pay(CustomerPayment(**(fields | changes)))


def hint(world: World, **changes: Any) -> Any:
    """Confirm a payment, whether the gateway knows of it or not."""
    said = confirmation(**changes)
    stream_id = f"order/{said.renewal_id}" if said.renewal_id else f"topup/{said.topup_id}"
    return world.tell(stream_id, lambda now: ConfirmPayment(said, now))


def confirm(world: World, **changes: Any) -> Any:
    """Pay in the app, have it confirmed, and have the gateway asked."""
    pay_in_app(world, confirmation(**changes))
    decision = hint(world, **changes)
    ask_gateway(world)
    return decision


def outcomes(world: World) -> list[str]:
    """Return the names of all events so far, but for hints that were received."""
    return [name for name in world.names() if name != "PaymentConfirmationReceived"]


def ask_gateway(world: World) -> None:
    """Run the look-ups of confirmations that are due, and nothing else."""
    due = [
        key
        for key, each in world.effects.items()
        if each.kind == "confirm" and each.due_at is not None and each.due_at <= world.now
    ]
    for key in due:
        world.execute(key)


def ask_top_up(world: World, **changes: Any) -> None:
    world.tell(TOP_UP, lambda now: AcceptTopUp(top_up(**changes), now))


def confirm_top_up(world: World, **changes: Any) -> Any:
    return confirm(
        world, **({"renewal_id": None, "topup_id": "top-1", "amount": usd(5000)} | changes)
    )


def shop_gives_back(world: World) -> None:
    """Have the shop's gateway give back whatever it was instructed to, and say so."""
    for each in [each for each in world.events if isinstance(each, RefundInstructed)]:
        said = refund_confirmed(each)
        world.tell(f"order/{each.renewal_id}", partial(ConfirmRefund, said))


def refund_confirmed(instructed: RefundInstructed, **changes: Any) -> RefundConfirmed:
    """Return what the shop's gateway says of a payment that it gave back."""
    fields: dict[str, Any] = {
        "account_id": instructed.account_id,
        "renewal_id": instructed.renewal_id,
        "gateway": instructed.gateway,
        "gateway_txn_id": instructed.gateway_txn_id,
        "gateway_refund_ref": f"shop-{instructed.gateway_txn_id}",
        "amount": instructed.amount,
        "refunded_at": instructed.instructed_at,
    }
    return RefundConfirmed(**(fields | changes))


def charges(world: World) -> int:
    journal = world.ports.gateway.journal
    with journal.locked():
        return int(journal.count("charge", CHARGE_ID))


def last(world: World, kind: type[Any]) -> Any:
    return [event for event in world.events if isinstance(event, kind)][-1]
