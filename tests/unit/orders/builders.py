"""Requests, rules and moments that the tests of orders start from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from schemas.confirmations import PaymentConfirmed
from schemas.money import Money
from schemas.requests import (
    Contact,
    PaymentInstruction,
    PaymentMethod,
    PaymentMode,
    RenewalRequested,
    TopUpRequested,
)
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT, load_catalogue
from services.orders.order import identities
from services.orders.order.order_id import OrderId
from services.orders.order.policy import Backoff, Policy
from services.orders.order.routing import Routing
from services.orders.order.rules import Rules
from services.orders.order.state import Payable

NOW: Final = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ICCID: Final = "8985203000000000001"
CATALOGUE: Final = load_catalogue(Path(CATALOGUE_DEFAULT))
POLICY: Final = Policy(
    esim_hash_salt="a salt for tests",
    blocked_accounts=frozenset({"acct-blocked"}),
    confirmation_window=timedelta(hours=1),
    charge_window=timedelta(minutes=15),
    unknown_settle=timedelta(minutes=10),
    activation_promise=timedelta(minutes=30),
    activation_deadline=timedelta(hours=2),
    look_up_backoff=Backoff(timedelta(seconds=10), timedelta(minutes=5)),
    activation_backoff=Backoff(timedelta(seconds=5), timedelta(minutes=7)),
    refund_backoff=Backoff(timedelta(seconds=5), timedelta(minutes=15)),
)
ROUTING: Final = Routing.to("sandbox")
RULES: Final = Rules(CATALOGUE, POLICY, ROUTING)
CONTACT: Final = Contact(email="li@example.org", locale="zh-Hans")


def usd(amount_minor: int) -> Money:
    """Return cents."""
    return Money(amount_minor=amount_minor, currency="USD")


def by_token(token: str = "tok_ok", currency: str = "USD") -> PaymentInstruction:  # noqa: S107
    """Pay by a card's token."""
    return PaymentInstruction(
        method=PaymentMethod.CARD, mode=PaymentMode.CHARGE, currency=currency, token=token
    )


def in_app(currency: str = "USD") -> PaymentInstruction:
    """Pay in the app."""
    return PaymentInstruction(
        method=PaymentMethod.CARD, mode=PaymentMode.AWAIT_CONFIRMATION, currency=currency
    )


def from_wallet(currency: str = "USD") -> PaymentInstruction:
    """Pay from the wallet."""
    return PaymentInstruction(
        method=PaymentMethod.WALLET, mode=PaymentMode.WALLET, currency=currency
    )


def renewal(**changes: Any) -> RenewalRequested:
    """Return a request for a month of Europe at 20.00 USD + 6 % tax."""
    fields: dict[str, Any] = {
        "account_id": "acct-1",
        "renewal_id": "ren-1",
        "iccid": ICCID,
        "plan_code": "eu-month-basic",
        "payment": by_token(),
        "contact": CONTACT,
        "requested_at": NOW,
    }
    return RenewalRequested(**(fields | changes))


def top_up(**changes: Any) -> TopUpRequested:
    """Return a request to top up 50.00 USD, which earns a bonus of 10 %."""
    fields: dict[str, Any] = {
        "account_id": "acct-1",
        "topup_id": "top-1",
        "amount": usd(5000),
        "payment": by_token(),
        "contact": CONTACT,
        "requested_at": NOW,
    }
    return TopUpRequested(**(fields | changes))


def confirmation(**changes: Any) -> PaymentConfirmed:
    """Return the confirmation of `renewal` paid in the app."""
    fields: dict[str, Any] = {
        "account_id": "acct-1",
        "renewal_id": "ren-1",
        "method": PaymentMethod.CARD,
        "gateway": "app-gateway",
        "gateway_txn_id": "txn-1",
        "amount": usd(2120),
        "confirmed_at": NOW + timedelta(minutes=5),
    }
    return PaymentConfirmed(**(fields | changes))


PAYABLE: Final = Payable(
    account_id="acct-1",
    order=OrderId.renewal("ren-1"),
    payment_id=identities.payment_id("acct-1", "order/ren-1"),
    method=PaymentMethod.CARD,
    mode=PaymentMode.CHARGE,
    amount=usd(2120),
    digest="",
    accepted_at=NOW,
    gateway="acme",
)
"""What `renewal` is to be paid by, at a gateway."""
