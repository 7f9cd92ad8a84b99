"""The effect that asks a gateway about a confirmed payment. Pure but for its ports."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field, TypeAdapter

from schemas.envelope import Identifier, Part
from services.orders.order import identities
from services.orders.order.past import Past
from services.orders.order.state import Confirmation, Payable
from services.orders.payments.commands import RecordConfirmation, SettleConfirmation
from services.orders.payments.effects.ports import PaymentPorts
from services.orders.payments.gateways.gateway import Found, NotSupported, TransactionLookUp
from services.runtime.effect import EffectRun, Retry, Start
from services.runtime.effect_definition import EffectDefinition, Outcome, Restored, payload_of
from services.runtime.processor import Mark, Settlement

_KIND: Final = "confirm"


class Confirm(Part):
    """Ask about a transaction; `agreed`: it is said to be of the amount that the order costs."""

    gateway: Identifier
    gateway_txn_id: Identifier
    agreed: bool
    not_found_count: int = Field(ge=0)


def confirm_effect(payable: Payable, confirmation: Confirmation) -> Start:
    """Ask the gateway about a confirmation; one that is `kept` only waits for a person."""
    effect_id = _effect_id(payable, confirmation)
    hold_key = effect_id if confirmation.kept else None
    confirm = _confirm(payable, confirmation, not_found_count=0)
    return Start(effect_id, _KIND, confirm.model_dump(), hold_key=hold_key)


def look_up_confirmation(
    payable: Payable, confirmation: Confirmation, not_found_count: int, due_at: datetime
) -> Retry:
    """Ask about the confirmation again, and remember how often it was not found."""
    return Retry(due_at, _confirm(payable, confirmation, not_found_count).model_dump())


def keep_confirmation(payable: Payable, confirmation: Confirmation) -> Retry:
    """Ask about the confirmation no more; it is kept until a person has seen to the money."""
    return Retry(None, hold_key=_effect_id(payable, confirmation))


def _effect_id(payable: Payable, confirmation: Confirmation) -> str:
    return f"{_KIND}/{identities.surplus_payment_id(payable.payment_id, *confirmation.key)}"


def _confirm(payable: Payable, confirmation: Confirmation, not_found_count: int) -> Confirm:
    return Confirm(
        gateway=confirmation.gateway,
        gateway_txn_id=confirmation.gateway_txn_id,
        agreed=confirmation.claimed == payable.amount,
        not_found_count=not_found_count,
    )


async def _execute(
    ports: PaymentPorts, confirm: Confirm, run: EffectRun, _mark: Mark
) -> RecordConfirmation:
    """Ask what the gateway holds; a transaction of this order is claimed before that counts."""
    gateway, txn = confirm.gateway, confirm.gateway_txn_id
    answer = await ports.gateway.look_up_transaction(gateway, txn)
    owner = None
    if _is_ours(ports, answer, confirm, run.stream_id):
        owner = await ports.claims.claim(gateway, txn, run.stream_id)
    count = confirm.not_found_count
    return RecordConfirmation(gateway, txn, answer, owner, count, run.attempt, ports.clock())


def _is_ours(
    ports: PaymentPorts, answer: TransactionLookUp, confirm: Confirm, stream_id: str
) -> bool:
    match answer:
        case Found():
            return answer.holds_money and answer.reference == stream_id
        case NotSupported():
            return confirm.agreed and confirm.gateway in ports.trusted_gateways
        case _:
            return False


def _settled(
    said: Settlement, confirm: Confirm, _run: EffectRun, now: datetime
) -> SettleConfirmation:
    """Close the question: the money is none of this order's, or went back."""
    gateway, txn = confirm.gateway, confirm.gateway_txn_id
    return SettleConfirmation(gateway, txn, said.by, said.reason, now)


def _restore(past: Past) -> Restored:
    if past.order is None:
        return Restored()
    payable = past.order.payable
    return Restored(tuple(confirm_effect(payable, each) for each in past.order.confirmations))


CONFIRM: Final[EffectDefinition[Confirm, PaymentPorts, Past]] = EffectDefinition(
    kind=_KIND,
    called="a confirmation",
    read=payload_of(TypeAdapter(Confirm)),
    execute=_execute,
    outcomes=(Outcome("settled", _settled),),
    hint="the gateway alone says what was paid",
    restore=_restore,
    waits_for=lambda confirm: confirm.gateway,
)
