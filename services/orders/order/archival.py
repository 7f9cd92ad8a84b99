"""Which orders are over, and what must be known of them when their events are in files. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.money import Money
from services.orders.order.state import (
    Active,
    ArchivedOrder,
    Credited,
    Expired,
    External,
    NotActivated,
    NotPaid,
    OrderState,
    Payments,
    RefusedOrder,
    Renewal,
    TopUp,
    external_of,
)
from services.runtime.effect import JsonObject
from services.runtime.processor import Archival

_OVER: Final = (Active, Credited, Expired, NotActivated, NotPaid)


def is_over(state: OrderState) -> bool:
    """Say whether nothing is to come: no payment, activation or refund, and no open confirmation."""
    match state:
        case RefusedOrder() | ArchivedOrder():
            return True
        case Renewal():
            return isinstance(state.stage, _OVER) and not state.owed and not state.confirmations
        case TopUp():
            return isinstance(state.stage, _OVER) and not state.confirmations
        case _:
            return False


def remains(state: OrderState) -> JsonObject:
    """Return whose order it was, which requests are repetitions, what it was paid by, what went back."""
    match state:
        case Renewal():
            account_id, digest = state.payable.account_id, state.payable.digest
            transactions = _transactions(state.payments, state.returned)
        case TopUp():
            account_id, digest = state.payable.account_id, state.payable.digest
            transactions = _transactions(state.payments, {})
        case RefusedOrder():
            account_id, digest, transactions = state.account_id, state.digest, {}
        case ArchivedOrder():
            account_id, digest = state.account_id, state.digest
            transactions = state.transactions
        case _:
            message = "an order that has not begun leaves nothing behind"
            raise TypeError(message)
    return {
        "account_id": account_id,
        "digest": digest,
        "refused": [*state.refused_digests],
        "transactions": [
            [*key, external and _content(external)]
            for key, external in sorted(transactions.items(), key=lambda each: each[0])
        ],
    }


def restored(content: JsonObject) -> OrderState:
    """Return the order as `remains` left it: it can be repeated or refused, and nothing else."""
    refused = tuple(str(each) for each in content["refused"])
    paid_by = {
        (str(gateway), str(txn)): external and _external(external)
        for gateway, txn, external in content["transactions"]
    }
    return ArchivedOrder(str(content["account_id"]), str(content["digest"]), refused, paid_by)


def _transactions(
    payments: Payments, returned: Mapping[str, str]
) -> Mapping[tuple[str, str], External | None]:
    return {(each.gateway, each.gateway_txn_id): external_of(each, returned) for each in payments}


def _content(external: External) -> JsonObject:
    return {**external.amount.model_dump(), "returned": external.returned}


def _external(content: JsonObject) -> External:
    amount = Money(amount_minor=content["amount_minor"], currency=content["currency"])
    return External(amount, content["returned"])


ARCHIVAL: Final[Archival[OrderState]] = Archival(is_over, remains, restored)
