"""Which amounts of money an event states, each under the name that posting rules use. PURE.

The fields of the event say it (`Moves`, in `schemas.money`); here is only how they are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import NoneType
from typing import Any, Final, get_args

from pydantic import BaseModel

from schemas import EVENTS
from schemas.envelope import Event
from schemas.money import Money, Moves, moving_fields
from schemas.requests import OfOneOrder
from services.ledger.rules.variables import CHOICES, Choice
from services.runtime.errors import Park

PURPOSES: Final = ("renewal", "topup")
AMOUNTS_CONTRADICT: Final = "amounts_contradict"
_GATEWAY: Final = "gateway"
_JURISDICTION: Final = "jurisdiction"
Choices = Mapping[str, str | None]
"""The values of an event's choices by their fields."""


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
class Kind:
    """What amounts are booked alike: of one name, purpose and choice in each variable."""

    kind: str
    purpose: str | None
    choices: Choices
    amount: str
    words: frozenset[str]
    """The columns of the words that are given beside the amount."""


@dataclass(frozen=True, slots=True)
class MoneyFact:
    """The amounts an event type can state, the conditions its rules may use, and the kinds of both."""

    fields: tuple[MoneyField, ...]
    by_purpose: bool
    choices: tuple[Choice, ...]
    kinds: Mapping[tuple[str | None, ...], Mapping[str, str]]
    """By purpose and choices, as far as the event has them, and then by the name of the amount."""
    every_kind: tuple[Kind, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all amounts."""
        return tuple(name for field in self.fields for name in field.names)


@dataclass(frozen=True, slots=True)
class Amount:
    """One amount of one event: `kind` is what rules are looked up by."""

    kind: str
    money: Money
    jurisdiction: str | None = None
    gateway: str | None = None

    def values(self, account_id: str) -> dict[str, str | None]:
        """Return what completes the names of its accounts, by the columns of the words."""
        return {
            "account_id": account_id,
            "currency": self.money.currency,
            "jurisdiction": self.jurisdiction,
            "gateway": self.gateway,
        }


def amounts_of(event: Event) -> list[Amount]:
    """Return the non-zero amounts of `event` in the order of its fields.

    Raises:
        Park: the parts do not add up to the whole, so booking them would lose or make money.
    """
    fact = MONEY_FACTS.get(type(event))
    if fact is None:
        return []
    kinds = fact.kinds[_conditions(event, fact)]
    gateway = getattr(event, _GATEWAY, None)
    amounts: list[Amount] = []
    for field in fact.fields:
        stated = getattr(event, field.name)
        if isinstance(stated, Money):
            # A fee may be in the currency that the gateway settles in: no part of the amount.
            amounts.append(Amount(kinds[field.name], stated, None, gateway))
        elif stated is not None:
            amounts += _parts(event, field, stated, kinds, gateway)
    return [amount for amount in amounts if amount.money.amount_minor]


def _conditions(event: Event, fact: MoneyFact) -> tuple[str | None, ...]:
    purpose = None
    if isinstance(event, OfOneOrder):
        purpose = "renewal" if event.renewal_id else "topup"
    return purpose, *(getattr(event, choice.field) for choice in fact.choices)


def _parts(
    event: Event,
    field: MoneyField,
    stated: BaseModel,
    kinds: Mapping[str, str],
    gateway: str | None,
) -> list[Amount]:
    amounts = [
        Amount(
            kinds[name],
            getattr(stated, name),
            getattr(stated, jurisdiction) if jurisdiction else None,
            gateway,
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
    by_purpose = issubclass(model, OfOneOrder)
    choices = tuple(choice for choice in CHOICES if choice.field in model.model_fields)
    purposes = PURPOSES if by_purpose else (None,)
    every_kind = tuple(
        _kind(
            model, purpose, dict(zip((each.field for each in choices), values, strict=True)), part
        )
        for purpose, *values in product(purposes, *(_values(model, each) for each in choices))
        for field in fields
        for part in field.parts or ((field.name, None),)
    )
    kinds: dict[tuple[str | None, ...], dict[str, str]] = {}
    for each in every_kind:
        kinds.setdefault((each.purpose, *each.choices.values()), {})[each.amount] = each.kind
    return MoneyFact(fields, by_purpose, choices, kinds, every_kind)


def _field(model: type[Event], name: str, mark: Moves) -> MoneyField:
    annotation: Any = model.model_fields[name].annotation
    held = next((each for each in get_args(annotation) if each is not NoneType), annotation)
    return MoneyField(name, mark.whole, () if held is Money else _parts_in(held))


def _parts_in(part: type[BaseModel]) -> tuple[tuple[str, str | None], ...]:
    """Return the amounts in `part`; the jurisdiction of `tax` is in `tax_jurisdiction`."""
    return tuple(
        (name, beside if (beside := f"{name}_{_JURISDICTION}") in part.model_fields else None)
        for name, field in part.model_fields.items()
        if field.annotation is Money
    )


def _values(model: type[Event], choice: Choice) -> tuple[str | None, ...]:
    """Return what the field of a choice can hold; None: an event need not say it."""
    annotation: Any = model.model_fields[choice.field].annotation
    given = get_args(annotation) or (annotation,)
    (words,) = (each for each in given if each is not NoneType)
    return (*words, *(None for each in given if each is NoneType))


def _kind(
    model: type[Event], purpose: str | None, choices: Choices, part: tuple[str, str | None]
) -> Kind:
    """Return `<EventName>[.<purpose>][.<choice>].<amount name>`, for example `BonusGranted.amount`."""
    amount, jurisdiction = part
    said = (model.__name__, purpose, *choices.values(), amount)
    words = {"account_id", "currency"} | ({_JURISDICTION} if jurisdiction else set())
    words |= {_GATEWAY} & model.model_fields.keys()
    kind = ".".join(each for each in said if each is not None)
    return Kind(kind, purpose, choices, amount, frozenset(words))


MONEY_FACTS: Final = {model: money_fact(model) for model, _ in EVENTS if moving_fields(model)}
"""Event types that move money. Every other type has a `no_posting` row that says why not."""
