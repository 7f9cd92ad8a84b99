"""Which orders are over, and what must be known of them when their events are in files. PURE."""

from __future__ import annotations

from typing import Final

from services.orders.evolution import evolve, initial_state
from services.orders.state import (
    Active,
    ArchivedOrder,
    Credited,
    Expired,
    NotActivated,
    NotPaid,
    OrderState,
    RefusedOrder,
    Renewal,
    TopUp,
)
from services.runtime.processor import Archival, JsonObject

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
    """Return whose order it was, which requests are repetitions, and what it was paid by."""
    match state:
        case Renewal() | TopUp():
            account_id, digest = state.payable.account_id, state.payable.digest
            transactions = state.payments.transactions()
        case RefusedOrder():
            account_id, digest, transactions = state.account_id, state.digest, frozenset()
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
        "transactions": [[*each] for each in sorted(transactions)],
    }


def restored(content: JsonObject) -> OrderState:
    """Return the order as `remains` left it: it can be repeated or refused, and nothing else."""
    refused = tuple(str(each) for each in content["refused"])
    paid_by = frozenset((str(gateway), str(txn)) for gateway, txn in content["transactions"])
    return ArchivedOrder(str(content["account_id"]), str(content["digest"]), refused, paid_by)


ARCHIVAL: Final[Archival[OrderState]] = Archival(initial_state, evolve, is_over, remains, restored)
