"""Decides the activation of a paid plan, and the promise about it. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Final, assert_never

from schemas.orders import ActivationDelayed, ActivationFailureReason, PlanActivated
from services.orders.catalogue.validity import valid_until
from services.orders.order import identities
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import AwaitingActivation, Renewal
from services.orders.payments.capture import owe_back
from services.orders.renewals.commands import RecordActivation
from services.orders.renewals.effects.activate import look_up_activation
from services.orders.renewals.providers.provider import (
    Activated,
    NotFound,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from services.runtime.effect import Retry
from services.runtime.errors import Park
from services.runtime.processor import Decision, Ignored

_NOT_AWAITED: Final = Ignored(IgnoredReason.ACTIVATION_NOT_AWAITED)


def record_activation(
    command: RecordActivation, state: Renewal, rules: Rules
) -> Decision | Ignored:
    """Take the provider's answer: active, owed back, or tried again until the final deadline."""
    stage, outcome = state.stage, command.outcome
    if not isinstance(stage, AwaitingActivation):
        return _NOT_AWAITED
    match outcome:
        case Activated():
            return Decision((activated(state, stage, outcome, rules),))
        case Refused():
            return _given_up(state, stage, outcome.reason, command.now)
        case Unavailable() | OutcomeUnknown() | NotFound():
            if command.last:
                # A provider that does not even answer the last look-up must not go on holding
                # the customer's money: the refund is due, and the loss, if any, is ours.
                reason = ActivationFailureReason.DEADLINE_PASSED
                return _given_up(state, stage, reason, command.now)
            return _try_again(command, state, stage, rules)
        case _:
            assert_never(outcome)


def _try_again(
    command: RecordActivation, state: Renewal, stage: AwaitingActivation, rules: Rules
) -> Decision:
    now, policy, captured_at = command.now, rules.policy, stage.payment.captured_at
    promised_by = captured_at + policy.activation_promise
    deadline = captured_at + policy.activation_deadline
    late = now >= promised_by and not stage.delayed
    events = (_delayed(command, state, promised_by),) if late else ()
    due_at = now + policy.activation_backoff.after(command.attempt)
    if now < promised_by < due_at:
        due_at = promised_by
    if due_at < deadline:
        return Decision(events, (Retry(due_at),))
    return Decision(events, (look_up_activation(_reference(state), max(now, deadline)),))


def _delayed(command: RecordActivation, state: Renewal, promised_by: datetime) -> ActivationDelayed:
    return ActivationDelayed(
        account_id=state.payable.account_id,
        renewal_id=state.payable.order.value,
        activation_id=_reference(state),
        plan_title=state.plan_title,
        attempts=command.attempt,
        promised_by=promised_by,
        delayed_at=command.now,
    )


def _given_up(
    state: Renewal, stage: AwaitingActivation, reason: ActivationFailureReason, now: datetime
) -> Decision:
    events, effects = owe_back(state, stage.payment, reason, now)
    return Decision(events, effects)


def activated(
    state: Renewal, stage: AwaitingActivation, outcome: Activated, rules: Rules
) -> PlanActivated:
    """Return the fact that the plan works.

    Raises:
        Park: the catalogue has lost the plan that was sold.
    """
    price, payable = state.quote, state.payable
    plan = rules.catalogue.plan_version(price.plan_code, price.plan_version)
    if plan is None:
        message = rules.catalogue.lacks(price.plan_code, price.plan_version)
        raise Park("catalogue_lost", message)
    return PlanActivated(
        account_id=payable.account_id,
        renewal_id=payable.order.value,
        activation_id=_reference(state),
        payment_id=stage.payment.payment_id,
        esim_hash=state.esim_hash,
        provider=outcome.provider,
        provider_order_ref=outcome.provider_order_ref,
        plan_code=price.plan_code,
        plan_version=price.plan_version,
        plan_title=state.plan_title,
        quantity=price.quantity,
        allowance=plan.allowance,
        payment_method=stage.payment.method,
        price=price.net,
        tax=price.tax,
        total=price.total,
        valid_from=outcome.valid_from,
        valid_until=_valid_until(state, outcome, plan.validity_days),
        time_zone=state.time_zone,
        activated_at=outcome.activated_at,
    )


def _valid_until(state: Renewal, outcome: Activated, validity_days: int) -> datetime:
    """Return the end of the plan: by the calendar it is ours to say, else the provider's."""
    if state.time_zone is None:
        return outcome.valid_until
    days = validity_days * state.quote.quantity
    return valid_until(outcome.valid_from, days, state.time_zone)


def _reference(state: Renewal) -> str:
    return identities.activation_id(state.payable.account_id, state.payable.stream_id)
