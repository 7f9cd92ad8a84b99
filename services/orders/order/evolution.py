"""How each fact changes what is known about an order. PURE; `evolve` never refuses the past."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from schemas.confirmations import (
    ConfirmationRefusal,
    PaymentActionRequired,
    PaymentConfirmationReceived,
    PaymentConfirmationRefused,
    RefundFailed,
)
from schemas.envelope import Event
from schemas.orders import (
    ActivationDelayed,
    ActivationFailed,
    OrderExpired,
    PaymentCaptured,
    PaymentFailed,
    PaymentOutcomeUnknown,
    PlanActivated,
    RefundCompleted,
    RejectionReason,
    RenewalAccepted,
    RenewalRejected,
    TopUpAccepted,
    TopUpRejected,
    TopUpRejectionReason,
    WalletToppedUp,
)
from schemas.requests import PaymentMode
from schemas.surplus import SurplusCaptured, SurplusReturned, SurplusReturnFailed
from services.orders.order import identities
from services.orders.order.order_id import OrderId
from services.orders.order.state import (
    Active,
    ArchivedOrder,
    AwaitingAction,
    AwaitingActivation,
    AwaitingCharge,
    AwaitingConfirmation,
    AwaitingPayment,
    AwaitingWallet,
    Confirmation,
    Credited,
    Expired,
    NewOrder,
    NotActivated,
    NotPaid,
    OrderState,
    Payable,
    Payment,
    RefusedOrder,
    Renewal,
    RenewalStage,
    TopUp,
    TopUpStage,
    untaxed,
)

OrderT = TypeVar("OrderT", Renewal, TopUp)

REFUSED_DIGESTS_MAX: Final = 16
KEPT: Final = frozenset({ConfirmationRefusal.AMOUNT_DIFFERS, ConfirmationRefusal.ORDER_NOT_WAITING})
"""Refusals after which money may lie at a gateway that cannot be asked: a person settles them."""
_REUSED: Final = (RejectionReason.RENEWAL_ID_REUSED, TopUpRejectionReason.TOPUP_ID_REUSED)


def initial_state() -> OrderState:
    """Return the state of a stream without events."""
    return NewOrder()


def evolve(state: OrderState, event: Event) -> OrderState:
    """Return the state after `event`; the past is never refused."""
    match event:
        case RenewalRejected() | TopUpRejected():
            return _after_rejection(state, event)
        case RenewalAccepted():
            return _accepted_renewal(event)
        case TopUpAccepted():
            return _accepted_top_up(event)
        case _:
            pass
    match state:
        case Renewal():
            return _evolve_renewal(_with_confirmations(state, event), event)
        case TopUp():
            return _evolve_top_up(_with_confirmations(state, event), event)
        case NewOrder() | RefusedOrder() | ArchivedOrder():
            return state


def _after_rejection(state: OrderState, event: RenewalRejected | TopUpRejected) -> OrderState:
    if not isinstance(state, NewOrder):
        newest = (*state.refused_digests, event.request_digest)[-REFUSED_DIGESTS_MAX:]
        return replace(state, refused_digests=newest) if event.reason in _REUSED else state
    return RefusedOrder(event.account_id, event.request_digest)


def _accepted_renewal(event: RenewalAccepted) -> Renewal:
    order = OrderId.renewal(event.renewal_id)
    payable = Payable(
        account_id=event.account_id,
        order=order,
        payment_id=identities.payment_id(event.account_id, order.stream_id),
        method=event.payment_method,
        mode=event.payment_mode,
        amount=event.quote.total,
        gateway=event.gateway,
        digest=event.request_digest,
        accepted_at=event.accepted_at,
    )
    stage = _first_stage(event.payment_mode)
    return Renewal(
        payable,
        event.quote,
        event.plan_title,
        event.esim_hash,
        stage,
        time_zone=event.time_zone,
    )


def _accepted_top_up(event: TopUpAccepted) -> TopUp:
    order = OrderId.top_up(event.topup_id)
    payable = Payable(
        account_id=event.account_id,
        order=order,
        payment_id=identities.payment_id(event.account_id, order.stream_id),
        method=event.payment_method,
        mode=event.payment_mode,
        amount=event.amount,
        gateway=event.gateway,
        digest=event.request_digest,
        accepted_at=event.accepted_at,
    )
    stage = (
        AwaitingConfirmation()
        if event.payment_mode is PaymentMode.AWAIT_CONFIRMATION
        else AwaitingCharge()
    )
    return TopUp(payable, event.bonus, event.rule_id, event.rule_version, stage)


def _first_stage(mode: PaymentMode) -> AwaitingPayment:
    match mode:
        case PaymentMode.CHARGE:
            return AwaitingCharge()
        case PaymentMode.AWAIT_CONFIRMATION:
            return AwaitingConfirmation()
        case PaymentMode.WALLET:
            return AwaitingWallet()


def _with_confirmations(state: OrderT, event: Event) -> OrderT:
    left = _confirmations(state.confirmations, event)
    return state if left is state.confirmations else replace(state, confirmations=left)


def _confirmations(known: tuple[Confirmation, ...], event: Event) -> tuple[Confirmation, ...]:
    match event:
        case PaymentConfirmationReceived():
            taken = Confirmation(
                gateway=event.gateway,
                gateway_txn_id=event.gateway_txn_id,
                method=event.method,
                claimed=event.claimed,
                claimed_fee=event.claimed_fee,
                confirmed_at=event.confirmed_at,
                received_at=event.received_at,
            )
            return (*known, taken)
        case PaymentConfirmationRefused(reason=reason) if reason in KEPT:
            key = (event.gateway, event.gateway_txn_id)
            return tuple(replace(each, kept=each.kept or each.key == key) for each in known)
        case PaymentConfirmationRefused() | PaymentCaptured() | SurplusCaptured() if known:
            key = (event.gateway, event.gateway_txn_id)
            return tuple(each for each in known if each.key != key)
        case _:
            return known


def _evolve_renewal(state: Renewal, event: Event) -> Renewal:
    stage = state.stage
    match event:
        case PaymentCaptured():
            payment = _payment(event)
            paid = isinstance(stage, AwaitingPayment) and _is_own(state.payable, event)
            return replace(
                state,
                payments=state.payments.added(payment),
                stage=AwaitingActivation(payment) if paid else stage,
            )
        case SurplusCaptured():
            surplus = _payment(event)
            return replace(
                state,
                payments=state.payments.added(surplus),
                owed=state.owed.insert(surplus.payment_id, surplus),
            )
        case ActivationDelayed() if isinstance(stage, AwaitingActivation):
            return replace(state, stage=replace(stage, delayed=True))
        case PlanActivated():
            return replace(state, stage=Active())
        case ActivationFailed():
            return _evolve_activation_failed(state, event)
        case RefundCompleted() | SurplusReturned():
            return replace(
                state,
                owed=state.owed.discard(event.payment_id),
                returned=state.returned.insert(event.payment_id, _reference(event)),
            )
        case RefundFailed() | SurplusReturnFailed():
            return replace(state, not_refundable=state.not_refundable.insert(event.payment_id))
        case _:
            unpaid = _unpaid_stage(stage, event)
            return replace(state, stage=unpaid) if unpaid else state


def _evolve_activation_failed(state: Renewal, event: ActivationFailed) -> Renewal:
    owed, payment = state.owed, state.payments.get(event.payment_id)
    if payment is not None:
        owed = owed.insert(event.payment_id, payment)
    stage = state.stage
    if isinstance(stage, AwaitingActivation) and stage.payment.payment_id == event.payment_id:
        stage = NotActivated()
    return replace(state, owed=owed, stage=stage)


def _evolve_top_up(state: TopUp, event: Event) -> TopUp:
    match event:
        case PaymentCaptured():
            return replace(state, payments=state.payments.added(_payment(event)))
        case SurplusCaptured():
            return replace(state, payments=state.payments.added(_payment(event)))
        case WalletToppedUp():
            credited = event.payment_id == state.payable.payment_id
            return replace(state, stage=Credited()) if credited else state
        case _:
            unpaid = _unpaid_stage(state.stage, event)
            return replace(state, stage=unpaid) if unpaid else state


def _unpaid_stage(
    stage: RenewalStage | TopUpStage, event: Event
) -> AwaitingCharge | AwaitingAction | Expired | NotPaid | None:
    match event:
        case PaymentFailed() if isinstance(stage, AwaitingPayment):
            return NotPaid()
        case OrderExpired() if isinstance(stage, AwaitingPayment):
            return Expired()
        case PaymentOutcomeUnknown() if isinstance(stage, AwaitingCharge):
            return AwaitingCharge(unknown_since=event.observed_at)
        case PaymentActionRequired() if isinstance(stage, AwaitingCharge):
            return AwaitingAction(event.gateway, event.gateway_txn_id, event.pay_by)
        case _:
            return None


def _is_own(payable: Payable, event: PaymentCaptured) -> bool:
    return event.payment_id == payable.payment_id


def _reference(event: RefundCompleted | SurplusReturned) -> str:
    """Return the gateway's reference; a person may have noted another one than the shop says later."""
    return event.gateway_refund_ref if event.settled_by is None else ""


def _payment(event: PaymentCaptured | SurplusCaptured) -> Payment:
    """Return the money that came in; what the order does not take buys nothing and bears no tax."""
    if isinstance(event, SurplusCaptured):
        consideration, surplus = untaxed(event.amount, "none"), event.reason
    else:
        consideration, surplus = event.consideration, None
    return Payment(
        payment_id=event.payment_id,
        gateway=event.gateway,
        gateway_txn_id=event.gateway_txn_id,
        method=event.method,
        amount=event.amount,
        consideration=consideration,
        captured_at=event.captured_at,
        unverified=bool(event.unverified),
        external=bool(event.external),
        surplus=surplus,
    )
