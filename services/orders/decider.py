"""Where commands meet states: refuses what makes no sense, passes on the rest. PURE."""

from __future__ import annotations

from typing import Final, assert_never

from services.orders.order.rules import Rules
from services.orders.order.state import (
    ArchivedOrder,
    NewOrder,
    OrderState,
    RefusedOrder,
    Renewal,
    TopUp,
)
from services.orders.payments.commands import (
    ApplyWalletCharged,
    ApplyWalletRefusal,
    ConfirmPayment,
    ConfirmRefund,
    ExpireOrder,
    RecordAction,
    RecordCharge,
    RecordConfirmation,
    RecordLookUp,
    RecordRefund,
    SettleConfirmation,
    SettleExpiry,
    SettleRefund,
    SettleUnknownPayment,
)
from services.orders.payments.confirmations import (
    confirm,
    confirm_archived,
    record_confirmation,
    settle_confirmation,
)
from services.orders.payments.payments import (
    apply_wallet_charged,
    apply_wallet_refusal,
    expire,
    record_action,
    record_charge,
    record_look_up,
    settle,
)
from services.orders.payments.refunds import confirm_archived_refund, confirm_refund, record_refund
from services.orders.payments.settlement import settle_expiry, settle_refund
from services.orders.renewals.activation import record_activation
from services.orders.renewals.commands import (
    AcceptRenewal,
    RecordActivation,
    SettleActivation,
)
from services.orders.renewals.renewals import accept_renewal
from services.orders.renewals.settlement import settle_activation
from services.orders.topups.commands import AcceptTopUp
from services.orders.topups.topups import accept_top_up
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored

_OfOrder = (
    ConfirmPayment
    | RecordConfirmation
    | SettleConfirmation
    | ExpireOrder
    | RecordCharge
    | RecordLookUp
    | RecordAction
    | SettleUnknownPayment
    | SettleExpiry
)
_OfRenewal = (
    ConfirmRefund
    | SettleActivation
    | SettleRefund
    | RecordActivation
    | RecordRefund
    | ApplyWalletCharged
    | ApplyWalletRefusal
)
Command = AcceptRenewal | AcceptTopUp | _OfOrder | _OfRenewal
_WHAT_TO_DO: Final = (
    "if money was taken, publish the request under its own id and redrive this record, "
    "or refund the payment at the gateway and discard it"
)

_SEE: Final = "see its past with `perennial orders show`, then discard this record"


def decide(command: Command, state: OrderState, rules: Rules) -> Decision | Ignored:
    """Return the new facts and the effects they want, or why there is nothing to do.

    Raises:
        Poison: the command is about an order that does not exist or is of another kind.
        Park: the catalogue has lost what an accepted order refers to.
    """
    match command:
        case AcceptRenewal():
            return accept_renewal(command, state, rules)
        case AcceptTopUp():
            return accept_top_up(command, state, rules)
        case ConfirmPayment() if isinstance(state, ArchivedOrder):
            return confirm_archived(command, state)
        case ConfirmRefund() if isinstance(state, ArchivedOrder):
            return confirm_archived_refund(command, state)
        case _ if isinstance(command, _OfRenewal):
            return _decide_renewal(command, _renewal(state), rules)
        case _:
            return _decide_order(command, _order(state), rules)


def _decide_order(command: _OfOrder, order: Renewal | TopUp, rules: Rules) -> Decision | Ignored:
    match command:
        case ConfirmPayment():
            return confirm(command, order)
        case RecordConfirmation():
            return record_confirmation(command, order, rules)
        case SettleConfirmation():
            return settle_confirmation(command, order)
        case ExpireOrder():
            return expire(command, order, rules)
        case RecordCharge():
            return record_charge(command, order, rules)
        case RecordLookUp():
            return record_look_up(command, order, rules)
        case RecordAction():
            return record_action(command, order, rules)
        case SettleUnknownPayment():
            return settle(command, order, rules)
        case SettleExpiry():
            return settle_expiry(command, order)
        case _:
            assert_never(command)


def _decide_renewal(command: _OfRenewal, renewal: Renewal, rules: Rules) -> Decision | Ignored:
    match command:
        case ConfirmRefund():
            return confirm_refund(command, renewal)
        case SettleActivation():
            return settle_activation(command, renewal, rules)
        case SettleRefund():
            return settle_refund(command, renewal)
        case RecordActivation():
            return record_activation(command, renewal, rules)
        case RecordRefund():
            return record_refund(command, renewal, rules)
        case ApplyWalletCharged():
            return apply_wallet_charged(command, renewal, rules)
        case ApplyWalletRefusal():
            return apply_wallet_refusal(command, renewal)
        case _:
            assert_never(command)


def _order(state: OrderState) -> Renewal | TopUp:
    match state:
        case Renewal() | TopUp():
            return state
        case NewOrder():
            raise Poison("order_unknown", f"no order has this id: {_WHAT_TO_DO}")
        case RefusedOrder():
            raise Poison("order_refused", f"the order was refused: {_WHAT_TO_DO}")
        case ArchivedOrder():
            raise Poison("order_archived", f"the order was over and is archived: {_SEE}")
        case _:
            assert_never(state)


def _renewal(state: OrderState) -> Renewal:
    order = _order(state)
    if isinstance(order, TopUp):
        raise Poison("not_a_renewal", "a top-up has nothing to activate: check who wrote this")
    return order
