"""Which amounts of money an event states, each under the name that posting rules use. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from schemas.envelope import Event
from schemas.ledger import WalletCharged
from schemas.money import Money
from schemas.orders import (
    ActivationFailed,
    BonusGranted,
    Consideration,
    PaymentCaptured,
    RefundCompleted,
    WalletToppedUp,
)
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured, SurplusCredited, SurplusReturned
from services.runtime.errors import Park

PURPOSES: Final = ("renewal", "topup")
AMOUNTS_CONTRADICT: Final = "amounts_contradict"
_CONSIDERATION: Final = ("net", "tax", "bonus")


@dataclass(frozen=True, slots=True)
class EventShape:
    """The amounts an event type can state, and the conditions that its rules may use."""

    names: tuple[str, ...]
    by_purpose: bool = False
    by_method: bool = False


SHAPES: Final[dict[type[Event], EventShape]] = {
    PaymentCaptured: EventShape((*_CONSIDERATION, "fee"), by_purpose=True, by_method=True),
    ActivationFailed: EventShape(_CONSIDERATION, by_method=True),
    RefundCompleted: EventShape(_CONSIDERATION, by_method=True),
    WalletToppedUp: EventShape(("amount",), by_method=True),
    SurplusCaptured: EventShape(("amount", "fee"), by_purpose=True, by_method=True),
    SurplusReturned: EventShape(("amount",), by_method=True),
    SurplusCredited: EventShape(("amount",), by_method=True),
    BonusGranted: EventShape(("amount",)),
    WalletCharged: EventShape(_CONSIDERATION),
}
"""Event types that move money. Every other type has a `no_posting` row that says why not."""


@dataclass(frozen=True, slots=True)
class Amount:
    """One amount of one event: `kind` is what rules are looked up by."""

    kind: str
    money: Money
    jurisdiction: str | None = None


def kind_of(
    model: type[Event], purpose: str | None, method: PaymentMethod | None, name: str
) -> str:
    """Return `<EventName>[.<purpose>][.<method>].<amount name>`, for example `BonusGranted.amount`."""
    parts = (model.__name__, purpose, method.value if method else None, name)
    return ".".join(part for part in parts if part)


def kinds_of(model: type[Event]) -> Iterator[tuple[str | None, PaymentMethod | None, str, str]]:
    """Yield (purpose, method, amount name, kind) of everything that `model` can state."""
    shape = SHAPES[model]
    for purpose in PURPOSES if shape.by_purpose else (None,):
        for method in PaymentMethod if shape.by_method else (None,):
            for name in shape.names:
                yield purpose, method, name, kind_of(model, purpose, method, name)


def amounts_of(event: Event) -> list[Amount]:
    """Return the non-zero amounts of `event` in a fixed order.

    Raises:
        Park: the parts do not add up to the whole, so booking them would lose or make money.
    """
    match event:
        case PaymentCaptured():
            purpose = "renewal" if event.renewal_id else "topup"
            parts = _parts(event, event.consideration, event.amount)
            amounts = _considered(event, parts, event.consideration, purpose, event.method)
            if event.fee is not None:
                # A gateway may bill in the currency that it settles in: no part of the amount.
                kind = kind_of(PaymentCaptured, purpose, event.method, "fee")
                amounts.append(Amount(kind, event.fee))
        case ActivationFailed():
            parts = _parts(event, event.refund, None)
            amounts = _considered(event, parts, event.refund, None, event.method)
        case RefundCompleted():
            parts = _parts(event, event.refund, event.amount)
            amounts = _considered(event, parts, event.refund, None, event.method)
        case WalletToppedUp() | SurplusReturned() | SurplusCredited():
            kind = kind_of(type(event), None, event.method, "amount")
            amounts = [Amount(kind, event.amount)]
        case SurplusCaptured():
            purpose = "renewal" if event.renewal_id else "topup"
            stated = (("amount", event.amount), ("fee", event.fee))
            amounts = [
                Amount(kind_of(SurplusCaptured, purpose, event.method, name), money)
                for name, money in stated
                if money is not None
            ]
        case BonusGranted():
            amounts = [Amount(kind_of(BonusGranted, None, None, "amount"), event.amount)]
        case WalletCharged():
            parts = _parts(event, event.consideration, event.amount)
            amounts = _considered(event, parts, event.consideration, None, None)
        case _:
            amounts = []
    return [amount for amount in amounts if amount.money.amount_minor]


def _considered(
    event: Event,
    parts: tuple[Money, Money, Money],
    consideration: Consideration,
    purpose: str | None,
    method: PaymentMethod | None,
) -> list[Amount]:
    return [
        Amount(
            kind_of(type(event), purpose, method, name),
            money,
            consideration.tax_jurisdiction if name == "tax" else None,
        )
        for name, money in zip(_CONSIDERATION, parts, strict=True)
    ]


def _parts(event: Event, whole: Consideration, total: Money | None) -> tuple[Money, Money, Money]:
    parts = (whole.net, whole.tax, whole.bonus)
    for part in parts:
        _check_currency(event, total or whole.net, part)
    if total is not None and sum(part.amount_minor for part in parts) != total.amount_minor:
        message = (
            f"{type(event).__name__} of {event.account_id}: net, tax and bonus do not add up to the "
            "amount. Nothing was booked; deploy a version that books it, then `perennial shards resume`"
        )
        raise Park(AMOUNTS_CONTRADICT, message)
    return parts


def _check_currency(event: Event, first: Money, second: Money) -> None:
    if first.currency != second.currency:
        message = (
            f"{type(event).__name__} of {event.account_id} mixes {first.currency} and "
            f"{second.currency}: nothing was booked; deploy a version that books it, then "
            "`perennial shards resume`"
        )
        raise Park(AMOUNTS_CONTRADICT, message)
