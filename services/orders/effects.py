"""All effects of orders by their kind: who does them, and how a person settles them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.orders.payments.claims.transactions import Claims
from services.orders.payments.effects import CHARGE, CONFIRM, EXPIRE, REFUND
from services.orders.payments.executors import PaymentExecutors
from services.orders.payments.gateways.gateway import PaymentGateway
from services.orders.payments.give_ups import (
    on_charge_settled,
    on_confirmation_settled,
    on_expiry_settled,
    on_refund_settled,
)
from services.orders.payments.inquiries import inquiry_about_charge
from services.orders.renewals.effects import ACTIVATE
from services.orders.renewals.executors import ActivationExecutor
from services.orders.renewals.give_ups import on_activation_settled
from services.orders.renewals.providers.provider import EsimProvider
from services.runtime.processor import Effect


def build_effects(
    gateway: PaymentGateway,
    provider: EsimProvider,
    clock: Callable[[], datetime],
    *,
    claims: Claims,
    trusted_gateways: frozenset[str] = frozenset(),
) -> dict[str, Effect]:
    """Return the effects by their kind."""
    payments = PaymentExecutors(gateway, claims, trusted_gateways, clock)
    activations = ActivationExecutor(provider, clock)
    return {
        CHARGE: Effect(payments.charge, on_charge_settled, inquiry_about_charge(gateway)),
        ACTIVATE: Effect(activations.activate, on_activation_settled),
        REFUND: Effect(payments.refund, on_refund_settled),
        EXPIRE: Effect(payments.expire, on_expiry_settled),
        CONFIRM: Effect(payments.confirm, on_confirmation_settled),
    }
