"""Balances as a canonical report: the same input gives the same bytes on every machine. PURE."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass

from schemas.envelope import utc_text
from services.ledger.reports.scope import Scope
from services.ledger.rules.postings import Balances
from services.ledger.rules.rule_set import RuleSet


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay found. `body` is canonical JSON that ends in a newline; `sha256` is its digest."""

    totals: dict[tuple[str, str], int]
    scope: Scope
    body: bytes
    sha256: str

    @property
    def trial_balance(self) -> dict[str, int]:
        """Return the sum of all accounts in each currency: zero in sound books."""
        return trial_balance(self.totals)


def report(balances: Balances, scope: Scope, rules: RuleSet) -> Report:
    """Add the shards up and write the report down: sorted keys, no wall clock."""
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for (_, account, currency), amount_minor in balances.items():
        totals[account, currency] += amount_minor
    content = {
        "account_id": scope.account_id,
        "balances": [
            {"account": account, "amount_minor": totals[account, currency], "currency": currency}
            for account, currency in sorted(totals)
        ],
        "effective_at": utc_text(scope.effective_at) if scope.effective_at else None,
        "known_at": utc_text(scope.known_at) if scope.known_at else None,
        "positions": {str(shard): scope.positions[shard] for shard in sorted(scope.positions)},
        "rule_set": rules.name,
        "rule_set_sha256": rules.sha256,
        "trial_balance": trial_balance(totals),
    }
    body = canonical_json(content)
    return Report(dict(totals), scope, body, hashlib.sha256(body).hexdigest())


def trial_balance(totals: dict[tuple[str, str], int]) -> dict[str, int]:
    """Return the sum over all accounts in each currency."""
    sums: dict[str, int] = defaultdict(int)
    for (_, currency), amount_minor in sorted(totals.items()):
        sums[currency] += amount_minor
    return dict(sums)


def canonical_json(content: object) -> bytes:
    """Return JSON with sorted keys, no spaces, UTF-8 and a final newline."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"
