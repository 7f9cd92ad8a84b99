"""Which event leads to which command on which stream, and orders as the runtime sees it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from schemas import BILLING
from schemas.confirmations import PaymentConfirmed, RefundConfirmed
from schemas.envelope import Envelope, Event
from schemas.ledger import WalletCharged, WalletChargeRefused
from schemas.requests import (
    CustomerContactChanged,
    RenewalRequested,
    TopUpRequested,
)
from schemas.topics import CONFIRMATIONS, LEDGER, ORDERS, REQUESTS, Source
from services.orders.decider import Command, decide
from services.orders.metrics import COUNTERS
from services.orders.order.order_id import OrderId
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import OrderState
from services.orders.order.streams import RENEWALS, TOP_UPS
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
    Processor,
    Projection,
    Streams,
    Subscription,
    Task,
    on,
)


def on_renewal_requested(envelope: Envelope, event: RenewalRequested, now: datetime) -> Task:
    """Accept or refuse the renewal."""
    command = AcceptRenewal(event, now, envelope.source)
    return Task(RENEWALS.stream_id(event.renewal_id), command)


def on_top_up_requested(envelope: Envelope, event: TopUpRequested, now: datetime) -> Task:
    """Accept or refuse the top-up."""
    command = AcceptTopUp(event, now, envelope.source)
    return Task(TOP_UPS.stream_id(event.topup_id), command)


def on_payment_confirmed(_envelope: Envelope, event: PaymentConfirmed, now: datetime) -> Task:
    """Ask about what the customer is said to have paid in the app."""
    return Task(OrderId.of(event).stream_id, ConfirmPayment(event, now))


def on_refund_confirmed(_envelope: Envelope, event: RefundConfirmed, now: datetime) -> Task:
    """Take the word of the gateway that was instructed to give money back."""
    return Task(RENEWALS.stream_id(event.renewal_id), ConfirmRefund(event, now))


def on_customer_contact_changed(
    _envelope: Envelope, _event: CustomerContactChanged, _now: datetime
) -> Ignored:
    """Leave contact data to the notifier."""
    return Ignored(IgnoredReason.NOT_FOR_ORDERS)


def on_wallet_charged(_envelope: Envelope, event: WalletCharged, now: datetime) -> Task:
    """Go on with a renewal that the wallet paid."""
    return Task(RENEWALS.stream_id(event.renewal_id), ApplyWalletCharged(event, now))


def on_wallet_charge_refused(
    _envelope: Envelope, event: WalletChargeRefused, now: datetime
) -> Task:
    """Close a renewal that the wallet cannot pay."""
    return Task(RENEWALS.stream_id(event.renewal_id), ApplyWalletRefusal(event, now))


HANDLERS: Final[Mapping[type[Event], Handler]] = dict(
    (
        on(RenewalRequested, on_renewal_requested),
        on(TopUpRequested, on_top_up_requested),
        on(PaymentConfirmed, on_payment_confirmed),
        on(RefundConfirmed, on_refund_confirmed),
        on(CustomerContactChanged, on_customer_contact_changed),
        on(WalletCharged, on_wallet_charged),
        on(WalletChargeRefused, on_wallet_charge_refused),
    )
)


def build_processor(
    rules: Rules,
    effects: Mapping[str, Effect],
    project: Projection | None = None,
) -> Processor:
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
        streams=Streams(
            BILLING, RENEWALS.decided_by(decide_by_rules), TOP_UPS.decided_by(decide_by_rules)
        ),
        effects=effects,
        project=project,
        counters=COUNTERS,
    )
