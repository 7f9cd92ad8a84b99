"""Asks the gateway about what a person says that it did, before orders believes it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from services.orders.payments.effects import CHARGE
from services.orders.payments.gateways.gateway import PaymentGateway
from services.orders.payments.give_ups import on_charge_given_up
from services.runtime.processor import EffectRun, GiveUp, Inquiry, OnGiveUp


def build_inquiries(gateway: PaymentGateway) -> Mapping[str, Inquiry]:
    """Return what is asked before a person settles an effect, by its kind."""

    async def about_charge(given_up: GiveUp, _run: EffectRun) -> OnGiveUp:
        """Look up the transaction that is said to hold the money."""
        match given_up:
            case GiveUp(outcome="captured", gateway=str(name), reference=str(transaction)):
                told = await gateway.look_up_transaction(name, transaction)
                return partial(on_charge_given_up, told=told)
            case _:
                return on_charge_given_up

    return {CHARGE: about_charge}
