"""The checks that compare balances with each other, and with what holds of any sound books. No I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from services.ledger.rules.accounts import BONUS_OFFSET, WALLET_BONUS, chart_entry
from services.ledger.rules.postings import Balances
from services.ledger.verification.body_check import RESTORE
from services.runtime.errors import Park
from services.runtime.verify.checks import Check

_SIDES: Final = "read `perennial ledger statement` of that account: which event took too much?"


def same(name: str, left: Balances | Park, right: Balances | Park, advice: str) -> Check:
    """Compare two ways to the same balances; `name` says which: `first = second`."""
    if isinstance(left, Park):
        return Check(name, "nothing", str(left), advice)
    if isinstance(right, Park):
        return Check(name, "nothing", str(right), advice)
    first, second = name.split(" = ")
    compared = f"{len(right)} balances"
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key):
            shard, account, currency = key
            problem = (
                f"{account} {currency} in shard {shard}: {first} {_told(left, key)}, "
                f"{second} {_told(right, key)}"
            )
            return Check(name, compared, problem, advice)
    return Check(name, compared)


def _told(balances: Balances, key: tuple[int, str, str]) -> str:
    return str(balances[key]) if key in balances else "has none"


def sound(totals: Mapping[tuple[str, str], int]) -> list[Check]:
    """Check what holds of any sound books: sums of zero, normal sides, bonus cancelled."""
    sums: dict[str, int] = defaultdict(int)
    bonus: dict[str, int] = defaultdict(int)
    wrong_side: list[str] = []
    for (account, currency), minor in sorted(totals.items()):
        sums[currency] += minor
        if account == BONUS_OFFSET or account.startswith(WALLET_BONUS):
            bonus[currency] += minor
        entry = chart_entry(account)
        if entry.one_sided and (minor < 0 if entry.normal == "debit" else minor > 0):
            wrong_side.append(f"{account} holds {minor} {currency}, not a {entry.normal} balance")
    return [
        _zero("trial balance is zero", sums, "all accounts"),
        _zero("bonus is cancelled", bonus, "bonus and its offset"),
        Check(
            "normal sides", f"{len(totals)} accounts", wrong_side[0] if wrong_side else None, _SIDES
        ),
    ]


def _zero(name: str, sums: Mapping[str, int], what: str) -> Check:
    wrong = [f"{what} sum to {minor} {currency}" for currency, minor in sums.items() if minor]
    return Check(name, f"{len(sums)} currencies", wrong[0] if wrong else None, RESTORE)
