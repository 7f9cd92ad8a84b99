"""Which effects an order still needs, told from its events and its request alone. PURE.

For a log whose effects were lost: a restored database holds those of an earlier moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.envelope import Event
from schemas.orders import RenewalAccepted, TopUpAccepted
from schemas.requests import PaymentMethod, RenewalRequested, TopUpRequested
from services.orders.catalogue.catalogue import Catalogue
from services.orders.order.evolution import evolve
from services.orders.order.state import (
    AwaitingActivation,
    AwaitingCharge,
    AwaitingConfirmation,
    AwaitingWallet,
    NewOrder,
    OrderState,
    Renewal,
    TopUp,
)
from services.orders.payments.effects import (
    CHARGE,
    charge_effect,
    charge_look_up,
    confirm_effect,
    expire_effect,
    refund_effect,
)
from services.orders.renewals.effects import activate_effect
from services.runtime.errors import ConfigurationError
from services.runtime.processor import Start

Request = RenewalRequested | TopUpRequested
_OPEN: Final = (AwaitingActivation, AwaitingCharge, AwaitingConfirmation, AwaitingWallet)


def fold(events: Sequence[Event]) -> OrderState:
    """Return the order after its events."""
    state: OrderState = NewOrder()
    for event in events:
        state = evolve(state, event)
    return state


def unfinished(
    events: Sequence[Event], request: Request | None, catalogue: Catalogue
) -> list[Start]:
    """Return what is to be done for the order; without its `request`, what needs none of it.

    Raises:
        ConfigurationError: the catalogue lacks the plan that was sold.
    """
    state = fold(events)
    if not isinstance(state, Renewal | TopUp):
        return []
    effects = _refunds(state) if isinstance(state, Renewal) else []
    effects += [confirm_effect(state.payable, each) for each in state.confirmations]
    effects += _payment(state, events, request)
    if isinstance(state, Renewal) and isinstance(request, RenewalRequested):
        effects += _activation(state, request, catalogue)
    return effects


def _refunds(state: Renewal) -> list[Start]:
    owed = sorted(state.owed.values(), key=lambda each: (each.captured_at, each.payment_id))
    return [
        refund_effect(state.payable, each, kept=each.payment_id in state.not_refundable)
        for each in owed
        if each.method is not PaymentMethod.WALLET
    ]


def waits_for_activation(events: Sequence[Event]) -> bool:
    """Say whether the order is paid and its plan is to be activated."""
    state = fold(events)
    return isinstance(state, Renewal) and isinstance(state.stage, AwaitingActivation)


def is_open(events: Sequence[Event]) -> bool:
    """Say whether the order waits for a payment or an activation."""
    state = fold(events)
    return isinstance(state, Renewal | TopUp) and isinstance(state.stage, _OPEN)


def _payment(
    state: Renewal | TopUp, events: Sequence[Event], request: Request | None
) -> list[Start]:
    payable = state.payable
    match state.stage:
        case AwaitingCharge(unknown_since=None) if request is not None:
            return [
                charge_effect(
                    payable.payment_id,
                    request.payment,
                    payable.amount,
                    payable.gateway,
                    payable.accepted_at,
                )
            ]
        case AwaitingCharge(unknown_since=since) if since is not None:
            look_up = charge_look_up(payable, 0, since)
            return [Start(f"{CHARGE}/{payable.payment_id}", CHARGE, look_up)]
        case AwaitingConfirmation():
            accepted = next(e for e in events if isinstance(e, RenewalAccepted | TopUpAccepted))
            confirm_by = accepted.confirm_by or accepted.accepted_at
            return [expire_effect(payable.stream_id, confirm_by)]
        case _:
            return []


def _activation(state: Renewal, request: RenewalRequested, catalogue: Catalogue) -> list[Start]:
    if not isinstance(state.stage, _OPEN):
        return []
    price = state.quote
    plan = catalogue.plan_version(price.plan_code, price.plan_version)
    if plan is None:
        message = (
            f"the catalogue no longer holds version {price.plan_version} of {price.plan_code}: "
            "put it back, then try again"
        )
        raise ConfigurationError(message)
    held = activate_effect(request, state.payable.stream_id, plan.validity_days)
    if isinstance(state.stage, AwaitingActivation):
        return [Start(held.effect_id, held.kind, held.payload)]
    return [held]
