"""Decides what a confirmation is worth: a hint, until the gateway has told whose money it is. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Final, assert_never

from schemas.confirmations import (
    ConfirmationRefusal,
    PaymentConfirmationReceived,
    PaymentConfirmationRefused,
    PaymentConfirmed,
)
from schemas.requests import PaymentMethod
from services.orders.order.rules import IgnoredReason, Rules
from services.orders.order.state import ArchivedOrder, AwaitingConfirmation, Confirmation, Order
from services.orders.payments.actions import look_now
from services.orders.payments.capture import Receipt, capture, confirmed_payment_id
from services.orders.payments.commands import ConfirmPayment, RecordConfirmation, SettleConfirmation
from services.orders.payments.effects.confirm import (
    confirm_effect,
    keep_confirmation,
    look_up_confirmation,
)
from services.orders.payments.gateways.gateway import Found, NotFound, NotSupported, Unavailable
from services.orders.payments.payments import NOT_FOUND_COUNT_MIN
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored

CONFIRMATIONS_MAX: Final = 32
"""An order has one payment, seldom two. More that wait for an answer are somebody's mistake."""


def confirm(command: ConfirmPayment, state: Order) -> Decision | Ignored:
    """Note that the customer is said to have paid, and ask the gateway.

    Raises:
        Poison: the confirmation is about another account's order, or about the wallet, or one of
            too many.
    """
    hint, payable = command.confirmation, state.payable
    _check_account(hint, payable.account_id)
    if hint.method is PaymentMethod.WALLET:
        message = "the ledger alone confirms wallet payments: send the method the customer used"
        raise Poison("confirmation_method", message)
    key = (hint.gateway, hint.gateway_txn_id)
    if state.payments.by_transaction(*key):
        return Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)
    if looking := look_now(hint, state):
        return looking
    if any(each.key == key for each in state.confirmations):
        return Ignored(IgnoredReason.CONFIRMATION_UNDER_WAY)
    if len(state.confirmations) >= CONFIRMATIONS_MAX:
        message = (
            f"{CONFIRMATIONS_MAX} confirmations of this order wait for an answer of their gateway: "
            "see `perennial effects list`, then redrive"
        )
        raise Poison("confirmations_too_many", message)
    received = PaymentConfirmationReceived(
        account_id=payable.account_id,
        renewal_id=payable.order.renewal_id,
        topup_id=payable.order.topup_id,
        gateway=hint.gateway,
        gateway_txn_id=hint.gateway_txn_id,
        method=hint.method,
        claimed=hint.amount,
        claimed_fee=hint.fee,
        confirmed_at=hint.confirmed_at,
        received_at=command.now,
    )
    taken = Confirmation(*key, hint.method, hint.amount, hint.fee, hint.confirmed_at, command.now)
    return Decision((received,), (confirm_effect(payable, taken),))


def confirm_archived(command: ConfirmPayment, state: ArchivedOrder) -> Ignored:
    """Pass over a repetition of what an archived order was paid by.

    Raises:
        Poison: it is about another account's order, or another payment.
    """
    hint = command.confirmation
    _check_account(hint, state.account_id)
    if (hint.gateway, hint.gateway_txn_id) in state.transactions:
        return Ignored(IgnoredReason.PAYMENT_ALREADY_RECORDED)
    message = (
        "the order was over and is archived, and was not paid by this transaction: ask the gateway "
        "what it holds, give that back, then discard this record"
    )
    raise Poison("order_archived", message)


def _check_account(hint: PaymentConfirmed, account_id: str) -> None:
    if hint.account_id != account_id:
        message = (
            "the order belongs to another account: find out whose payment this is and "
            "publish it with the account and the id it was made for"
        )
        raise Poison("account_mismatch", message)


def record_confirmation(
    command: RecordConfirmation, state: Order, rules: Rules
) -> Decision | Ignored:
    """Capture what the gateway holds for this order, refuse what it does not, or ask again."""
    hint = _waiting(state, command.gateway, command.gateway_txn_id)
    if hint is None or hint.kept:
        return Ignored(IgnoredReason.CONFIRMATION_NOT_AWAITED)
    answer = command.answer
    match answer:
        case Found(status="pending") | Unavailable():
            return _ask_again(command, state, hint, rules, command.not_found_count)
        case Found():
            return _found(command, answer, hint, state, rules)
        case NotFound():
            return _not_found(command, hint, state, rules)
        case NotSupported():
            return _word_alone(command, hint, state, rules)
        case _:
            assert_never(answer)


def settle_confirmation(command: SettleConfirmation, state: Order) -> Decision | Ignored:
    """Close the question: a person knows what became of the money; none of it is captured."""
    hint = _waiting(state, command.gateway, command.gateway_txn_id)
    if hint is None:
        return Ignored(IgnoredReason.CONFIRMATION_NOT_AWAITED)
    refused = _refusal(state, hint, ConfirmationRefusal.SETTLED, command.now)
    signed = refused.model_copy(
        update={"settled_by": command.by, "settlement_reason": command.reason}
    )
    return Decision((signed,))


def _found(
    command: RecordConfirmation, found: Found, hint: Confirmation, state: Order, rules: Rules
) -> Decision | Ignored:
    if (found.gateway, found.gateway_txn_id) != hint.key:
        return _ask_again(command, state, hint, rules, command.not_found_count)
    if found.reference != state.payable.stream_id:
        return _refused(state, hint, ConfirmationRefusal.ANOTHER_REFERENCE, command.now)
    if not found.holds_money:
        return _refused(state, hint, ConfirmationRefusal.NOT_CAPTURED, command.now)
    if command.owner != state.payable.stream_id:
        return _refused(state, hint, ConfirmationRefusal.ALREADY_USED, command.now)
    receipt = Receipt(
        payment_id=confirmed_payment_id(state, *hint.key),
        gateway=found.gateway,
        gateway_txn_id=found.gateway_txn_id,
        method=_method(found.method, state, hint),
        amount=found.amount,
        fee=found.fee,
        captured_at=_when(found.captured_at, state, command.now),
        external=found.gateway not in rules.policy.own_gateways,
    )
    return capture(state, receipt, rules, command.now)


def _not_found(
    command: RecordConfirmation, hint: Confirmation, state: Order, rules: Rules
) -> Decision:
    """Believe "not found" when it was said twice, and long enough after the confirmation."""
    count = command.not_found_count + 1
    settled_at = hint.received_at + rules.policy.unknown_settle
    if count >= NOT_FOUND_COUNT_MIN and command.now >= settled_at:
        return _refused(state, hint, ConfirmationRefusal.UNKNOWN_TRANSACTION, command.now)
    return _ask_again(command, state, hint, rules, count)


def _word_alone(
    command: RecordConfirmation, hint: Confirmation, state: Order, rules: Rules
) -> Decision | Ignored:
    """Take the word of a gateway that cannot be asked for what the order costs, if told to."""
    if hint.gateway not in rules.policy.trusted_gateways:
        return _refused(state, hint, ConfirmationRefusal.NOT_CHECKABLE, command.now)
    if hint.claimed != state.payable.amount:
        return _kept(state, hint, ConfirmationRefusal.AMOUNT_DIFFERS, command.now)
    if command.owner != state.payable.stream_id:
        return _refused(state, hint, ConfirmationRefusal.ALREADY_USED, command.now)
    if not isinstance(state.stage, AwaitingConfirmation) or state.payments:
        return _kept(state, hint, ConfirmationRefusal.ORDER_NOT_WAITING, command.now)
    receipt = Receipt(
        payment_id=confirmed_payment_id(state, *hint.key),
        gateway=hint.gateway,
        gateway_txn_id=hint.gateway_txn_id,
        method=hint.method,
        amount=hint.claimed,
        fee=hint.claimed_fee,
        captured_at=_when(hint.confirmed_at, state, command.now),
        unverified=True,
        external=True,
    )
    return capture(state, receipt, rules, command.now)


def _waiting(state: Order, gateway: str, gateway_txn_id: str) -> Confirmation | None:
    key = (gateway, gateway_txn_id)
    return next((each for each in state.confirmations if each.key == key), None)


def _ask_again(
    command: RecordConfirmation,
    state: Order,
    hint: Confirmation,
    rules: Rules,
    not_found_count: int,
) -> Decision:
    now, policy, payable = command.now, rules.policy, state.payable
    due_at = now + policy.look_up_backoff.after(command.attempt)
    settled_at = hint.received_at + policy.unknown_settle
    if now < settled_at < due_at:
        due_at = settled_at
    return Decision(effects=(look_up_confirmation(payable, hint, not_found_count, due_at),))


def _refused(
    state: Order, hint: Confirmation, reason: ConfirmationRefusal, now: datetime
) -> Decision:
    return Decision((_refusal(state, hint, reason, now),))


def _kept(state: Order, hint: Confirmation, reason: ConfirmationRefusal, now: datetime) -> Decision:
    return Decision(
        (_refusal(state, hint, reason, now),), (keep_confirmation(state.payable, hint),)
    )


def _refusal(
    state: Order, hint: Confirmation, reason: ConfirmationRefusal, now: datetime
) -> PaymentConfirmationRefused:
    return PaymentConfirmationRefused(
        account_id=state.payable.account_id,
        renewal_id=state.payable.order.renewal_id,
        topup_id=state.payable.order.topup_id,
        gateway=hint.gateway,
        gateway_txn_id=hint.gateway_txn_id,
        reason=reason,
        refused_at=now,
    )


def _method(told: PaymentMethod | None, state: Order, hint: Confirmation) -> PaymentMethod:
    """Return how was paid; what comes in through a gateway was never paid from the wallet."""
    for method in (told, state.payable.method):
        if method is not None and method is not PaymentMethod.WALLET:
            return method
    return hint.method


def _when(told: datetime, state: Order, now: datetime) -> datetime:
    """Return when the money came: no date makes it older than the order or later than now."""
    return max(state.payable.accepted_at, min(told, now))
