"""From an event to its postings by the rules: the executable meaning of posting_rules.toml. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from schemas.envelope import Event
from services.ledger.rules.amounts import MONEY_FACTS, Amount, amounts_of
from services.ledger.rules.rule_set import Rule, RuleSet

Balances = dict[tuple[int, str, str], int]
"""(shard, account, currency) -> minor units, debit positive."""
Transfers = dict[tuple[int, str, str, str], int]
"""(shard, debit account, credit account, currency) -> minor units that moved from credit to debit."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a moved amount: debit positive, credit negative, in minor units of `currency`."""

    account: str
    currency: str
    amount_minor: int
    rule_id: str
    rule_version: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What one event does to the books; `reasons` say why amounts, or the event, move nothing."""

    postings: tuple[Posting, ...]
    reasons: tuple[tuple[str, int, str], ...] = ()


def post(event: Event, occurred_at: datetime, rules: RuleSet) -> Entry:
    """Return the entry of an event that happened at `occurred_at`; it sums to zero per currency.

    Raises:
        Park: no rule covers the event, or its amounts contradict each other.
    """
    if type(event) not in MONEY_FACTS:
        return Entry((), (_reason(rules.for_event(type(event).__name__, occurred_at)),))
    postings: list[Posting] = []
    reasons: list[tuple[str, int, str]] = []
    for amount in amounts_of(event):
        rule = rules.for_kind(amount.kind, occurred_at)
        if rule.no_posting is None:
            postings += postings_of(amount, event.account_id, rule)
        elif _reason(rule) not in reasons:
            reasons.append(_reason(rule))
    return Entry(tuple(postings), tuple(reasons))


def postings_of(amount: Amount, account_id: str, rule: Rule) -> list[Posting]:
    """Return the debit and the credit of one amount; nothing when the rule posts nothing."""
    if rule.debit is None or rule.credit is None:
        return []
    values = amount.values(account_id)
    return [
        Posting(
            ref.name(values),
            amount.money.currency,
            sign * amount.money.amount_minor,
            rule.rule_id,
            rule.rule_version,
        )
        for ref, sign in ((rule.debit, 1), (rule.credit, -1))
    ]


def _reason(rule: Rule) -> tuple[str, int, str]:
    return rule.rule_id, rule.rule_version, rule.no_posting or ""
