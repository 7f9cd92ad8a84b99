"""Reads posting_rules.toml. A broken file is refused at start, with every problem and its line."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from schemas import EVENTS
from schemas.catalogue import PlanKind, PlanTier
from schemas.envelope import Event, Identifier
from schemas.requests import PaymentMethod
from schemas.topics import LEDGER, ORDERS
from services.ledger.rules.accounts import AccountRef, account_ref
from services.ledger.rules.amounts import MONEY_FACTS, PURPOSES, Kind, MoneyFact
from services.ledger.rules.rule_set import Rule, RuleSet
from services.runtime.plain_words import problems_of
from services.runtime.toml.toml_file import Fault, Place, read_toml

POSTING_RULES: Final = Path(__file__).with_name("posting_rules.toml")
RELEASED: Final = Path(__file__).with_name("released")
"""Earlier rule sets, `<name>.toml`: the digests that were printed by them can be had again."""
RECORDED: Final[dict[str, type[Event]]] = {
    model.__name__: model for model, topic in EVENTS if topic in {ORDERS, LEDGER}
}
"""Every event type that the ledger files or emits."""
_CHOICES: Final = ("method", "plan_kind", "plan_tier")
"""Conditions of a row that are named as the fields of events that they are about."""


class _RuleFile(BaseModel):
    """The file as written; `methods` gives sets of payment methods a name, which rows may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule_set: Identifier
    methods: dict[Identifier, list[PaymentMethod]] = {}
    rule: list[dict[str, Any]]


class _Row(BaseModel):
    """One [[rule]] table as written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier
    version: Annotated[int, Field(ge=1)]
    valid_from: datetime
    event: str
    purpose: list[str] | None = None
    method: list[PaymentMethod] | None = None
    plan_kind: list[PlanKind] | None = None
    plan_tier: list[PlanTier] | None = None
    amount: list[str] | None = None
    debit: str | None = None
    credit: str | None = None
    no_posting: str | None = None

    @field_validator("method", mode="before")
    @classmethod
    def _named_set(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        sets: dict[str, list[PaymentMethod]] = info.context or {}
        if value not in sets:
            message = f"there is no set {value}: declare it under [methods], or give a list"
            raise ValueError(message)
        return sets[value]

    @model_validator(mode="after")
    def _posts_or_says_why_not(self) -> _Row:
        posts = (bool(self.debit), bool(self.credit), self.no_posting is None)
        if not (all(posts) and self.amount) and (any(posts) or not self.no_posting):
            message = "give `amount`, `debit` and `credit`, or `no_posting` with the reason"
            raise ValueError(message)
        if self.valid_from.tzinfo is None:
            message = "`valid_from` needs a time zone: end it with Z"
            raise ValueError(message)
        return self

    def covers(self, kind: Kind) -> bool:
        """Say whether the row is about amounts of this kind."""
        return (
            (self.purpose is None or kind.purpose in self.purpose)
            and (self.amount is None or kind.amount in self.amount)
            and all(
                (wanted := getattr(self, name)) is None or kind.choices[name] in wanted
                for name in _CHOICES
            )
        )


def load_rules(path: Path = POSTING_RULES, *, whole: bool = True) -> RuleSet:
    """Read and check a rule file; `whole`: it has a row for every event that is recorded today.

    Raises:
        ConfigurationError: every problem of the file, a line each, with the line that it is in.
    """
    file = read_toml(path, "posting rules")
    written = file.validated(_RuleFile)
    faults: list[Fault] = []
    rows: list[tuple[int, _Row]] = []
    for index, table in enumerate(written.rule):
        try:
            rows.append((index, _Row.model_validate(table, context=written.methods)))
        except ValidationError as error:
            faults += [(("rule", index, *each["loc"]), each["msg"]) for each in problems_of(error)]
    by_kind: _Numbered = defaultdict(list)
    by_event: _Numbered = defaultdict(list)
    for index, row in rows:
        try:
            _expand(index, row, _valid_until(row, rows), by_kind, by_event)
        except _RowFault as fault:
            faults.append((("rule", index, *fault.place), fault.reason))
    faults += _overlaps(by_kind) + _overlaps(by_event)
    if whole:
        faults += _unruled(by_kind, by_event)
    file.refuse(faults)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return RuleSet(written.rule_set, digest, _rules(by_kind), _rules(by_event))


_Numbered = dict[str, list[tuple[int, Rule]]]
"""By kind of amount or name of event, the rules and the numbers of their rows."""


class _RowFault(Exception):
    """What is wrong with a row, and at which of its keys."""

    def __init__(self, reason: str, *place: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place


def _valid_until(row: _Row, rows: Sequence[tuple[int, _Row]]) -> datetime | None:
    later = [
        other.valid_from for _, other in rows if other.id == row.id and other.version > row.version
    ]
    return min(later, default=None)


def _expand(
    index: int, row: _Row, valid_until: datetime | None, by_kind: _Numbered, by_event: _Numbered
) -> None:
    """Add one Rule for each kind of amount that the row covers.

    Raises:
        _RowFault: the row is about nothing that the event states, or an account cannot be named.
    """
    if row.event not in RECORDED:
        message = f"the ledger records no event {row.event}: correct the name"
        raise _RowFault(message, "event")
    rule = Rule(row.id, row.version, row.valid_from, valid_until, no_posting=row.no_posting)
    fact = MONEY_FACTS.get(RECORDED[row.event])
    if fact is None:
        conditions = (row.purpose, row.amount, *(getattr(row, name) for name in _CHOICES))
        if row.no_posting is None or any(conditions):
            message = f"{row.event} states no amount: give no_posting alone"
            raise _RowFault(message, "event")
        by_event[row.event].append((index, rule))
        return
    _check_conditions(row, fact)
    for kind in fact.every_kind:
        if row.covers(kind):
            booked = _with_accounts(rule, row, kind)
            by_kind[kind.kind].append((index, booked))


def _check_conditions(row: _Row, fact: MoneyFact) -> None:
    if row.purpose and not fact.by_purpose:
        raise _RowFault(f"{row.event} has no purpose: leave it out", "purpose")
    if unknown := _beyond(row.purpose, PURPOSES):
        message = f"there is no purpose {unknown}, only {' and '.join(PURPOSES)}"
        raise _RowFault(message, "purpose")
    given = {choice.field for choice in fact.choices}
    for name in _CHOICES:
        if getattr(row, name) and name not in given:
            raise _RowFault(f"{row.event} has no {name}: leave it out", name)
    if unknown := _beyond(row.amount, fact.names):
        message = f"{row.event} states no amount {unknown}, only {', '.join(fact.names)}"
        raise _RowFault(message, "amount")


def _beyond(given: list[str] | None, known: tuple[str, ...]) -> str:
    return next((each for each in given or () if each not in known), "")


def _with_accounts(rule: Rule, row: _Row, kind: Kind) -> Rule:
    if row.debit is None or row.credit is None:
        return rule
    debit, credit = (_account(side, row, kind) for side in ("debit", "credit"))
    return replace(rule, debit=debit, credit=credit)


def _account(side: str, row: _Row, kind: Kind) -> AccountRef:
    template: str = getattr(row, side)
    try:
        ref = account_ref(template, kind.choices)
    except ValueError as error:
        raise _RowFault(str(error), side) from None
    for word in ref.words:
        if word.column not in kind.words:
            message = f"{row.event} does not say the {word.name} of its {kind.amount}"
            raise _RowFault(f"{message}: take an account without it", side)
    return ref


def _overlaps(rules_by_key: Mapping[str, list[tuple[int, Rule]]]) -> list[Fault]:
    faults: list[Fault] = []
    for key, rules in rules_by_key.items():
        rules.sort(key=lambda found: found[1].valid_from)
        for (_, earlier), (index, later) in pairwise(rules):
            if earlier.valid_until is None or earlier.valid_until > later.valid_from:
                reason = f"{earlier.rule_id} and {later.rule_id} both book {key}"
                faults.append((("rule", index), reason))
    return faults


def _unruled(by_kind: _Numbered, by_event: _Numbered) -> list[Fault]:
    ruled = {kind.partition(".")[0] for kind in by_kind} | by_event.keys()
    place: Place = ("rule",)
    return [
        (place, f"{name} has neither a rule nor a no_posting row")
        for name in sorted(RECORDED.keys() - ruled)
    ]


def _rules(numbered: _Numbered) -> dict[str, tuple[Rule, ...]]:
    return {key: tuple(rule for _, rule in found) for key, found in numbered.items()}
