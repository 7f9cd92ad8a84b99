"""Decides top-up requests: accepted with a locked bonus, or refused with a reason. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.money import Money
from schemas.orders import (
    TopUpAccepted,
    TopUpRejected,
    TopUpRejectionReason,
)
from schemas.requests import PaymentMode, TopUpRequested
from services.orders.catalogue.catalogue import TopUpRule
from services.orders.catalogue.pricing import bonus
from services.orders.order import identities
from services.orders.order.order_id import OrderId
from services.orders.order.repetitions import repeated
from services.orders.order.rules import Rules
from services.orders.order.state import NewOrder, OrderState
from services.orders.payments.effects.charge import charge_effect
from services.orders.payments.effects.expire import expire_effect
from services.orders.topups.commands import AcceptTopUp
from services.runtime.effect import Start
from services.runtime.processor import Decision, Ignored

_DETAILS: Final = {
    TopUpRejectionReason.ACCOUNT_BLOCKED: "this account may not buy: contact support",
    TopUpRejectionReason.CURRENCY_NOT_SUPPORTED: "top up and pay in one offered currency",
    TopUpRejectionReason.PAYMENT_METHOD_NOT_ACCEPTED: "method, mode and currency do not go together",
    TopUpRejectionReason.BELOW_MINIMUM_TOP_UP: "send at least `minimum` under a new topup_id",
    TopUpRejectionReason.ABOVE_MAXIMUM: "send at most `maximum` under a new topup_id",
    TopUpRejectionReason.TOPUP_ID_REUSED: "this topup_id is taken: send a new one for a new top-up",
}


@dataclass(frozen=True, slots=True)
class _Refusal:
    reason: TopUpRejectionReason
    minimum: Money | None = None
    maximum: Money | None = None


def accept_top_up(command: AcceptTopUp, state: OrderState, rules: Rules) -> Decision | Ignored:
    """Lock the bonus and ask for the payment, or refuse; an id serves one request for ever."""
    request, now = command.request, command.now
    digest = identities.request_digest(request, rules.policy.esim_hash_salt)
    if reason := repeated(state, digest):
        return Ignored(reason)
    if not isinstance(state, NewOrder):
        return _rejected(command, _Refusal(TopUpRejectionReason.TOPUP_ID_REUSED), digest)
    rule = _rule(request, rules, now)
    if isinstance(rule, _Refusal):
        return _rejected(command, rule, digest)
    return _accepted(command, rule, digest, rules)


def _rule(request: TopUpRequested, rules: Rules, now: datetime) -> TopUpRule | _Refusal:
    payment = request.payment
    if request.account_id in rules.policy.blocked_accounts:
        return _Refusal(TopUpRejectionReason.ACCOUNT_BLOCKED)
    rule = rules.catalogue.top_up_rule(request.amount.currency, now)
    maximum = rules.catalogue.maximum(request.amount.currency, now)
    if rule is None or maximum is None or payment.currency != request.amount.currency:
        return _Refusal(TopUpRejectionReason.CURRENCY_NOT_SUPPORTED)
    if payment.mode is PaymentMode.WALLET or not rules.accepts(payment, now):
        return _Refusal(TopUpRejectionReason.PAYMENT_METHOD_NOT_ACCEPTED)
    if request.amount.amount_minor < rule.minimum_minor:
        minimum = Money(amount_minor=rule.minimum_minor, currency=rule.currency)
        return _Refusal(TopUpRejectionReason.BELOW_MINIMUM_TOP_UP, minimum)
    if maximum.exceeded_by(request.amount):
        return _Refusal(TopUpRejectionReason.ABOVE_MAXIMUM, maximum=maximum.money())
    return rule


def _rejected(command: AcceptTopUp, refusal: _Refusal, digest: str) -> Decision:
    request = command.request
    event = TopUpRejected(
        account_id=request.account_id,
        topup_id=request.topup_id,
        reason=refusal.reason,
        detail=_DETAILS[refusal.reason],
        minimum=refusal.minimum,
        maximum=refusal.maximum,
        request_digest=digest,
        request_source=command.source,
        rejected_at=command.now,
    )
    return Decision((event,), apart=refusal.reason is TopUpRejectionReason.TOPUP_ID_REUSED)


def _accepted(command: AcceptTopUp, rule: TopUpRule, digest: str, rules: Rules) -> Decision:
    request, now = command.request, command.now
    stream_id = OrderId.top_up(request.topup_id).stream_id
    awaits = request.payment.mode is PaymentMode.AWAIT_CONFIRMATION
    confirm_by = now + rules.policy.confirmation_window if awaits else None
    gateway = rules.gateway(request.payment, stream_id, now)
    accepted = TopUpAccepted(
        account_id=request.account_id,
        topup_id=request.topup_id,
        amount=request.amount,
        bonus=bonus(rule, request.amount),
        rule_id=rule.rule_id,
        rule_version=rule.version,
        payment_method=request.payment.method,
        payment_mode=request.payment.mode,
        gateway=gateway,
        confirm_by=confirm_by,
        request_digest=digest,
        request_source=command.source,
        accepted_at=now,
    )
    effect: Start
    if confirm_by is not None:
        effect = expire_effect(stream_id, confirm_by)
    else:
        payment_id = identities.payment_id(request.account_id, stream_id)
        effect = charge_effect(payment_id, request.payment, request.amount, gateway, now)
    return Decision((accepted,), (effect,))
