"""Decides what is said of a charge that the customer has to agree to at the gateway. PURE."""

from __future__ import annotations

from datetime import datetime

from schemas.confirmations import PaymentActionRequired, PaymentConfirmed
from services.orders.order.rules import Rules
from services.orders.order.state import AwaitingAction, Order
from services.orders.payments.effects.charge import action_key, await_action
from services.orders.payments.gateways.gateway import ActionRequired
from services.runtime.effect import Release
from services.runtime.processor import Decision


def ask_customer(state: Order, outcome: ActionRequired, rules: Rules, now: datetime) -> Decision:
    """Say where the customer can agree and until when, and look whether that was done."""
    payable, policy = state.payable, rules.policy
    required = PaymentActionRequired(
        account_id=payable.account_id,
        renewal_id=payable.order.renewal_id,
        topup_id=payable.order.topup_id,
        payment_id=payable.payment_id,
        gateway=outcome.gateway,
        gateway_txn_id=outcome.gateway_txn_id,
        method=payable.method,
        amount=payable.amount,
        pay_link=outcome.pay_link,
        pay_by=now + policy.confirmation_window,
        required_at=now,
    )
    stage = AwaitingAction(outcome.gateway, outcome.gateway_txn_id, required.pay_by)
    return Decision((required,), (await_action(payable, stage, policy.look_up_backoff, 1, now),))


def look_now(hint: PaymentConfirmed, state: Order) -> Decision | None:
    """Look up the payment now, after a hint that the customer agreed; None: of another payment."""
    stage = state.stage
    if not isinstance(stage, AwaitingAction):
        return None
    if (hint.gateway, hint.gateway_txn_id) != (stage.gateway, stage.gateway_txn_id):
        return None
    return Decision(effects=(Release(action_key(state.payable)),))
