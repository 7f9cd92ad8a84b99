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
    PaymentCommand,
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
    RenewalCommand,
    SettleActivation,
)
from services.orders.renewals.renewals import accept_renewal
from services.orders.renewals.settlement import settle_activation
from services.orders.topups.commands import AcceptTopUp
from services.orders.topups.topups import accept_top_up
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored

Command = PaymentCommand | RenewalCommand | AcceptTopUp
_WHAT_TO_DO: Final = (
    "if money was taken, publish the request under its own id and redrive this record, "
    "or refund the payment at the gateway and discard it"
)

_SEE: Final = "see its past with `perennial orders show`, then discard this record"


def decide(  # noqa: C901, PLR0912 - a line per command, so that none can be forgotten
    command: Command, state: OrderState, rules: Rules
) -> Decision | Ignored:
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
        case ConfirmPayment():
            if isinstance(state, ArchivedOrder):
                return confirm_archived(command, state)
            return confirm(command, _order(state))
        case ConfirmRefund():
            if isinstance(state, ArchivedOrder):
                return confirm_archived_refund(command, state)
            return confirm_refund(command, _renewal(state))
        case RecordConfirmation():
            return record_confirmation(command, _order(state), rules)
        case SettleConfirmation():
            return settle_confirmation(command, _order(state))
        case ExpireOrder():
            return expire(command, _order(state), rules)
        case RecordCharge():
            return record_charge(command, _order(state), rules)
        case RecordLookUp():
            return record_look_up(command, _order(state), rules)
        case RecordAction():
            return record_action(command, _order(state), rules)
        case SettleUnknownPayment():
            return settle(command, _order(state), rules)
        case SettleActivation():
            return settle_activation(command, _renewal(state), rules)
        case SettleRefund():
            return settle_refund(command, _renewal(state))
        case SettleExpiry():
            return settle_expiry(command, _order(state))
        case RecordActivation():
            return record_activation(command, _renewal(state), rules)
        case RecordRefund():
            return record_refund(command, _renewal(state), rules)
        case ApplyWalletCharged():
            return apply_wallet_charged(command, _renewal(state), rules)
        case ApplyWalletRefusal():
            return apply_wallet_refusal(command, _renewal(state))
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
