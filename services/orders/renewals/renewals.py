"""Decides renewal requests: accepted with a locked price, or refused with a reason. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.money import Money
from schemas.orders import (
    Quote,
    RejectionReason,
    RenewalAccepted,
    RenewalRejected,
    WalletChargeRequested,
)
from schemas.requests import PaymentMode, RenewalRequested
from services.orders.catalogue.catalogue import PlanVersion
from services.orders.catalogue.pricing import quote
from services.orders.catalogue.validity import zone_names
from services.orders.order import identities
from services.orders.order.order_id import OrderId
from services.orders.order.repetitions import repeated
from services.orders.order.rules import Rules
from services.orders.order.state import NewOrder, OrderState
from services.orders.payments.effects.charge import charge_effect
from services.orders.payments.effects.expire import expire_effect
from services.orders.renewals.commands import AcceptRenewal
from services.orders.renewals.effects.activate import activate_effect
from services.runtime.effect import Start
from services.runtime.errors import Poison
from services.runtime.processor import Decision, Ignored

UTC_ZONE: Final = "UTC"
_DETAILS: Final = {
    RejectionReason.ACCOUNT_BLOCKED: "this account may not buy: contact support",
    RejectionReason.UNKNOWN_PLAN: "no plan with this code is on sale: read the catalogue again",
    RejectionReason.ESIM_NOT_RENEWABLE: "this eSIM is not one of ours: check the ICCID",
    RejectionReason.PLAN_NOT_SOLD_IN_CURRENCY: "choose another currency for this plan",
    RejectionReason.PAYMENT_METHOD_NOT_ACCEPTED: "method, mode and currency do not go together",
    RejectionReason.QUOTE_EXPIRED: "ask for a new quote and send it under a new renewal_id",
    RejectionReason.PRICE_CHANGED: "show the customer current_total and send a new renewal_id",
    RejectionReason.ABOVE_MAXIMUM: "the total is above `maximum`: send less under a new renewal_id",
    RejectionReason.PROMOTION_NOT_APPLICABLE: (
        "a code of promotions_not_applied lowers nothing: leave it out, or send current_total as "
        "expected_total, under a new renewal_id"
    ),
    RejectionReason.RENEWAL_ID_REUSED: "this renewal_id is taken: send a new one for a new order",
}


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: RejectionReason
    current_total: Money | None = None
    maximum: Money | None = None
    idle_codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Offer:
    plan: PlanVersion
    quote: Quote
    idle_codes: tuple[str, ...] = ()


def accept_renewal(command: AcceptRenewal, state: OrderState, rules: Rules) -> Decision | Ignored:
    """Lock the price and ask for the payment, or refuse; an id serves one request for ever.

    Raises:
        Poison: the plan counts days of a time zone that does not exist.
    """
    request, now = command.request, command.now
    digest = identities.request_digest(request, rules.policy.esim_hash_salt)
    if reason := repeated(state, digest):
        return Ignored(reason)
    if not isinstance(state, NewOrder):
        return _rejected(command, _Refusal(RejectionReason.RENEWAL_ID_REUSED), digest)
    offer = _offer(request, rules, now)
    if isinstance(offer, _Refusal):
        return _rejected(command, offer, digest)
    return _accepted(command, offer, digest, rules)


def _offer(request: RenewalRequested, rules: Rules, now: datetime) -> _Offer | _Refusal:
    payment, catalogue = request.payment, rules.catalogue
    if request.account_id in rules.policy.blocked_accounts:
        return _Refusal(RejectionReason.ACCOUNT_BLOCKED)
    plan = catalogue.plan(request.plan_code, now)
    if plan is None:
        return _Refusal(RejectionReason.UNKNOWN_PLAN)
    if not catalogue.renewable(request.iccid):
        return _Refusal(RejectionReason.ESIM_NOT_RENEWABLE)
    tax = catalogue.tax(payment.currency, now)
    maximum = catalogue.maximum(payment.currency, now)
    if payment.currency not in plan.price or tax is None or maximum is None:
        return _Refusal(RejectionReason.PLAN_NOT_SOLD_IN_CURRENCY)
    if not rules.accepts(payment, now):
        return _Refusal(RejectionReason.PAYMENT_METHOD_NOT_ACCEPTED)
    if request.quote_expires_at is not None and now > request.quote_expires_at:
        return _Refusal(RejectionReason.QUOTE_EXPIRED)
    price = quote(catalogue, plan, tax, request, now)
    if maximum.exceeded_by(price.total):
        return _Refusal(RejectionReason.ABOVE_MAXIMUM, maximum=maximum.money())
    idle = catalogue.idle_codes(plan, request.quantity, request.promotion_codes, now)
    if request.expected_total is None and idle:
        # Nobody saw this price: who gave a code expects to pay less.
        reason = RejectionReason.PROMOTION_NOT_APPLICABLE
        return _Refusal(reason, price.total, idle_codes=idle)
    if request.expected_total is not None and request.expected_total != price.total:
        return _Refusal(RejectionReason.PRICE_CHANGED, price.total, idle_codes=idle)
    return _Offer(plan, price, idle)


def _rejected(command: AcceptRenewal, refusal: _Refusal, digest: str) -> Decision:
    request = command.request
    event = RenewalRejected(
        account_id=request.account_id,
        renewal_id=request.renewal_id,
        reason=refusal.reason,
        detail=_DETAILS[refusal.reason],
        current_total=refusal.current_total,
        maximum=refusal.maximum,
        promotions_not_applied=list(refusal.idle_codes) or None,
        request_digest=digest,
        request_source=command.source,
        rejected_at=command.now,
    )
    return Decision((event,), apart=refusal.reason is RejectionReason.RENEWAL_ID_REUSED)


def _accepted(command: AcceptRenewal, offer: _Offer, digest: str, rules: Rules) -> Decision:
    request, now = command.request, command.now
    mode, total = request.payment.mode, offer.quote.total
    stream_id = OrderId.renewal(request.renewal_id).stream_id
    payment_id = identities.payment_id(request.account_id, stream_id)
    awaits = mode is PaymentMode.AWAIT_CONFIRMATION
    confirm_by = now + rules.policy.confirmation_window if awaits else None
    gateway = rules.gateway(request.payment, stream_id, now)
    time_zone = _time_zone(request) if offer.plan.calendar_days else None
    accepted = RenewalAccepted(
        account_id=request.account_id,
        renewal_id=request.renewal_id,
        esim_hash=identities.esim_hash(request.iccid, rules.policy.esim_hash_salt),
        quote=offer.quote,
        plan_title=offer.plan.title,
        payment_method=request.payment.method,
        payment_mode=mode,
        gateway=gateway,
        confirm_by=confirm_by,
        time_zone=time_zone,
        promotions_not_applied=list(offer.idle_codes) or None,
        request_digest=digest,
        request_source=command.source,
        accepted_at=now,
    )
    effects: list[Start] = [
        activate_effect(request, stream_id, offer.plan.validity_days, time_zone)
    ]
    if confirm_by is not None:
        effects.append(expire_effect(stream_id, confirm_by))
    if request.payment.token is not None:
        effects.append(charge_effect(payment_id, request.payment, total, gateway, now))
    if mode is not PaymentMode.WALLET:
        return Decision((accepted,), tuple(effects))
    asked = _wallet_charge(request, offer.quote, payment_id, now)
    return Decision((accepted, asked), tuple(effects))


def _time_zone(request: RenewalRequested) -> str:
    """Return whose calendar days count: the customer's, and UTC's where that is not said.

    Raises:
        Poison: there is no such zone.
    """
    name = request.contact.time_zone if request.contact else UTC_ZONE
    if name not in zone_names():
        message = (
            "contact.time_zone is no IANA time zone, and this plan is valid for its calendar days: "
            "publish the request again with one such as Asia/Shanghai"
        )
        raise Poison("time_zone_unknown", message)
    return name


def _wallet_charge(
    request: RenewalRequested, price: Quote, charge_id: str, now: datetime
) -> WalletChargeRequested:
    return WalletChargeRequested(
        account_id=request.account_id,
        charge_id=charge_id,
        renewal_id=request.renewal_id,
        amount=price.total,
        net=price.net,
        tax=price.tax,
        tax_jurisdiction=price.tax_jurisdiction,
        requested_at=now,
    )
