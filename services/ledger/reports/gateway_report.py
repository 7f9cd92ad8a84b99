"""What each gateway took, kept, gave back and has to pay out, from what moved between accounts. PURE."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.envelope import utc_text
from services.ledger.reports.balance_report import canonical_json
from services.ledger.reports.scope import Scope
from services.ledger.rules.accounts import GATEWAY_FEES, GATEWAYS
from services.ledger.rules.postings import Transfers
from services.ledger.rules.rule_set import RuleSet
from services.ledger.rules.variables import GATEWAY, pattern_of

_NAMES: Final = pattern_of(f"{GATEWAYS}{{Method}}:{{gateway}}")


@dataclass(frozen=True, slots=True)
class GatewayLine:
    """One account of a gateway in one currency, in minor units; no `gateway`: facts name none.

    What was returned counts at the gateway that returned it, whoever took it.
    """

    gateway: str | None
    method: str
    account: str
    currency: str
    captured_minor: int
    fees_minor: int
    returned_minor: int

    @property
    def to_pay_out_minor(self) -> int:
        """Return what the gateway owes us: the balance of the account."""
        return self.captured_minor - self.fees_minor - self.returned_minor


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """The lines by gateway, method and currency; `body` is canonical JSON, `sha256` its digest."""

    lines: tuple[GatewayLine, ...]
    scope: Scope
    body: bytes
    sha256: str

    @property
    def totals(self) -> dict[tuple[str | None, str], int]:
        """Return what each gateway has to pay out in each currency, over all methods."""
        return _totals(self.lines)


def gateway_report(transfers: Transfers, scope: Scope, rules: RuleSet) -> GatewayReport:
    """Add up what moved into and out of the accounts of gateways: no wall clock."""
    lines = tuple(_lines(transfers))
    content = {
        "effective_at": utc_text(scope.effective_at) if scope.effective_at else None,
        "gateways": [
            {"currency": currency, "gateway": gateway, "to_pay_out_minor": minor}
            for (gateway, currency), minor in _totals(lines).items()
        ],
        "known_at": utc_text(scope.known_at) if scope.known_at else None,
        "lines": [_content(line) for line in lines],
        "positions": {str(shard): scope.positions[shard] for shard in sorted(scope.positions)},
        "rule_set": rules.name,
        "rule_set_sha256": rules.sha256,
    }
    body = canonical_json(content)
    return GatewayReport(lines, scope, body, hashlib.sha256(body).hexdigest())


def _lines(transfers: Transfers) -> list[GatewayLine]:
    captured: dict[tuple[str, str], int] = defaultdict(int)
    fees: dict[tuple[str, str], int] = defaultdict(int)
    returned: dict[tuple[str, str], int] = defaultdict(int)
    for (_, debit, credit, currency), minor in transfers.items():
        if debit.startswith(GATEWAYS):
            captured[debit, currency] += minor
        if credit.startswith(GATEWAYS):
            out = fees if debit == GATEWAY_FEES else returned
            out[credit, currency] += minor
    lines = []
    for account, currency in captured.keys() | fees.keys() | returned.keys():
        named = _NAMES.fullmatch(account)
        shown = named["gateway"] if named else None
        key = (account, currency)
        lines.append(
            GatewayLine(
                gateway=None if shown is None else GATEWAY.read(shown),
                method=named["Method"] if named else account.removeprefix(GATEWAYS),
                account=account,
                currency=currency,
                captured_minor=captured[key],
                fees_minor=fees[key],
                returned_minor=returned[key],
            )
        )
    return sorted(lines, key=lambda line: (line.gateway or "", line.method, line.currency))


def _totals(lines: tuple[GatewayLine, ...]) -> dict[tuple[str | None, str], int]:
    totals: dict[tuple[str | None, str], int] = defaultdict(int)
    for line in sorted(lines, key=lambda line: (line.gateway or "", line.currency)):
        totals[line.gateway, line.currency] += line.to_pay_out_minor
    return dict(totals)


def _content(line: GatewayLine) -> Mapping[str, Any]:
    return {
        "account": line.account,
        "captured_minor": line.captured_minor,
        "currency": line.currency,
        "fees_minor": line.fees_minor,
        "gateway": line.gateway,
        "method": line.method,
        "returned_minor": line.returned_minor,
        "to_pay_out_minor": line.to_pay_out_minor,
    }
