"""The effect that gives a payment back through its gateway. Pure but for its ports."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import TypeAdapter

from schemas.requests import PaymentMethod
from services.orders.order import identities
from services.orders.order.past import Past
from services.orders.order.state import Payable, Payment, Renewal
from services.orders.payments.commands import RecordRefund, RefundedElsewhere, SettleRefund
from services.orders.payments.effects.ports import PaymentPorts
from services.orders.payments.gateways.gateway import NotFound, Refund
from services.runtime.effect import Drop, EffectRun, Retry, Start
from services.runtime.effect_definition import EffectDefinition, Outcome, Restored, payload_of
from services.runtime.processor import Mark, Settlement

_KIND: Final = "refund"


def refund_effect(payable: Payable, payment: Payment, *, kept: bool = False) -> Start:
    """Give a payment back through its gateway; one that is `kept` only waits for a person.

    So does unverified money: no gateway told us that the transaction is ours to give back. What
    the shop's own gateway took waits until it, or a person, says that it went back.
    """
    refund_id = identities.refund_id(payment.payment_id)
    refund = Refund(
        refund_id=refund_id,
        payment_id=payment.payment_id,
        gateway=payment.gateway,
        gateway_txn_id=payment.gateway_txn_id,
        method=payment.method,
        amount=payment.amount,
        through=payable.gateway if payment.payment_id == payable.payment_id else None,
    )
    held = kept or payment.unverified or payment.external
    hold_key = _hold_key(payment) if held else None
    payload = refund.model_dump(mode="json") | {"through": refund.through}
    return Start(f"{_KIND}/{refund_id}", _KIND, payload, hold_key=hold_key)


def keep_refund(payment: Payment) -> Retry:
    """Ask for the refund no more; it is kept until a person says that the money went back."""
    return Retry(None, hold_key=_hold_key(payment))


def drop_refund(payment: Payment) -> Drop:
    """Stop waiting for a confirmation that the money was returned."""
    return Drop(_hold_key(payment))


def _hold_key(payment: Payment) -> str:
    return f"{_KIND}/{payment.payment_id}"


async def _execute(
    ports: PaymentPorts, refund: Refund, run: EffectRun, _mark: Mark
) -> RecordRefund:
    outcome = await ports.gateway.refund(refund)
    return RecordRefund(refund.payment_id, outcome, run.attempt, ports.clock())


async def _look_up(ports: PaymentPorts, refund: Refund, run: EffectRun) -> RecordRefund | None:
    found = await ports.gateway.look_up_refund(refund)
    if isinstance(found, NotFound):
        return None
    return RecordRefund(refund.payment_id, found, run.attempt, ports.clock())


def _refunded(said: Settlement, refund: Refund, _run: EffectRun, now: datetime) -> SettleRefund:
    found = RefundedElsewhere(said.needed("gateway"), said.needed("reference"), said.when(now))
    return SettleRefund(refund.payment_id, found, said.by, said.reason, now)


def _not_refunded(said: Settlement, refund: Refund, _run: EffectRun, now: datetime) -> SettleRefund:
    return SettleRefund(refund.payment_id, "not_refunded", said.by, said.reason, now)


def _restore(past: Past) -> Restored:
    """Give back what is owed, the oldest first. What is not may have been settled by a person."""
    order = past.order
    if not isinstance(order, Renewal):
        return Restored(drop_others=True)
    refunds = [
        refund_effect(order.payable, each, kept=each.payment_id in order.not_refundable)
        for each in sorted(
            order.owed.values(), key=lambda each: (each.captured_at, each.payment_id)
        )
        if each.method is not PaymentMethod.WALLET
    ]
    return Restored(tuple(refunds), drop_others=True)


REFUND: Final[EffectDefinition[Refund, PaymentPorts, Past]] = EffectDefinition(
    kind=_KIND,
    called="a refund",
    read=payload_of(TypeAdapter(Refund)),
    look_up=_look_up,
    execute=_execute,
    outcomes=(
        Outcome("refunded", _refunded, ("gateway", "reference")),
        Outcome("not_refunded", _not_refunded),
    ),
    restore=_restore,
    waits_for=lambda refund: refund.through,
)
