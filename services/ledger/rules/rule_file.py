"""Reads posting_rules.toml. A broken file is refused at start, with every problem."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas import EVENTS
from schemas.envelope import Event, Identifier
from schemas.requests import PaymentMethod
from schemas.topics import LEDGER, ORDERS
from services.ledger.rules.accounts import account_ref
from services.ledger.rules.amounts import MONEY_FACTS, PURPOSES, MoneyFact
from services.ledger.rules.rule_set import Rule, RuleSet
from services.runtime.errors import ConfigurationError
from services.runtime.plain_words import problems_of

POSTING_RULES: Final = Path(__file__).with_name("posting_rules.toml")
RELEASED: Final = Path(__file__).with_name("released")
"""Earlier rule sets, `<name>.toml`: the digests that were printed by them can be had again."""
RECORDED: Final[dict[str, type[Event]]] = {
    model.__name__: model for model, topic in EVENTS if topic in {ORDERS, LEDGER}
}
"""Every event type that the ledger files or emits."""


class _Row(BaseModel):
    """One [[rule]] table as written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Identifier
    version: Annotated[int, Field(ge=1)]
    valid_from: datetime
    event: str
    purpose: list[str] | None = None
    method: list[PaymentMethod] | None = None
    amount: list[str] | None = None
    debit: str | None = None
    credit: str | None = None
    no_posting: str | None = None

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


def load_rules(path: Path = POSTING_RULES, *, whole: bool = True) -> RuleSet:
    """Read and check a rule file; `whole`: it has a row for every event that is recorded today.

    Raises:
        ConfigurationError: every problem of the file, a line each.
    """
    try:
        content = path.read_bytes()
        document = tomllib.loads(content.decode())
        name, tables = str(document["rule_set"]), list(document["rule"])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        message = f"{path}: not readable as posting rules ({error}): restore the file"
        raise ConfigurationError(message) from None
    problems: list[str] = []
    rows: list[_Row] = []
    for number, table in enumerate(tables, 1):
        try:
            rows.append(_Row.model_validate(table))
        except ValidationError as error:
            found = "; ".join(f"{_where(each['loc'])}{each['msg']}" for each in problems_of(error))
            problems.append(f"rule {number} ({table.get('id', 'without id')}): {found}")
    by_kind: dict[str, list[Rule]] = {}
    by_event: dict[str, list[Rule]] = {}
    for row in rows:
        try:
            _expand(row, _valid_until(row, rows), by_kind, by_event)
        except ValueError as error:
            problems.append(f"rule {row.id} version {row.version}: {error}")
    problems += _overlaps(by_kind) + _overlaps(by_event)
    if whole:
        problems += _unruled(by_kind, by_event)
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        message = f"{path} is not usable:\n{lines}"
        raise ConfigurationError(message)
    return RuleSet(
        name,
        hashlib.sha256(content).hexdigest(),
        {kind: tuple(rules) for kind, rules in by_kind.items()},
        {event: tuple(rules) for event, rules in by_event.items()},
    )


def _where(location: tuple[int | str, ...]) -> str:
    return f"{'.'.join(str(part) for part in location)}: " if location else ""


def _valid_until(row: _Row, rows: list[_Row]) -> datetime | None:
    later = [
        other.valid_from for other in rows if other.id == row.id and other.version > row.version
    ]
    return min(later, default=None)


def _expand(
    row: _Row,
    valid_until: datetime | None,
    by_kind: dict[str, list[Rule]],
    by_event: dict[str, list[Rule]],
) -> None:
    """Add one Rule for each kind of amount that the row covers."""
    if row.event not in RECORDED:
        message = f"the ledger records no event {row.event}: correct the name"
        raise ValueError(message)
    rule = Rule(row.id, row.version, row.valid_from, valid_until, no_posting=row.no_posting)
    model = RECORDED[row.event]
    fact = MONEY_FACTS.get(model)
    if fact is None:
        if row.no_posting is None or row.purpose or row.method or row.amount:
            message = f"{row.event} states no amount: give no_posting alone"
            raise ValueError(message)
        by_event.setdefault(row.event, []).append(rule)
        return
    _check_conditions(row, fact)
    for purpose, method, name, kind in fact.every_kind():
        if (
            (row.purpose is None or purpose in row.purpose)
            and (row.method is None or method in row.method)
            and (row.amount is None or name in row.amount)
        ):
            by_kind.setdefault(kind, []).append(_with_accounts(rule, row, method))


def _check_conditions(row: _Row, fact: MoneyFact) -> None:
    message = None
    if row.purpose and not fact.by_purpose:
        message = f"{row.event} has no purpose: leave it out"
    elif unknown := _beyond(row.purpose, PURPOSES):
        message = f"there is no purpose {unknown}, only {' and '.join(PURPOSES)}"
    elif row.method and not fact.by_method:
        message = f"{row.event} has no method: leave it out"
    elif unknown := _beyond(row.amount, fact.names):
        message = f"{row.event} states no amount {unknown}, only {', '.join(fact.names)}"
    if message is not None:
        raise ValueError(message)


def _beyond(given: list[str] | None, known: tuple[str, ...]) -> str:
    return next((each for each in given or () if each not in known), "")


def _with_accounts(rule: Rule, row: _Row, method: PaymentMethod | None) -> Rule:
    if row.debit is None or row.credit is None:
        return rule
    return replace(
        rule, debit=account_ref(row.debit, method), credit=account_ref(row.credit, method)
    )


def _overlaps(rules_by_key: dict[str, list[Rule]]) -> list[str]:
    problems = []
    for key, rules in rules_by_key.items():
        rules.sort(key=lambda rule: rule.valid_from)
        for earlier, later in pairwise(rules):
            if earlier.valid_until is None or earlier.valid_until > later.valid_from:
                problems.append(f"{earlier.rule_id} and {later.rule_id} both book {key}")
    return problems


def _unruled(by_kind: dict[str, list[Rule]], by_event: dict[str, list[Rule]]) -> list[str]:
    ruled = {kind.partition(".")[0] for kind in by_kind} | by_event.keys()
    return [f"{name} has neither a rule nor a no_posting row" for name in RECORDED.keys() - ruled]
