"""Decides what a person says became of an activation, a refund or an unpaid order. PURE.

What nothing else tells: from the word of the provider's or the gateway's people, or a statement.
Payments are settled in `payments`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from schemas.envelope import Event
from schemas.orders import ActivationFailureReason, RefundFailed
from schemas.surplus import SurplusReturnFailed
from services.orders import identities
from services.orders.activation import activated
from services.orders.capture import owe_back
from services.orders.commands import (
    SettleActivation,
    SettleExpiry,
    SettleRefund,
)
from services.orders.effects import keep_refund
from services.orders.payments import close_unpaid
from services.orders.providers.provider import Activated
from services.orders.refunds import refund_completed
from services.orders.rules import IgnoredReason, Rules
from services.orders.state import AwaitingActivation, Renewal, TopUp
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored

EventT = TypeVar("EventT", bound=Event)


def settle_activation(
    command: SettleActivation, state: Renewal, rules: Rules
) -> Decision | Ignored:
    """Take the plan for active, or owe the money back as after an activation that failed.

    Raises:
        Poison: the catalogue has lost the plan, whose validity nobody else knows.
    """
    stage, outcome = state.stage, command.outcome
    if not isinstance(stage, AwaitingActivation):
        return Ignored(IgnoredReason.ACTIVATION_NOT_AWAITED)
    if outcome == "not_activated":
        reason = ActivationFailureReason.DEADLINE_PASSED
        (failed, *more), effects = owe_back(state, stage.payment, reason, command.now)
        return Decision((_signed(failed, command), *more), effects)
    price = state.quote
    plan = rules.catalogue.plan_version(price.plan_code, price.plan_version)
    if plan is None:
        message = (
            f"the catalogue no longer holds version {price.plan_version} of {price.plan_code}: "
            "put it back, then settle again"
        )
        raise Poison("give_up", message)
    validity = timedelta(days=plan.validity_days * price.quantity)
    found = Activated(
        provider=outcome.provider,
        provider_order_ref=outcome.provider_order_ref,
        valid_from=outcome.activated_at,
        valid_until=outcome.activated_at + validity,
        activated_at=outcome.activated_at,
    )
    return Decision((_signed(activated(state, stage, found, rules), command),))


def settle_refund(command: SettleRefund, state: Renewal) -> Decision | Ignored:
    """State that the money went back, or that it does not by this way and stays owed."""
    payment = state.owed.get(command.payment_id)
    if payment is None:
        return Ignored(IgnoredReason.REFUND_NOT_OWED)
    outcome = command.outcome
    if outcome != "not_refunded":
        completed = refund_completed(
            state.payable,
            payment,
            outcome.gateway,
            outcome.gateway_refund_ref,
            outcome.refunded_at,
        )
        return Decision((_signed(completed, command),))
    kind = RefundFailed if payment.surplus is None else SurplusReturnFailed
    failed = kind(
        account_id=state.payable.account_id,
        renewal_id=state.payable.renewal_id or "",
        refund_id=identities.refund_id(payment.payment_id),
        payment_id=payment.payment_id,
        settled_by=command.by,
        settlement_reason=command.reason,
        failed_at=command.now,
    )
    return Decision((failed,), (keep_refund(payment),))


def settle_expiry(command: SettleExpiry, state: Renewal | TopUp) -> Decision | Ignored:
    """Close an unpaid order before its time; money that comes later is given back all the same."""
    decision = close_unpaid(state, command.now)
    if isinstance(decision, Ignored):
        return decision
    signed = tuple(_signed(event, command) for event in decision.events)
    return Decision(signed, decision.effects)


def _signed(event: EventT, who: SettleActivation | SettleRefund | SettleExpiry) -> EventT:
    """Return the fact with who settled it and how it is known."""
    return event.model_copy(
        update={"settled_by": who.by, "settlement_reason": who.reason},
    )
