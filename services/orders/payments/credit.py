"""Decides what money makes in the wallet that came in for a top-up: lots, and the bonus. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from schemas.envelope import Event
from schemas.money import Money
from schemas.orders import (
    BonusGranted,
    WalletToppedUp,
)
from schemas.surplus import SurplusCredited
from services.orders.catalogue.catalogue import TopUpRule
from services.orders.order import identities
from services.orders.order.rules import Rules
from services.orders.order.state import Payment, TopUp
from services.runtime.errors import Park


def credit(state: TopUp, payment: Payment, rules: Rules, now: datetime) -> tuple[Event, ...]:
    """Put money into the wallet; the bonus belongs to the agreed payment alone, late as it is.

    Raises:
        Park: the catalogue has lost the rule that the top-up was accepted under.
    """
    rule = rules.catalogue.top_up_rule_version(state.rule_id, state.rule_version)
    if rule is None:
        message = rules.catalogue.lacks(state.rule_id, state.rule_version)
        raise Park("catalogue_lost", message)
    payable = state.payable
    agreed = payment.payment_id == payable.payment_id and payment.amount == payable.amount
    if not agreed or state.bonus.amount_minor == 0:
        return (_credited(state, payment, rule, now),)
    granted = BonusGranted(
        account_id=payable.account_id,
        topup_id=payable.order.value,
        payment_id=payment.payment_id,
        lot_id=identities.lot_id(payment.payment_id, "bonus"),
        amount=state.bonus,
        expires_at=rule.bonus_until(now),
        rule_id=rule.rule_id,
        rule_version=rule.version,
        granted_at=now,
    )
    return _credited(state, payment, rule, now, bonus=state.bonus), granted


def _credited(
    state: TopUp, payment: Payment, rule: TopUpRule, now: datetime, *, bonus: Money | None = None
) -> WalletToppedUp | SurplusCredited:
    """Return the lot that a payment makes: the order's own ends it, a surplus does not."""
    # Terms count from when the credit can be spent: the date of the payment is the gateway's word.
    lot: dict[str, Any] = {
        "account_id": state.payable.account_id,
        "topup_id": state.payable.order.value,
        "payment_id": payment.payment_id,
        "lot_id": identities.lot_id(payment.payment_id, "paid"),
        "gateway": payment.gateway,
        "method": payment.method,
        "amount": payment.amount,
        "expires_at": rule.paid_until(now),
        "rule_id": rule.rule_id,
        "rule_version": rule.version,
    }
    if payment.surplus is not None:
        return SurplusCredited(**lot, reason=payment.surplus, credited_at=now)
    return WalletToppedUp(**lot, bonus=bonus, topped_up_at=now)
