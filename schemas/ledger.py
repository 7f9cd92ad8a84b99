"""Events that the ledger publishes to `billing.ledger.v1`: what it alone decides about wallets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from schemas.envelope import Event, Identifier, Part, UtcDatetime
from schemas.money import Money, Moves
from schemas.orders import Consideration


class ChargeRefusalReason(StrEnum):
    """Why the wallet does not pay."""

    INSUFFICIENT_FUNDS = "insufficient_funds"


class LotTake(Part):
    """How much one lot gave to a charge."""

    lot_id: Identifier
    kind: Literal["paid", "bonus"]
    amount: Money


class WalletCharged(Event):
    """The wallet paid `amount`: `consideration` splits it, `takes` are the lots as spent."""

    charge_id: Identifier
    renewal_id: Identifier
    amount: Money
    consideration: Annotated[Consideration, Moves(whole="amount")]
    takes: list[LotTake]
    rule_version: Identifier
    balance_after: Money
    charged_at: UtcDatetime


class WalletChargeRefused(Event):
    """The wallet did not pay; nothing was taken."""

    charge_id: Identifier
    renewal_id: Identifier
    amount: Money
    available: Money
    reason: ChargeRefusalReason
    refused_at: UtcDatetime


class LowBalanceDetected(Event):
    """A charge took the wallet from at or above `threshold` to `balance`, below it."""

    balance: Money
    threshold: Money
    detected_at: UtcDatetime
