"""What a wallet holds and whether it can pay: lots, charges, refunds. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal, assert_never

from schemas.envelope import Event
from schemas.ledger import (
    ChargeRefusalReason,
    LotTake,
    LowBalanceDetected,
    WalletCharged,
    WalletChargeRefused,
)
from schemas.money import Money
from schemas.orders import (
    BonusGranted,
    Consideration,
    RefundCompleted,
    WalletChargeRequested,
    WalletToppedUp,
)
from schemas.requests import PaymentMethod
from services.runtime.errors import Halt
from services.runtime.processor import Decision, Ignored

LOT_ORDER_VERSION: Final = "1"
"""Version of the spending order and of the split of a charge; every WalletCharged names it."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class IgnoredReason(StrEnum):
    """Why a command changes nothing."""

    CHARGE_ALREADY_ANSWERED = "charge_already_answered"
    RENEWAL_ALREADY_CHARGED = "renewal_already_charged"


@dataclass(frozen=True, slots=True)
class Lot:
    """Credit that came in together. `remaining_minor` is never negative."""

    lot_id: str
    kind: Literal["paid", "bonus"]
    currency: str
    remaining_minor: int
    expires_at: datetime | None

    def spendable_at(self, moment: datetime, currency: str) -> bool:
        """Say whether the lot can pay `currency` at `moment`."""
        return (
            self.currency == currency
            and self.remaining_minor > 0
            and (self.expires_at is None or self.expires_at > moment)
        )


@dataclass(frozen=True, slots=True)
class WalletState:
    """The lots in order of arrival, the charges that a refund may give back, and ids answered."""

    lots: Mapping[str, Lot] = field(default_factory=dict)
    charges: Mapping[str, WalletCharged] = field(default_factory=dict)
    answered: frozenset[str] = frozenset()

    def spendable(self, currency: str, moment: datetime) -> list[Lot]:
        """Return the lots that can pay, in the order of spending.

        Earliest expiry first (no expiry last), then bonus before paid, then order of arrival.
        """
        lots = [lot for lot in self.lots.values() if lot.spendable_at(moment, currency)]
        return sorted(lots, key=_spending_order)


def _spending_order(lot: Lot) -> tuple[datetime, bool]:
    return lot.expires_at or _NEVER, lot.kind == "paid"


@dataclass(frozen=True, slots=True)
class FileFact:
    """Record a fact that moves no wallet."""


@dataclass(frozen=True, slots=True)
class AddLot:
    """Credit came in."""

    fact: WalletToppedUp | BonusGranted


@dataclass(frozen=True, slots=True)
class ChargeWallet:
    """Pay a renewal from the wallet. `low_balance` is the threshold in its currency, if any."""

    request: WalletChargeRequested
    low_balance: Money | None
    now: datetime


@dataclass(frozen=True, slots=True)
class RestoreCharge:
    """A wallet payment was refunded: give the lots back what the charge took."""

    refund: RefundCompleted


Command = FileFact | AddLot | ChargeWallet | RestoreCharge


def initial_state() -> WalletState:
    """Return an empty wallet."""
    return WalletState()


def decide(command: Command, state: WalletState) -> Decision | Ignored:
    """Return what follows from `command`.

    Raises:
        Halt: the fact contradicts the wallet, so filing it would make the books wrong.
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


def _add_lot(fact: WalletToppedUp | BonusGranted, state: WalletState) -> Decision:
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
    available = Money(amount_minor=sum(lot.remaining_minor for lot in lots), currency=currency)
    if available.amount_minor < request.amount.amount_minor:
        refused = WalletChargeRefused(
            account_id=request.account_id,
            charge_id=request.charge_id,
            renewal_id=request.renewal_id,
            amount=request.amount,
            available=available,
            reason=ChargeRefusalReason.INSUFFICIENT_FUNDS,
            refused_at=now,
        )
        return Decision((refused,))
    charged = _charged(request, lots, available - request.amount, now)
    low = _low_balance(command, available, charged.balance_after)
    return Decision((charged, low) if low else (charged,))


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
        taken = min(lot.remaining_minor, wanted)
        if taken:
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


def _low_balance(command: ChargeWallet, before: Money, after: Money) -> LowBalanceDetected | None:
    threshold = command.low_balance
    if threshold is None or not (
        after.amount_minor < threshold.amount_minor <= before.amount_minor
    ):
        return None
    return LowBalanceDetected(
        account_id=command.request.account_id,
        balance=after,
        threshold=threshold,
        detected_at=command.now,
    )


def _restore(refund: RefundCompleted, state: WalletState) -> Decision:
    charge = state.charges.get(refund.renewal_id)
    if charge is None:
        problem = f"the wallet holds no charge for {refund.renewal_id}, which is to be given back"
        raise _contradiction(problem, refund.account_id)
    if refund.amount != charge.amount or refund.refund != charge.consideration:
        problem = f"the refund of {refund.renewal_id} is not what the wallet paid"
        raise _contradiction(problem, refund.account_id)
    return Decision()


def evolve(state: WalletState, event: Event) -> WalletState:
    """Return the wallet after `event`; the past is never refused."""
    match event:
        case WalletToppedUp():
            return _with_lot(state, "paid", event)
        case BonusGranted():
            return _with_lot(state, "bonus", event)
        case WalletCharged():
            return replace(
                state,
                lots=_moved(state.lots, event.takes, -1),
                charges={**state.charges, event.renewal_id: event},
                answered=state.answered | {event.charge_id},
            )
        case WalletChargeRefused():
            return replace(state, answered=state.answered | {event.charge_id})
        case RefundCompleted(method=PaymentMethod.WALLET) if event.renewal_id in state.charges:
            charges = dict(state.charges)
            charge = charges.pop(event.renewal_id)
            return replace(state, lots=_moved(state.lots, charge.takes, 1), charges=charges)
        case _:
            return state


def _with_lot(
    state: WalletState, kind: Literal["paid", "bonus"], event: WalletToppedUp | BonusGranted
) -> WalletState:
    money = event.amount
    lot = Lot(event.lot_id, kind, money.currency, money.amount_minor, event.expires_at)
    return replace(state, lots={**state.lots, event.lot_id: lot})


def _moved(lots: Mapping[str, Lot], takes: list[LotTake], sign: int) -> dict[str, Lot]:
    moved = dict(lots)
    for take in takes:
        lot = moved[take.lot_id]
        remaining = lot.remaining_minor + sign * take.amount.amount_minor
        moved[take.lot_id] = replace(lot, remaining_minor=remaining)
    return moved


def _contradiction(problem: str, account_id: str) -> Halt:
    return Halt(
        f"wallet/{account_id}: {problem}. Nothing was filed; find out with `perennial ledger "
        "statement` which producer is wrong, correct it, and start again"
    )
