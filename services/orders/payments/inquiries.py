"""Asks the gateway about what a person says that it did, before orders believes it."""

from __future__ import annotations

from functools import partial

from services.orders.payments.gateways.gateway import PaymentGateway
from services.orders.payments.give_ups import on_charge_settled
from services.runtime.processor import EffectRun, Inquiry, Settle, Settlement


def inquiry_about_charge(gateway: PaymentGateway) -> Inquiry:
    """Return what is asked of `gateway` before a person settles a charge."""

    async def inquire(said: Settlement, _run: EffectRun) -> Settle:
        """Look up the transaction that is said to hold the money."""
        match said:
            case Settlement(outcome="captured", gateway=str(name), reference=str(transaction)):
                told = await gateway.look_up_transaction(name, transaction)
                return partial(on_charge_settled, told=told)
            case _:
                return on_charge_settled

    return inquire
