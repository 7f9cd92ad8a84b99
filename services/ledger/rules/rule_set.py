"""The rules as they are loaded: which one books an amount at a moment. PURE; `rule_file` reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from services.ledger.rules.accounts import AccountRef
from services.runtime.errors import Park


@dataclass(frozen=True, slots=True)
class Rule:
    """One row for one kind of amount: it moves the amount, or says in `no_posting` why nothing moves."""

    rule_id: str
    rule_version: int
    valid_from: datetime
    valid_until: datetime | None
    debit: AccountRef | None = None
    credit: AccountRef | None = None
    no_posting: str | None = None

    def names(self, column: str) -> bool:
        """Say whether an account of the rule shows what the fact says in `column`."""
        refs = (ref for ref in (self.debit, self.credit) if ref is not None)
        return any(word.column == column for ref in refs for word in ref.words)

    def holds_at(self, moment: datetime) -> bool:
        """Say whether the rule applies to a fact of `moment`."""
        return self.valid_from <= moment and (self.valid_until is None or moment < self.valid_until)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules by kind of amount, and by event name for events that state no amount."""

    name: str
    sha256: str
    by_kind: dict[str, tuple[Rule, ...]] = field(repr=False)
    by_event: dict[str, tuple[Rule, ...]] = field(repr=False)

    def for_kind(self, kind: str, moment: datetime) -> Rule:
        """Return the rule for one amount of an event that happened at `moment`.

        Raises:
            Park: there is none.
        """
        return _holding(self.by_kind.get(kind, ()), kind, moment)

    def for_event(self, event_name: str, moment: datetime) -> Rule:
        """Return the rule that says why an event without amounts posts nothing.

        Raises:
            Park: there is none.
        """
        return _holding(self.by_event.get(event_name, ()), event_name, moment)

    def rows(self) -> Iterator[tuple[str, Rule]]:
        """Yield every (kind, rule) in a fixed order."""
        for kind in sorted(self.by_kind):
            for rule in self.by_kind[kind]:
                yield kind, rule

    def boundaries(self) -> list[datetime]:
        """Return the moments at which a rule begins to hold; between two of them nothing changes."""
        return sorted({rule.valid_from for _, rule in self.rows()})


def missing_rule(what: str, moment: datetime | None = None) -> Park:
    """Return the error for an amount or event without a posting rule."""
    when = f" at {moment.isoformat()}" if moment else ""
    return Park(
        "no_posting_rule",
        f"no posting rule for {what}{when}: nothing was booked. Add a row to posting_rules.toml "
        "(or a no_posting row with the reason), start again, then `perennial shards resume`",
    )


def _holding(rules: Iterable[Rule], what: str, moment: datetime) -> Rule:
    for rule in rules:
        if rule.holds_at(moment):
            return rule
    raise missing_rule(what, moment)
