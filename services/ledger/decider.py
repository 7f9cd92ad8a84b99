"""Whether a wallet can pay, and what else is asked of it. PURE; `wallets` folds what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, assert_never

from schemas.ledger import (
    ChargeRefusalReason,
    LotTake,
    LowBalanceDetected,
    WalletCharged,
    WalletChargeRefused,
)
from schemas.money import AMOUNT_MINOR_MAX, Money
from schemas.orders import (
    BonusGranted,
    Consideration,
    RefundCompleted,
    WalletChargeRequested,
    WalletToppedUp,
)
from schemas.surplus import SurplusCredited
from services.ledger.wallets import WALLETS, Lot, WalletState
from services.runtime.errors import Park
from services.runtime.processor import Decision, Ignored

LOT_ORDER_VERSION: Final = "1"
"""Version of the spending order and of the split of a charge; every WalletCharged names it."""


class IgnoredReason(StrEnum):
    """Why a command changes nothing."""

    CHARGE_ALREADY_ANSWERED = "charge_already_answered"
    RENEWAL_ALREADY_CHARGED = "renewal_already_charged"


@dataclass(frozen=True, slots=True)
class FileFact:
    """Record a fact that moves no wallet."""


@dataclass(frozen=True, slots=True)
class AddLot:
    """Credit came in."""

    fact: WalletToppedUp | SurplusCredited | BonusGranted


@dataclass(frozen=True, slots=True)
class ChargeWallet:
    """Pay a renewal from the wallet. `low_balance` is the threshold in its currency, if any."""

    request: WalletChargeRequested
    low_balance: Money | None
    now: datetime


@dataclass(frozen=True, slots=True)
class RestoreCharge:
    """A wallet payment was refunded: return the charged credit to its lots."""

    refund: RefundCompleted


Command = FileFact | AddLot | ChargeWallet | RestoreCharge


def decide(command: Command, state: WalletState) -> Decision | Ignored:
    """Return what follows from `command`.

    Raises:
        Park: the fact contradicts the wallet, so filing it would make the books wrong.
    """
    match command:
        case FileFact():
            return Decision()
        case AddLot():
            return _add_lot(command.fact, state)
        case ChargeWallet():
            return _charge(command, state)
        case RestoreCharge():
            return _restore(command.refund, state)
        case _:
            assert_never(command)


def _add_lot(fact: WalletToppedUp | SurplusCredited | BonusGranted, state: WalletState) -> Decision:
    if fact.lot_id in state.lots:
        problem = f"lot {fact.lot_id} exists already"
        raise _contradiction(problem, fact.account_id)
    return Decision()


def _charge(command: ChargeWallet, state: WalletState) -> Decision | Ignored:
    request, now = command.request, command.now
    if request.charge_id in state.answered:
        return Ignored(IgnoredReason.CHARGE_ALREADY_ANSWERED)
    if request.renewal_id in state.charges:
        return Ignored(IgnoredReason.RENEWAL_ALREADY_CHARGED)
    if not _adds_up(request):
        problem = f"net and tax of charge {request.charge_id} do not add up to its amount"
        raise _contradiction(problem, request.account_id)
    currency = request.amount.currency
    lots = state.spendable(currency, request.requested_at)
    available = sum(lot.remaining_minor for lot in lots)
    if available < request.amount.amount_minor:
        refused = WalletChargeRefused(
            account_id=request.account_id,
            charge_id=request.charge_id,
            renewal_id=request.renewal_id,
            amount=request.amount,
            available=Money(amount_minor=available, currency=currency),
            reason=ChargeRefusalReason.INSUFFICIENT_FUNDS,
            refused_at=now,
        )
        return Decision((refused,))
    after = available - request.amount.amount_minor
    charged = _charged(request, lots, _stated(after, currency), now)
    low = _low_balance(command, available, after)
    return Decision((charged, low) if low else (charged,))


def _stated(amount_minor: int, currency: str) -> Money:
    """Return a balance as messages can state it: at most the largest amount there is."""
    return Money(amount_minor=min(amount_minor, AMOUNT_MINOR_MAX), currency=currency)


def _adds_up(request: WalletChargeRequested) -> bool:
    parts = (request.net, request.tax)
    return sum(part.amount_minor for part in parts) == request.amount.amount_minor and all(
        part.currency == request.amount.currency for part in parts
    )


def _charged(
    request: WalletChargeRequested, lots: list[Lot], balance_after: Money, now: datetime
) -> WalletCharged:
    takes = _takes(lots, request.amount)
    bonus = sum(take.amount.amount_minor for take in takes if take.kind == "bonus")
    return WalletCharged(
        account_id=request.account_id,
        charge_id=request.charge_id,
        renewal_id=request.renewal_id,
        amount=request.amount,
        consideration=_split(request, bonus),
        takes=takes,
        rule_version=LOT_ORDER_VERSION,
        balance_after=balance_after,
        charged_at=now,
    )


def _takes(lots: list[Lot], amount: Money) -> list[LotTake]:
    takes, wanted = [], amount.amount_minor
    for lot in lots:
        if wanted == 0:
            break
        taken = min(lot.remaining_minor, wanted)
        money = Money(amount_minor=taken, currency=amount.currency)
        takes.append(LotTake(lot_id=lot.lot_id, kind=lot.kind, amount=money))
        wanted -= taken
    return takes


def _split(request: WalletChargeRequested, bonus_minor: int) -> Consideration:
    """Treat the bonus part as a discount: what is left was paid, tax in proportion, rounded down."""
    total, currency = request.amount.amount_minor, request.amount.currency
    paid = total - bonus_minor
    paid_tax = request.tax.amount_minor * paid // total if total else 0
    return Consideration(
        net=Money(amount_minor=paid - paid_tax, currency=currency),
        tax=Money(amount_minor=paid_tax, currency=currency),
        tax_jurisdiction=request.tax_jurisdiction,
        bonus=Money(amount_minor=bonus_minor, currency=currency),
    )


def _low_balance(command: ChargeWallet, before: int, after: int) -> LowBalanceDetected | None:
    threshold = command.low_balance
    if threshold is None or not after < threshold.amount_minor <= before:
        return None
    return LowBalanceDetected(
        account_id=command.request.account_id,
        balance=_stated(after, threshold.currency),
        threshold=threshold,
        detected_at=command.now,
    )


def _restore(refund: RefundCompleted, state: WalletState) -> Decision:
    charge = state.charges.get(refund.renewal_id)
    if charge is None:
        problem = f"the wallet holds no charge for {refund.renewal_id}, which is to be given back"
        raise _contradiction(problem, refund.account_id)
    if not charge.was(refund.amount, refund.refund):
        problem = f"the refund of {refund.renewal_id} is not what the wallet paid"
        raise _contradiction(problem, refund.account_id)
    return Decision()


def _contradiction(problem: str, account_id: str) -> Park:
    return Park(
        "wallet_contradiction",
        f"{WALLETS.stream_id(account_id)}: {problem}. Nothing was filed; find out with "
        "`perennial ledger statement` which producer is wrong, correct it, then "
        "`perennial shards resume`",
    )
