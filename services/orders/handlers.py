"""Which event leads to which command on which stream, and orders as the runtime sees it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, cast

from schemas.confirmations import PaymentConfirmed, RefundConfirmed
from schemas.envelope import Event, Source
from schemas.ledger import WalletCharged, WalletChargeRefused
from schemas.requests import (
    CustomerContactChanged,
    RenewalRequested,
    TopUpRequested,
)
from schemas.topics import CONFIRMATIONS, LEDGER, ORDERS, REQUESTS
from services.orders.decider import Command, decide
from services.orders.metrics import COUNTERS
from services.orders.order.archival import ARCHIVAL
from services.orders.order.evolution import evolve, initial_state
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import OrderState
from services.orders.payments.commands import (
    ApplyWalletCharged,
    ApplyWalletRefusal,
    ConfirmPayment,
    ConfirmRefund,
)
from services.orders.renewals.commands import AcceptRenewal
from services.orders.topups.commands import AcceptTopUp
from services.runtime.processor import (
    Decision,
    Effect,
    Handler,
    Ignored,
    Incoming,
    Processor,
    Projection,
    Subscription,
    Task,
)


def on_renewal_requested(incoming: Incoming, now: datetime) -> Task:
    """Accept or refuse the renewal."""
    request = cast("RenewalRequested", incoming.event)
    return Task(
        f"order/{request.renewal_id}", AcceptRenewal(request, now, incoming.envelope.source)
    )


def on_top_up_requested(incoming: Incoming, now: datetime) -> Task:
    """Accept or refuse the top-up."""
    request = cast("TopUpRequested", incoming.event)
    return Task(f"topup/{request.topup_id}", AcceptTopUp(request, now, incoming.envelope.source))


def on_payment_confirmed(incoming: Incoming, now: datetime) -> Task:
    """Ask about what the customer is said to have paid in the app."""
    confirmation = cast("PaymentConfirmed", incoming.event)
    renewal_id, topup_id = confirmation.renewal_id, confirmation.topup_id
    stream_id = f"order/{renewal_id}" if renewal_id else f"topup/{topup_id}"
    return Task(stream_id, ConfirmPayment(confirmation, now))


def on_refund_confirmed(incoming: Incoming, now: datetime) -> Task:
    """Take the word of the gateway that was instructed to give money back."""
    confirmation = cast("RefundConfirmed", incoming.event)
    return Task(f"order/{confirmation.renewal_id}", ConfirmRefund(confirmation, now))


def on_customer_contact_changed(_incoming: Incoming, _now: datetime) -> Ignored:
    """Leave contact data to the notifier."""
    return Ignored(IgnoredReason.NOT_FOR_ORDERS)


def on_wallet_charged(incoming: Incoming, now: datetime) -> Task:
    """Go on with a renewal that the wallet paid."""
    charged = cast("WalletCharged", incoming.event)
    return Task(f"order/{charged.renewal_id}", ApplyWalletCharged(charged, now))


def on_wallet_charge_refused(incoming: Incoming, now: datetime) -> Task:
    """Close a renewal that the wallet cannot pay."""
    refused = cast("WalletChargeRefused", incoming.event)
    return Task(f"order/{refused.renewal_id}", ApplyWalletRefusal(refused, now))


HANDLERS: Final[Mapping[type[Event], Handler]] = {
    RenewalRequested: on_renewal_requested,
    TopUpRequested: on_top_up_requested,
    PaymentConfirmed: on_payment_confirmed,
    RefundConfirmed: on_refund_confirmed,
    CustomerContactChanged: on_customer_contact_changed,
    WalletCharged: on_wallet_charged,
    WalletChargeRefused: on_wallet_charge_refused,
}


def build_processor(
    rules: Rules,
    effects: Mapping[str, Effect],
    project: Projection | None = None,
) -> Processor[OrderState]:
    """Return orders as the runtime runs it; `project` claims what gateways captured."""

    def decide_by_rules(command: Command, state: OrderState) -> Decision | Ignored:
        return decide(command, state, rules)

    return Processor(
        source=Source.ORDERS,
        group="orders",
        output_topic=ORDERS.name,
        subscriptions=(
            Subscription(REQUESTS.name, strict=True),
            Subscription(CONFIRMATIONS.name, strict=True),
            Subscription(LEDGER.name, strict=False),
        ),
        handlers=HANDLERS,
        initial_state=initial_state,
        evolve=evolve,
        decide=decide_by_rules,
        effects=effects,
        project=project,
        counters=COUNTERS,
        archival=ARCHIVAL,
    )
