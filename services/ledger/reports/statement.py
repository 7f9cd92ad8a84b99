"""The postings of one account, or of one customer, with running balances; from the events alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from schemas import BILLING
from schemas.envelope import utc_text
from services.ledger.reports.scope import Scope
from services.ledger.rules.accounts import chart_entry
from services.ledger.rules.postings import Posting, post
from services.ledger.rules.rule_file import RECORDED
from services.ledger.rules.rule_set import RuleSet
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event

if TYPE_CHECKING:
    import asyncpg

Totals = dict[tuple[str, str], int]
"""(account, currency) -> minor units, debit positive."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose statement it is: one account of the chart, or everything about one customer."""

    account: str | None
    account_id: str | None
    event_names: frozenset[str]

    def includes(self, posting: Posting) -> bool:
        """Say whether the posting belongs into the statement."""
        return self.account in {None, posting.account}


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One posting; `balance_minor` is the balance of its account after it."""

    recorded_at: datetime
    occurred_at: datetime
    shard: int
    position: int
    event_id: UUID
    event_type: str
    correlation_id: str
    account: str
    currency: str
    amount_minor: int
    balance_minor: int
    rule_id: str
    rule_version: int


@dataclass(frozen=True, slots=True)
class Statement:
    """Balances before the first line, the lines in the order they were recorded, balances after."""

    of: str
    scope: Scope
    since: datetime | None
    opening: Totals
    lines: list[StatementLine] = field(repr=False)
    closing: Totals

    def content(self) -> dict[str, Any]:
        """Return what canonical JSON is made of."""
        return {
            "of": self.of,
            "since": utc_text(self.since) if self.since else None,
            "known_at": utc_text(self.scope.known_at) if self.scope.known_at else None,
            "effective_at": utc_text(self.scope.effective_at) if self.scope.effective_at else None,
            "positions": {str(shard): last for shard, last in sorted(self.scope.positions.items())},
            "opening": _totals(self.opening),
            "lines": [_line(line) for line in self.lines],
            "closing": _totals(self.closing),
        }


def subject_of(name: str, rules: RuleSet) -> Subject:
    """Read `name` as an account of the chart, else as a customer's account id."""
    try:
        chart_entry(name)
    except KeyError:
        all_names = (kind.partition(".")[0] for kind, rule in rules.rows() if not rule.no_posting)
        return Subject(None, name, frozenset(all_names))
    names: set[str] = set()
    owners: set[str | None] = set()
    for kind, rule in rules.rows():
        for ref in (rule.debit, rule.credit):
            values = ref.values_in(name) if ref is not None else None
            if values is not None:
                names.add(kind.partition(".")[0])
                owners.add(values.get("account"))
    owner = owners.pop() if len(owners) == 1 else None
    return Subject(name, owner, frozenset(names))


async def statement(
    connection: asyncpg.Connection,
    of: str,
    scope: Scope,
    rules: RuleSet,
    *,
    since: datetime | None = None,
) -> Statement:
    """Return the postings that `scope` covers; what was recorded before `since` is the opening.

    Raises:
        Park: no rule covers an event.
    """
    subject = subject_of(of, rules)
    opening: Totals = {}
    running: Totals = defaultdict(int)
    lines: list[StatementLine] = []
    async with connection.transaction(readonly=True):
        async for row in connection.cursor(_COVERED, *_arguments(scope, subject), prefetch=1000):
            stored = stored_event(row)
            for posting in _postings(stored, subject, rules):
                key = (posting.account, posting.currency)
                running[key] += posting.amount_minor
                if since is not None and stored.recorded_at < since:
                    opening[key] = running[key]
                else:
                    opening.setdefault(key, 0)
                    lines.append(_line_of(stored, posting, running[key]))
    return Statement(of, scope, since, opening, lines, dict(running))


_COVERED: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event"  # noqa: S608 - a constant list of columns
    " JOIN unnest($1::int[], $2::bigint[]) AS bound(bound_shard, last) ON bound_shard = shard"
    " WHERE position <= last AND type = ANY($3::text[])"
    " AND ($4::timestamptz IS NULL OR recorded_at <= $4)"
    " AND ($5::timestamptz IS NULL OR occurred_at <= $5)"
    " AND ($6::text IS NULL OR account_id = $6)"
    " ORDER BY recorded_at, shard, position"
)


def _arguments(scope: Scope, subject: Subject) -> tuple[object, ...]:
    return (
        list(scope.positions),
        list(scope.positions.values()),
        sorted(RECORDED[name].wire_type() for name in subject.event_names),
        scope.known_at,
        scope.effective_at,
        subject.account_id,
    )


def _postings(stored: StoredEvent, subject: Subject, rules: RuleSet) -> Iterator[Posting]:
    for posting in post(stored.event(BILLING), stored.occurred_at, rules).postings:
        if subject.includes(posting):
            yield posting


def _line_of(stored: StoredEvent, posting: Posting, balance_minor: int) -> StatementLine:
    return StatementLine(
        recorded_at=stored.recorded_at,
        occurred_at=stored.occurred_at,
        shard=stored.shard,
        position=stored.position,
        event_id=stored.event_id,
        event_type=stored.type,
        correlation_id=stored.correlation_id,
        account=posting.account,
        currency=posting.currency,
        amount_minor=posting.amount_minor,
        balance_minor=balance_minor,
        rule_id=posting.rule_id,
        rule_version=posting.rule_version,
    )


def _line(line: StatementLine) -> dict[str, Any]:
    moments = {name: utc_text(getattr(line, name)) for name in ("recorded_at", "occurred_at")}
    return asdict(line) | moments | {"event_id": str(line.event_id)}


def _totals(totals: Totals) -> list[dict[str, Any]]:
    keys: Iterable[tuple[str, str]] = sorted(totals)
    return [
        {"account": account, "currency": currency, "amount_minor": totals[account, currency]}
        for account, currency in keys
    ]
