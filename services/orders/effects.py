"""All effects of orders by their kind: who does them, and how a person settles them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from services.orders.payments.claims.transactions import Claims
from services.orders.payments.effects import CHARGE, CONFIRM, EXPIRE, REFUND
from services.orders.payments.executors import PaymentExecutors
from services.orders.payments.gateways.gateway import PaymentGateway
from services.orders.payments.give_ups import (
    on_charge_given_up,
    on_confirmation_given_up,
    on_expiry_given_up,
    on_refund_given_up,
)
from services.orders.renewals.effects import ACTIVATE
from services.orders.renewals.executors import ActivationExecutor
from services.orders.renewals.give_ups import on_activation_given_up
from services.orders.renewals.providers.provider import EsimProvider
from services.runtime.processor import Executor, OnGiveUp

GIVE_UPS: Final[Mapping[str, OnGiveUp]] = {
    CHARGE: on_charge_given_up,
    ACTIVATE: on_activation_given_up,
    REFUND: on_refund_given_up,
    EXPIRE: on_expiry_given_up,
    CONFIRM: on_confirmation_given_up,
}


def build_executors(
    gateway: PaymentGateway,
    provider: EsimProvider,
    clock: Callable[[], datetime],
    *,
    claims: Claims,
    trusted_gateways: frozenset[str] = frozenset(),
) -> Mapping[str, Executor]:
    """Return the executors by kind of effect."""
    payments = PaymentExecutors(gateway, claims, trusted_gateways, clock)
    return {
        CHARGE: payments.charge,
        ACTIVATE: ActivationExecutor(provider, clock).activate,
        REFUND: payments.refund,
        EXPIRE: payments.expire,
        CONFIRM: payments.confirm,
    }
