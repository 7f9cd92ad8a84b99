"""Decides how a payment ended: charged, declined, unknown, looked up, expired. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, assert_never

from schemas.orders import (
    DeclineReason,
    OrderExpired,
    PaymentFailed,
    PaymentOutcomeResolved,
    PaymentOutcomeUnknown,
    UnknownCause,
)
from schemas.requests import PaymentMethod
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import (
    AwaitingAction,
    AwaitingCharge,
    AwaitingConfirmation,
    AwaitingWallet,
    Order,
    Renewal,
)
from services.orders.payments.actions import ask_customer
from services.orders.payments.capture import WALLET_GATEWAY, Receipt, capture
from services.orders.payments.commands import (
    ApplyWalletCharged,
    ApplyWalletRefusal,
    CapturedElsewhere,
    ExpireOrder,
    RecordAction,
    RecordCharge,
    RecordLookUp,
    SettleUnknownPayment,
)
from services.orders.payments.effects.charge import await_action, look_up_charge
from services.orders.payments.effects.expire import expiry_key
from services.orders.payments.gateways.gateway import (
    ActionRequired,
    Captured,
    Declined,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    Unavailable,
)
from services.runtime.effect import Drop, Retry
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored

NOT_FOUND_COUNT_MIN: Final = 2
"""One "not found" may be the gateway's own delay; a charge is written off after two at least."""
RETRYABLE: Final = frozenset(
    {
        DeclineReason.INSUFFICIENT_FUNDS,
        DeclineReason.BANK_LIMIT,
        DeclineReason.NETWORK_INTERRUPTION,
        DeclineReason.AUTHENTICATION_REQUIRED,
        DeclineReason.CANCELLED_BY_CUSTOMER,
    }
)
_NOT_AWAITED: Final = Ignored(IgnoredReason.PAYMENT_NOT_AWAITED)


def record_charge(command: RecordCharge, state: Order, rules: Rules) -> Decision | Ignored:
    """Take the gateway's answer; without one, look up from now on and never charge again."""
    outcome, now, policy = command.outcome, command.now, rules.policy
    if isinstance(outcome, Captured):
        return capture(state, _charged(state, outcome), rules, now)
    if not isinstance(state.stage, AwaitingCharge):
        return _NOT_AWAITED
    match outcome:
        case ActionRequired():
            return ask_customer(state, outcome, rules, now)
        case Declined():
            return _failed(state, outcome.reason, now)
        case NotSupported():
            return _failed(state, DeclineReason.UNKNOWN, now)
        case Unavailable():
            if now >= state.payable.accepted_at + policy.charge_window:
                return _failed(state, DeclineReason.NETWORK_INTERRUPTION, now)
            return Decision(effects=(Retry(now + policy.look_up_backoff.after(command.attempt)),))
        case OutcomeUnknown():
            first = state.stage.unknown_since is None
            events = (_unknown(state, outcome.cause, now),) if first else ()
            due_at = now + policy.look_up_backoff.after(1)
            asked_until = state.stage.unknown_since or now
            return Decision(events, (look_up_charge(state.payable, 0, asked_until, due_at),))
        case _:
            assert_never(outcome)


def record_look_up(command: RecordLookUp, state: Order, rules: Rules) -> Decision | Ignored:
    """Resolve an unknown outcome, or look up again later."""
    stage, outcome, now = state.stage, command.outcome, command.now
    if not isinstance(stage, AwaitingCharge) or stage.unknown_since is None:
        if isinstance(outcome, Captured) and not _is_recorded(state):
            return capture(state, _charged(state, outcome), rules, now)
        return _NOT_AWAITED
    not_found_count = command.not_found_count
    match outcome:
        case Captured():
            captured = capture(state, _charged(state, outcome), rules, now)
            return _after(_resolved(state, "captured", now), captured)
        case ActionRequired():
            asked = ask_customer(state, outcome, rules, now)
            return _after(_resolved(state, "action_required", now), asked)
        case Declined():
            return _after(_resolved(state, "declined", now), _failed(state, outcome.reason, now))
        case NotFound():
            not_found_count += 1
        case Unavailable():
            pass
        case _:
            assert_never(outcome)
    settled_at = stage.unknown_since + rules.policy.unknown_settle
    found_nothing = isinstance(outcome, NotFound) and not_found_count >= NOT_FOUND_COUNT_MIN
    if found_nothing and now >= settled_at:
        failed = _failed(state, DeclineReason.NETWORK_INTERRUPTION, now)
        return _after(_resolved(state, "not_charged", now), failed)
    due_at = now + rules.policy.look_up_backoff.after(command.attempt)
    if now < settled_at < due_at:
        due_at = settled_at
    again = look_up_charge(state.payable, not_found_count, stage.unknown_since, due_at)
    return Decision(effects=(again,))


def record_action(command: RecordAction, state: Order, rules: Rules) -> Decision | Ignored:
    """Take the money that the customer agreed to, look again, or close the order in the end."""
    stage, outcome, now = state.stage, command.outcome, command.now
    if isinstance(outcome, Captured):
        return capture(state, _charged(state, outcome), rules, now)
    if not isinstance(stage, AwaitingAction):
        return _NOT_AWAITED
    match outcome:
        case Declined() | NotFound() if now >= stage.pay_by:
            return close_unpaid(state, now)
        case Declined():
            return _failed(state, outcome.reason, now)
        case ActionRequired() | NotFound() | Unavailable():
            backoff = rules.policy.look_up_backoff
            again = await_action(state.payable, stage, backoff, command.attempt, now)
            return Decision(effects=(again,))
        case _:
            assert_never(outcome)


def settle(command: SettleUnknownPayment, state: Order, rules: Rules) -> Decision | Ignored:
    """Take a person's word for an outcome that the gateway does not tell; never for another one.

    Of captured money, the gateway's word counts where it has one; else the money is unverified.
    The look-up goes on once more: money that it finds after `not_charged` is given back.
    """
    stage, now = state.stage, command.now
    due_at = now + rules.policy.look_up_backoff.after(1)
    if not isinstance(stage, AwaitingCharge) or stage.unknown_since is None:
        return Ignored(IgnoredReason.PAYMENT_OUTCOME_NOT_UNKNOWN)
    once_more = look_up_charge(state.payable, 0, stage.unknown_since, due_at)
    if command.outcome == "not_charged":
        resolved = _resolved(state, "not_charged", now, settled=command)
        failed = _failed(state, DeclineReason.NETWORK_INTERRUPTION, now)
        return _after(resolved, failed, once_more)
    receipt = _found_by_a_person(state, command.outcome, stage.unknown_since, rules, now)
    resolved = _resolved(state, "captured", now, settled=command)
    return _after(resolved, capture(state, receipt, rules, now), once_more)


def expire(command: ExpireOrder, state: Order, rules: Rules) -> Decision | Ignored:
    """Close an unpaid order, unless the gateway is being asked about a payment of it."""
    if isinstance(state.stage, AwaitingConfirmation) and any(
        not each.kept for each in state.confirmations
    ):
        due_at = command.now + rules.policy.look_up_backoff.longest
        return Decision(effects=(Retry(due_at, hold_key=expiry_key(state.payable.stream_id)),))
    return close_unpaid(state, command.now)


def close_unpaid(state: Order, now: datetime) -> Decision | Ignored:
    """Say that the order waits for a payment no more."""
    if not isinstance(state.stage, AwaitingConfirmation | AwaitingAction):
        return _NOT_AWAITED
    payable = state.payable
    expired = OrderExpired(
        account_id=payable.account_id,
        renewal_id=payable.order.renewal_id,
        topup_id=payable.order.topup_id,
        expired_at=now,
    )
    return Decision((expired,), (Drop(payable.stream_id),))


def apply_wallet_charged(
    command: ApplyWalletCharged, state: Renewal, rules: Rules
) -> Decision | Ignored:
    """State the uniform fact that the order is paid; the ledger has booked it."""
    charged = command.charged
    _same_charge(charged.charge_id, state)
    receipt = Receipt(
        payment_id=charged.charge_id,
        gateway=WALLET_GATEWAY,
        gateway_txn_id=charged.charge_id,
        method=PaymentMethod.WALLET,
        amount=charged.amount,
        fee=None,
        captured_at=charged.charged_at,
        consideration=charged.consideration,
    )
    return capture(state, receipt, rules, command.now)


def apply_wallet_refusal(command: ApplyWalletRefusal, state: Renewal) -> Decision | Ignored:
    """Close an order that the wallet cannot pay."""
    _same_charge(command.refused.charge_id, state)
    if not isinstance(state.stage, AwaitingWallet):
        return _NOT_AWAITED
    return _failed(state, DeclineReason.INSUFFICIENT_FUNDS, command.now)


def _same_charge(charge_id: str, state: Renewal) -> None:
    if charge_id != state.payable.payment_id:
        message = "the ledger answered a charge this order never asked for: compare both logs"
        raise Poison("charge_unknown", message)


def _charged(state: Order, outcome: Captured) -> Receipt:
    return Receipt(
        payment_id=state.payable.payment_id,
        gateway=outcome.gateway,
        gateway_txn_id=outcome.gateway_txn_id,
        method=state.payable.method,
        amount=outcome.amount,
        fee=outcome.fee,
        captured_at=outcome.captured_at,
    )


def _found_by_a_person(
    state: Order, found: CapturedElsewhere, unknown_since: datetime, rules: Rules, now: datetime
) -> Receipt:
    payable, told = state.payable, found.told
    in_the_app = told is not None and told.reference == payable.stream_id
    captured_at = told.captured_at if told else found.captured_at or unknown_since
    return Receipt(
        payment_id=payable.payment_id,
        gateway=found.gateway,
        gateway_txn_id=found.gateway_txn_id,
        method=payable.method,
        amount=told.amount if told else payable.amount,
        fee=told.fee if told else None,
        captured_at=min(captured_at, now),
        unverified=told is None,
        external=in_the_app and found.gateway not in rules.policy.own_gateways,
    )


def _failed(state: Order, reason: DeclineReason, now: datetime) -> Decision:
    payable = state.payable
    failed = PaymentFailed(
        account_id=payable.account_id,
        renewal_id=payable.order.renewal_id,
        topup_id=payable.order.topup_id,
        payment_id=payable.payment_id,
        attempt=state.payments.next_attempt,
        gateway=payable.gateway,
        method=payable.method,
        amount=payable.amount,
        reason=reason,
        retryable=reason in RETRYABLE,
        plan_title=state.plan_title if isinstance(state, Renewal) else None,
        failed_at=now,
    )
    return Decision((failed,), (Drop(payable.stream_id),))


def _unknown(state: Order, cause: UnknownCause, now: datetime) -> PaymentOutcomeUnknown:
    payable = state.payable
    return PaymentOutcomeUnknown(
        account_id=payable.account_id,
        renewal_id=payable.order.renewal_id,
        topup_id=payable.order.topup_id,
        payment_id=payable.payment_id,
        gateway=payable.gateway,
        method=payable.method,
        amount=payable.amount,
        cause=cause,
        observed_at=now,
    )


def _is_recorded(state: Order) -> bool:
    """Say whether the order's own charge is recorded; under its key the gateway charges once."""
    return state.payments.get(state.payable.payment_id) is not None


def _resolved(
    state: Order,
    outcome: Literal["captured", "declined", "not_charged", "action_required"],
    now: datetime,
    settled: SettleUnknownPayment | None = None,
) -> PaymentOutcomeResolved:
    payable = state.payable
    return PaymentOutcomeResolved(
        account_id=payable.account_id,
        renewal_id=payable.order.renewal_id,
        topup_id=payable.order.topup_id,
        payment_id=payable.payment_id,
        gateway=payable.gateway,
        outcome=outcome,
        settled_by=settled.by if settled else None,
        settlement_reason=settled.reason if settled else None,
        resolved_at=now,
    )


def _after(
    resolved: PaymentOutcomeResolved, then: Decision | Ignored, *more: Retry
) -> Decision | Ignored:
    if isinstance(then, Ignored):
        return then
    return Decision((resolved, *then.events), (*then.effects, *more))
