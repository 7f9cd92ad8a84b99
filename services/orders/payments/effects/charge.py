"""The effect that charges a token, or looks up what became of that. Pure but for its ports.

The payload is the only place where a token is kept, and it goes with the effect.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final, TypeVar, assert_never

from pydantic import Field, TypeAdapter

from schemas.envelope import Identifier, Part, UtcDatetime
from schemas.money import Money
from schemas.orders import UnknownCause
from schemas.requests import PaymentInstruction, PaymentMethod
from services.orders.order.past import Past
from services.orders.order.policy import Backoff
from services.orders.order.state import AwaitingAction, AwaitingCharge, Payable
from services.orders.payments.commands import (
    CapturedElsewhere,
    RecordAction,
    RecordCharge,
    RecordLookUp,
    SettleUnknownPayment,
)
from services.orders.payments.effects.ports import PaymentPorts
from services.orders.payments.gateways.gateway import (
    Captured,
    Charge,
    ChargeReference,
    Found,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    TransactionLookUp,
    Unavailable,
)
from services.runtime.effect import EffectRun, JsonObject, Retry, Start
from services.runtime.effect_definition import (
    HIDDEN,
    Command,
    EffectDefinition,
    Outcome,
    Restored,
    payload_of,
)
from services.runtime.errors import Halt, SettlementRefused
from services.runtime.processor import Mark, Settlement

_KIND: Final = "charge"
_NOT_ASKED: Final = Unavailable()
OutcomeT = TypeVar("OutcomeT")


class ChargeToken(Part):
    """Charge the token at `gateway`, of an order that was accepted at `since`."""

    payment_id: Identifier
    token: str = Field(repr=False)
    method: PaymentMethod
    amount: Money
    gateway: Identifier | None = None
    since: UtcDatetime | None = None


class LookUpCharge(Part):
    """A charge without an answer since `until`: without the token it can never charge again."""

    payment_id: Identifier
    not_found_count: int = Field(ge=0)
    gateway: Identifier | None = None
    since: UtcDatetime | None = None
    until: UtcDatetime | None = None


class AwaitAction(Part):
    """A charge that the customer has to agree to until `pay_by`; then it is cancelled."""

    payment_id: Identifier
    gateway: Identifier | None = None
    gateway_txn_id: Identifier
    pay_by: UtcDatetime


_Payload = ChargeToken | LookUpCharge | AwaitAction


def charge_effect(
    payment_id: str,
    payment: PaymentInstruction,
    amount: Money,
    gateway: str | None,
    accepted_at: datetime,
) -> Start:
    """Charge the token at once."""
    wanted = {
        "payment_id": payment_id,
        "token": payment.token,
        "method": payment.method,
        "amount": amount,
        "gateway": gateway,
        "since": accepted_at,
    }
    charge = ChargeToken.model_validate(wanted)
    return Start(f"{_KIND}/{payment_id}", _KIND, charge.model_dump(mode="json"))


def look_up_charge(
    payable: Payable, not_found_count: int, unknown_since: datetime, due_at: datetime
) -> Retry:
    """Turn the charge into a look-up."""
    return Retry(due_at, _look_up_of(payable, not_found_count, unknown_since))


def _look_up_of(payable: Payable, not_found_count: int, unknown_since: datetime) -> JsonObject:
    look_up = LookUpCharge(
        payment_id=payable.payment_id,
        not_found_count=not_found_count,
        gateway=payable.gateway,
        since=payable.accepted_at,
        until=unknown_since,
    )
    return look_up.model_dump(mode="json")


def action_key(payable: Payable) -> str:
    """Return the key under which a look at the customer's agreement is held: it can be had at once."""
    return f"{payable.stream_id}/action"


def await_action(
    payable: Payable, stage: AwaitingAction, backoff: Backoff, attempt: int, now: datetime
) -> Retry:
    """Look again whether the customer agreed, and at `pay_by` for the last time."""
    due_at = now + backoff.after(attempt)
    if now < stage.pay_by < due_at:
        due_at = stage.pay_by
    return Retry(due_at, _action_of(payable, stage), hold_key=action_key(payable))


def _action_of(payable: Payable, stage: AwaitingAction) -> JsonObject:
    action = AwaitAction(
        payment_id=payable.payment_id,
        gateway=payable.gateway,
        gateway_txn_id=stage.gateway_txn_id,
        pay_by=stage.pay_by,
    )
    return action.model_dump(mode="json")


def _look_at_action(payable: Payable, stage: AwaitingAction) -> Start:
    """Look at once; what is held runs when it is due all the same."""
    return Start(
        f"{_KIND}/{payable.payment_id}",
        _KIND,
        _action_of(payable, stage),
        due_at=payable.accepted_at,
        hold_key=action_key(payable),
    )


# -- doing it --------------------------------------------------------------------------------------


async def _execute(
    ports: PaymentPorts, payload: _Payload, run: EffectRun, _mark: Mark
) -> RecordCharge | RecordLookUp | RecordAction:
    match payload:
        case ChargeToken():
            outcome = await ports.gateway.charge(_charge(payload))
            if run.recovered and isinstance(outcome, Unavailable):
                outcome = _LOST
            return RecordCharge(_ours(ports, outcome), run.attempt, ports.clock())
        case LookUpCharge(not_found_count=count):
            found = _ours(ports, await ports.gateway.look_up_charge(_reference(payload)))
            return RecordLookUp(found, count, run.attempt, ports.clock())
        case AwaitAction():
            reference = _reference(payload)
            if ports.clock() < payload.pay_by:
                told = await ports.gateway.look_up_charge(reference)
            else:
                told = await ports.gateway.cancel_charge(reference)
            return RecordAction(_ours(ports, told), run.attempt, ports.clock())
        case _:
            assert_never(payload)


async def _look_up(ports: PaymentPorts, payload: _Payload, run: EffectRun) -> RecordCharge | None:
    """Look before charging again under the same key; what stays unclear is looked up later."""
    if not run.recovered or not isinstance(payload, ChargeToken):
        return None
    found = await ports.gateway.look_up_charge(_reference(payload))
    if isinstance(found, NotFound):
        return None
    outcome = _LOST if isinstance(found, Unavailable) else found
    return RecordCharge(_ours(ports, outcome), run.attempt, ports.clock())


def _charge(payload: ChargeToken) -> Charge:
    return Charge(
        payment_id=payload.payment_id,
        token=payload.token,
        method=payload.method,
        amount=payload.amount,
        gateway=payload.gateway,
    )


def _reference(payload: _Payload) -> ChargeReference:
    if isinstance(payload, AwaitAction):
        return ChargeReference(
            payment_id=payload.payment_id,
            gateway=payload.gateway,
            gateway_txn_id=payload.gateway_txn_id,
        )
    return ChargeReference(
        payment_id=payload.payment_id,
        gateway=payload.gateway,
        since=payload.since,
        until=payload.until if isinstance(payload, LookUpCharge) else None,
    )


_LOST: Final = OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
"""What an earlier attempt did is not told."""


def _ours(ports: PaymentPorts, outcome: OutcomeT) -> OutcomeT:
    """Refuse to go on where a gateway that charges is believed without being asked.

    Raises:
        Halt: what it charged for one order could be confirmed for another.
    """
    if isinstance(outcome, Captured) and outcome.gateway in ports.trusted_gateways:
        message = (
            f"the gateway charges as {outcome.gateway}, which is in TRUST_CONFIRMATIONS_OF: "
            "take it out and start again; the charge is then looked up and recorded"
        )
        raise Halt(message)
    return outcome


# -- settling it -----------------------------------------------------------------------------------


async def _ask_about(ports: PaymentPorts, said: Settlement) -> Command[_Payload]:
    """Look up the transaction that is said to hold the money."""
    told = await ports.gateway.look_up_transaction(said.needed("gateway"), said.needed("reference"))
    return partial(captured, told=told)


def captured(
    said: Settlement,
    payload: _Payload,
    run: EffectRun,
    now: datetime,
    *,
    told: TransactionLookUp = _NOT_ASKED,
) -> SettleUnknownPayment:
    """Settle a payment that a person found; `told` is what the gateway says of the transaction.

    Raises:
        SettlementRefused: the gateway can be asked and does not bear it out.
    """
    at = min(said.at, now) if said.at else None
    borne_out = _borne_out(told, {run.stream_id, payload.payment_id})
    found = CapturedElsewhere(said.needed("gateway"), said.needed("reference"), at, borne_out)
    return SettleUnknownPayment(found, said.by, said.reason, now)


def _borne_out(told: TransactionLookUp, references: set[str]) -> Found | None:
    """Return what the gateway holds for this charge, None when it cannot be asked."""
    match told:
        case NotSupported():
            return None
        case Unavailable():
            problem = "the gateway does not answer about this transaction now: ask again later"
        case NotFound():
            problem = "the gateway knows no such transaction: compare its id with the statement"
        case Found() if told.reference not in references:
            problem = "the gateway holds this transaction for another payment: find the right one"
        case Found() if told.holds_money:
            return told
        case Found():
            problem = (
                f"the gateway says that this transaction is {told.status}, of {told.amount}: nothing "
                "came in"
            )
        case _:
            assert_never(told)
    raise SettlementRefused(problem)


def _not_charged(
    said: Settlement, _payload: _Payload, _run: EffectRun, now: datetime
) -> SettleUnknownPayment:
    return SettleUnknownPayment("not_charged", said.by, said.reason, now)


# -- after its loss --------------------------------------------------------------------------------


def _restore(past: Past) -> Restored:
    """Charge, with a look-up first, when no attempt is known; else look it up."""
    order = past.order
    if order is not None and isinstance(order.stage, AwaitingAction):
        return Restored((_look_at_action(order.payable, order.stage),))
    if order is None or not isinstance(order.stage, AwaitingCharge):
        return Restored()
    payable, unknown_since = order.payable, order.stage.unknown_since
    if unknown_since is not None:
        look_up = _look_up_of(payable, 0, unknown_since)
        return Restored((Start(f"{_KIND}/{payable.payment_id}", _KIND, look_up),))
    if past.request is None:
        return Restored()
    charge = charge_effect(
        payable.payment_id,
        past.request.payment,
        payable.amount,
        payable.gateway,
        payable.accepted_at,
    )
    return Restored((charge,))


CHARGE: Final[EffectDefinition[_Payload, PaymentPorts, Past]] = EffectDefinition(
    kind=_KIND,
    called="a charge",
    read=payload_of(TypeAdapter(_Payload, config=HIDDEN)),
    look_up=_look_up,
    execute=_execute,
    outcomes=(
        Outcome("captured", captured, ("gateway", "reference"), _ask_about),
        Outcome("not_charged", _not_charged),
    ),
    restore=_restore,
    waits_for=lambda payload: payload.gateway,
)
