"""Which amounts of money an event states, each under the name that posting rules use. PURE.

The fields of the event say it (`Moves`, in `schemas.money`); here is only how they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel

from schemas import EVENTS
from schemas.envelope import Event
from schemas.money import Money, Moves, moving_fields
from schemas.requests import OfOneOrder, PaymentMethod
from services.runtime.errors import Park

PURPOSES: Final = ("renewal", "topup")
AMOUNTS_CONTRADICT: Final = "amounts_contradict"
_METHOD: Final = "method"
Conditions = tuple[str | None, PaymentMethod | None]
"""Purpose and method, as far as the event has them."""


@dataclass(frozen=True, slots=True)
class MoneyField:
    """A field that states one amount, or in `parts` several: their names and their jurisdictions."""

    name: str
    whole: str | None
    parts: tuple[tuple[str, str | None], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its amounts."""
        return tuple(name for name, _ in self.parts) or (self.name,)


@dataclass(frozen=True, slots=True)
class MoneyFact:
    """The amounts an event type can state, the conditions its rules may use, and the kinds of both."""

    fields: tuple[MoneyField, ...]
    by_purpose: bool
    by_method: bool
    kinds: Mapping[Conditions, Mapping[str, str]]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all amounts."""
        return tuple(name for field in self.fields for name in field.names)

    def every_kind(self) -> Iterator[tuple[str | None, PaymentMethod | None, str, str]]:
        """Yield (purpose, method, amount name, kind) of everything that can be stated."""
        for (purpose, method), kinds in self.kinds.items():
            for name, kind in kinds.items():
                yield purpose, method, name, kind


@dataclass(frozen=True, slots=True)
class Amount:
    """One amount of one event: `kind` is what rules are looked up by."""

    kind: str
    money: Money
    jurisdiction: str | None = None


def amounts_of(event: Event) -> list[Amount]:
    """Return the non-zero amounts of `event` in the order of its fields.

    Raises:
        Park: the parts do not add up to the whole, so booking them would lose or make money.
    """
    fact = MONEY_FACTS.get(type(event))
    if fact is None:
        return []
    kinds = fact.kinds[_conditions(event, fact)]
    amounts: list[Amount] = []
    for field in fact.fields:
        stated = getattr(event, field.name)
        if isinstance(stated, Money):
            # A fee may be in the currency that the gateway settles in: no part of the amount.
            amounts.append(Amount(kinds[field.name], stated))
        elif stated is not None:
            amounts += _parts(event, field, stated, kinds)
    return [amount for amount in amounts if amount.money.amount_minor]


def _conditions(event: Event, fact: MoneyFact) -> Conditions:
    purpose = None
    if isinstance(event, OfOneOrder):
        purpose = "renewal" if event.renewal_id else "topup"
    return purpose, getattr(event, _METHOD) if fact.by_method else None


def _parts(
    event: Event, field: MoneyField, stated: BaseModel, kinds: Mapping[str, str]
) -> list[Amount]:
    amounts = [
        Amount(
            kinds[name],
            getattr(stated, name),
            getattr(stated, jurisdiction) if jurisdiction else None,
        )
        for name, jurisdiction in field.parts
    ]
    whole = getattr(event, field.whole) if field.whole else None
    _check_parts(event, field, [amount.money for amount in amounts], whole)
    return amounts


def _check_parts(
    event: Event, field: MoneyField, parts: Sequence[Money], whole: Money | None
) -> None:
    currency = (whole or parts[0]).currency
    for part in parts:
        if part.currency != currency:
            raise _contradiction(
                event, f" mixes {currency} and {part.currency}: nothing was booked"
            )
    if whole is not None and sum(part.amount_minor for part in parts) != whole.amount_minor:
        *first, last = field.names
        problem = f": {', '.join(first)} and {last} do not add up to the {field.whole}"
        raise _contradiction(event, f"{problem}. Nothing was booked")


def _contradiction(event: Event, problem: str) -> Park:
    return Park(
        AMOUNTS_CONTRADICT,
        f"{type(event).__name__} of {event.account_id}{problem}; deploy a version that books it, then "
        "`perennial shards resume`",
    )


def money_fact(model: type[Event]) -> MoneyFact:
    """Read the declarations of an event type that has some."""
    fields = tuple(_field(model, name, mark) for name, mark in moving_fields(model).items())
    by_purpose, by_method = issubclass(model, OfOneOrder), _METHOD in model.model_fields
    kinds = {
        (purpose, method): {
            name: _kind(model, purpose, method, name) for field in fields for name in field.names
        }
        for purpose in (PURPOSES if by_purpose else (None,))
        for method in (PaymentMethod if by_method else (None,))
    }
    return MoneyFact(fields, by_purpose, by_method, kinds)


def _field(model: type[Event], name: str, mark: Moves) -> MoneyField:
    annotation: Any = model.model_fields[name].annotation
    held = next((each for each in get_args(annotation) if each is not type(None)), annotation)
    return MoneyField(name, mark.whole, () if held is Money else _parts_in(held))


def _parts_in(part: type[BaseModel]) -> tuple[tuple[str, str | None], ...]:
    """Return the amounts in `part`; the jurisdiction of `tax` is in `tax_jurisdiction`."""
    return tuple(
        (
            name,
            jurisdiction if (jurisdiction := f"{name}_jurisdiction") in part.model_fields else None,
        )
        for name, field in part.model_fields.items()
        if field.annotation is Money
    )


def _kind(model: type[Event], purpose: str | None, method: PaymentMethod | None, name: str) -> str:
    """Return `<EventName>[.<purpose>][.<method>].<amount name>`, for example `BonusGranted.amount`."""
    parts = (model.__name__, purpose, method.value if method else None, name)
    return ".".join(part for part in parts if part)


MONEY_FACTS: Final = {model: money_fact(model) for model, _ in EVENTS if moving_fields(model)}
"""Event types that move money. Every other type has a `no_posting` row that says why not."""
