"""What a run left behind beside the manifest: each number, and whether it is as expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deploy.demo.expected.outcomes import Counts, flat

_WALLET: Final = "Liabilities:Wallet:"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number of the manifest beside what was seen; `area` groups them for the reader."""

    area: str
    name: str
    detail: str
    expected: int
    seen: int

    @property
    def agrees(self) -> bool:
        return self.expected == self.seen


def compare_outcomes(
    manifest: Mapping[str, Any], events: Counts, letters: Counts, messages: Counts, orders: Counts
) -> list[Comparison]:
    """Compare events, dead letters and messages, and how many orders each account had accepted."""
    accepted = Counter({(account_id, ""): n for account_id, n in manifest["orders"].items()})
    return [
        *_compare("outcomes", flat(manifest["outcomes"]), events),
        *_compare("dead letters", flat(manifest["dead_letters"]), letters),
        *_compare("messages", flat(manifest["messages"]), messages),
        *_in_short("accepted orders", "accounts", accepted, orders),
    ]


def compare_books(
    manifest: Mapping[str, Any], balances: Counts, wallets: Counts
) -> list[Comparison]:
    """Compare balances by (currency, account) and wallets by (account id and kind, currency)."""
    held = Counter(
        {
            (f"{account_id} {kind}", wallet["currency"]): wallet[kind]
            for account_id, wallet in manifest["wallets"].items()
            for kind in ("paid", "bonus")
        }
    )
    return [
        *_compare("trial balance", flat(manifest["trial_balance"]), balances),
        *_in_short("wallets", "balances", held, wallets),
    ]


def books_seen(rows: Iterable[Mapping[str, Any]]) -> tuple[Counts, Counts]:
    """Return balances and wallets of the rows of a replay's report; in balances, wallets are one."""
    balances: Counts = Counter()
    wallets: Counts = Counter()
    for row in rows:
        account, currency, amount = row["account"], row["currency"], row["amount_minor"]
        if account.startswith((f"{_WALLET}Paid:", f"{_WALLET}Bonus:")):
            kind, account_id = account.removeprefix(_WALLET).split(":", 1)
            wallets[f"{account_id} {kind.lower()}", currency] -= amount
            account = f"{_WALLET}{kind}"
        balances[currency, account] += amount
    return balances, wallets


def kinds_of_messages(
    channel: str, message_ids: Iterable[str], notifications: Mapping[str, tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return (template, locale) of each; of what came twice or has no notification, that."""
    seen: set[str] = set()
    kinds = []
    for message_id in message_ids:
        template, locale = notifications.get(message_id, ("unexplained", ""))
        kind = ("unexplained", "sent twice") if message_id in seen else (template, locale)
        kinds.append((f"{kind[0]} by {channel}", kind[1]))
        seen.add(message_id)
    return kinds


def _compare(area: str, expected: Counts, seen: Counts) -> list[Comparison]:
    return [
        Comparison(area, name, detail, expected[name, detail], seen[name, detail])
        for name, detail in sorted(expected.keys() | seen.keys())
        if expected[name, detail] or seen[name, detail]
    ]


def _in_short(area: str, what: str, expected: Counts, seen: Counts) -> list[Comparison]:
    """Return rows that differ, and one that counts those that agree."""
    rows = _compare(area, expected, seen)
    agreeing = Comparison(area, f"{what} that agree", "", len(rows), sum(r.agrees for r in rows))
    return [*(row for row in rows if not row.agrees), agreeing]
