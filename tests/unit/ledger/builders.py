"""Events of orders as the ledger receives them, and moments around them."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from schemas.envelope import Event
from schemas.ledger import LotTake, WalletCharged
from schemas.money import Money
from schemas.orders import (
    ActivationFailed,
    ActivationFailureReason,
    BonusGranted,
    Consideration,
    PaymentCaptured,
    RefundCompleted,
    WalletChargeRequested,
    WalletToppedUp,
)
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured, SurplusCredited, SurplusReason, SurplusReturned
from services.ledger.decider import ChargeWallet, decide
from services.ledger.wallets import evolve, initial_state
from tests.controls import T0
from tests.given_when_then import Decider

ACCOUNT: Final = "acct-1"
WALLET: Final = Decider(initial_state, evolve, decide)
CARD, IN_WALLET = PaymentMethod.CARD, PaymentMethod.WALLET
GATEWAY: Final = "sandbox-card"
GATEWAY_METHODS: Final = tuple(method for method in PaymentMethod if method is not IN_WALLET)


def money(amount_minor: int, currency: str = "USD") -> Money:
    """Return an amount of minor units."""
    return Money(amount_minor=amount_minor, currency=currency)


def consideration(net: int, tax: int = 0, bonus: int = 0, currency: str = "USD") -> Consideration:
    """Return what a captured amount consists of, taxed in the US."""
    return Consideration(
        net=money(net, currency),
        tax=money(tax, currency),
        tax_jurisdiction="US",
        bonus=money(bonus, currency),
    )


def topped_up(  # noqa: PLR0913 - a builder of events
    amount_minor: int,
    number: int = 1,
    *,
    account_id: str = ACCOUNT,
    currency: str = "USD",
    method: PaymentMethod = CARD,
    gateway: str | None = GATEWAY,
    expires_at: datetime | None = None,
) -> WalletToppedUp:
    """Return paid credit in the lot `<account>-paid-<number>`."""
    return WalletToppedUp(
        account_id=account_id,
        topup_id=f"{account_id}-top-{number}",
        payment_id=f"{account_id}-pay-{number}",
        lot_id=f"{account_id}-paid-{number}",
        gateway=gateway,
        method=method,
        amount=money(amount_minor, currency),
        expires_at=expires_at,
        rule_id="top-up",
        rule_version="1",
        topped_up_at=T0,
    )


def bonus(
    amount_minor: int,
    number: int = 1,
    *,
    account_id: str = ACCOUNT,
    currency: str = "USD",
    expires_at: datetime | None = None,
) -> BonusGranted:
    """Return granted credit in the lot `<account>-bonus-<number>`."""
    return BonusGranted(
        account_id=account_id,
        topup_id=f"{account_id}-top-{number}",
        payment_id=f"{account_id}-pay-{number}",
        lot_id=f"{account_id}-bonus-{number}",
        amount=money(amount_minor, currency),
        expires_at=expires_at,
        rule_id="top-up",
        rule_version="1",
        granted_at=T0,
    )


def charge_requested(  # noqa: PLR0913 - as above
    net: int,
    tax: int = 0,
    number: int = 1,
    *,
    account_id: str = ACCOUNT,
    currency: str = "USD",
    at: datetime = T0,
) -> WalletChargeRequested:
    """Return the question whether the wallet pays for renewal `<account>-rnw-<number>`."""
    return WalletChargeRequested(
        account_id=account_id,
        charge_id=f"{account_id}-chg-{number}",
        renewal_id=f"{account_id}-rnw-{number}",
        amount=money(net + tax, currency),
        net=money(net, currency),
        tax=money(tax, currency),
        tax_jurisdiction="US",
        requested_at=at,
    )


def charge(
    net: int, tax: int = 0, number: int = 1, *, low: Money | None = None, at: datetime = T0
) -> ChargeWallet:
    """Return the command that the question becomes."""
    return ChargeWallet(charge_requested(net, tax, number, at=at), low, at)


def take(lot_id: str, kind: Literal["paid", "bonus"], amount_minor: int) -> LotTake:
    """Return what a lot gave."""
    return LotTake(lot_id=lot_id, kind=kind, amount=money(amount_minor))


def charged(events: tuple[Event, ...]) -> WalletCharged:
    """Return the one WalletCharged among decided events."""
    (found,) = (event for event in events if isinstance(event, WalletCharged))
    return found


def captured(  # noqa: PLR0913 - as above
    net: int,
    tax: int = 0,
    *,
    number: int = 1,
    account_id: str = ACCOUNT,
    bonus_minor: int = 0,
    fee: int | None = None,
    fee_currency: str | None = None,
    currency: str = "USD",
    method: PaymentMethod = CARD,
    gateway: str = GATEWAY,
    topup: bool = False,
) -> PaymentCaptured:
    """Return a captured payment of a renewal, or of a top-up."""
    return PaymentCaptured(
        account_id=account_id,
        renewal_id=None if topup else f"{account_id}-rnw-{number}",
        topup_id=f"{account_id}-top-{number}" if topup else None,
        payment_id=f"{account_id}-pay-{number}",
        attempt=1,
        gateway=gateway,
        gateway_txn_id="txn-1",
        method=method,
        amount=money(net + tax + bonus_minor, currency),
        consideration=consideration(net, tax, bonus_minor, currency),
        fee=None if fee is None else money(fee, fee_currency or currency),
        captured_at=T0,
    )


def activation_failed(
    refund: Consideration,
    *,
    number: int = 1,
    account_id: str = ACCOUNT,
    method: PaymentMethod = CARD,
) -> ActivationFailed:
    """Return a plan that will not be activated, whose payment is owed back."""
    return ActivationFailed(
        account_id=account_id,
        renewal_id=f"{account_id}-rnw-{number}",
        activation_id=f"{account_id}-act-{number}",
        payment_id=f"{account_id}-pay-{number}",
        reason=ActivationFailureReason.ESIM_NOT_ELIGIBLE,
        method=method,
        refund=refund,
        failed_at=T0,
    )


def refunded(
    refund: Consideration,
    *,
    number: int = 1,
    account_id: str = ACCOUNT,
    method: PaymentMethod = CARD,
    gateway: str = GATEWAY,
) -> RefundCompleted:
    """Return the completed refund of a payment."""
    return RefundCompleted(
        account_id=account_id,
        renewal_id=f"{account_id}-rnw-{number}",
        refund_id=f"{account_id}-rfd-{number}",
        payment_id=f"{account_id}-pay-{number}",
        gateway=gateway,
        gateway_refund_ref="ref-1",
        method=method,
        amount=refund.net + refund.tax + refund.bonus,
        refund=refund,
        completed_at=T0,
    )


def surplus(  # noqa: PLR0913 - as above
    amount_minor: int,
    number: int = 1,
    *,
    account_id: str = ACCOUNT,
    currency: str = "USD",
    method: PaymentMethod = CARD,
    gateway: str = "app-gateway",
    fee: int | None = None,
    topup: bool = False,
) -> SurplusCaptured:
    """Return money that came in for a renewal, or a top-up, which does not take it."""
    return SurplusCaptured(
        account_id=account_id,
        renewal_id=None if topup else f"{account_id}-rnw-{number}",
        topup_id=f"{account_id}-top-{number}" if topup else None,
        payment_id=f"{account_id}-sur-{number}",
        gateway=gateway,
        gateway_txn_id=f"txn-{number}",
        method=method,
        amount=money(amount_minor, currency),
        fee=None if fee is None else money(fee, currency),
        reason=SurplusReason.PAID_TWICE,
        captured_at=T0,
    )


def surplus_returned(captured: SurplusCaptured) -> SurplusReturned:
    """Return the fact that a surplus went back."""
    return SurplusReturned(
        account_id=captured.account_id,
        renewal_id=captured.renewal_id or "",
        refund_id=f"{captured.payment_id}-back",
        payment_id=captured.payment_id,
        gateway=captured.gateway,
        gateway_refund_ref="ref-1",
        method=captured.method,
        amount=captured.amount,
        reason=captured.reason,
        returned_at=T0,
    )


def surplus_credited(
    captured: SurplusCaptured, expires_at: datetime | None = None
) -> SurplusCredited:
    """Return the lot that the surplus of a top-up becomes."""
    return SurplusCredited(
        account_id=captured.account_id,
        topup_id=captured.topup_id or "",
        payment_id=captured.payment_id,
        lot_id=f"{captured.payment_id}-paid",
        gateway=captured.gateway,
        method=captured.method,
        amount=captured.amount,
        reason=captured.reason,
        expires_at=expires_at,
        rule_id="top-up",
        rule_version="1",
        credited_at=T0,
    )
