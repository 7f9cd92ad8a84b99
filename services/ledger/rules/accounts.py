"""The chart of accounts: names, normal sides, and how a posting rule names one account. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from services.ledger.rules.variables import Choice, Word, pattern_of, variables_in

Side = Literal["debit", "credit"]

GATEWAYS: Final = "Assets:Gateway:"
GATEWAY_FEES: Final = "Expenses:GatewayFees"
CONTRACT_LIABILITY: Final = "Liabilities:ContractLiability:Plans"
WALLET_PAID: Final = "Liabilities:Wallet:Paid:"
WALLET_BONUS: Final = "Liabilities:Wallet:Bonus:"
BONUS_OFFSET: Final = "Liabilities:Wallet:BonusOffset"


@dataclass(frozen=True, slots=True)
class ChartEntry:
    """One account, or one family of accounts, of the chart.

    `one_sided`: a balance on the other side than `normal` is an error of the books.
    """

    template: str
    normal: Side
    holds: str
    one_sided: bool = True


CHART: Final[tuple[ChartEntry, ...]] = (
    ChartEntry(
        GATEWAYS + "{Method}",
        "debit",
        "captured, not yet settled, at a gateway that the fact does not name; before 2026-12 at any",
        one_sided=False,
    ),
    ChartEntry(
        GATEWAYS + "{Method}:{gateway}",
        "debit",
        "captured, not yet settled: what this gateway has to pay out; per currency",
        one_sided=False,
    ),
    ChartEntry(CONTRACT_LIABILITY, "credit", "paid, not yet earned"),
    ChartEntry(WALLET_PAID + "{account}", "credit", "customer money, by lot"),
    ChartEntry(WALLET_BONUS + "{account}", "credit", "granted credit at face value, by lot"),
    ChartEntry(BONUS_OFFSET, "debit", "cancels Bonus until used: nothing was paid for it"),
    ChartEntry("Liabilities:Refunds:Payable", "credit", "refund promised, not yet confirmed"),
    ChartEntry("Liabilities:Tax:{jurisdiction}", "credit", "tax collected, by jurisdiction"),
    ChartEntry(GATEWAY_FEES, "debit", "what the gateways keep for a capture"),
)
"""The accounts that the posting rules may name. Others of the design join with their events."""
_PATTERNS: Final = tuple((entry, pattern_of(entry.template)) for entry in CHART)


@dataclass(frozen=True, slots=True)
class AccountRef:
    """An account as a rule names it: a template that `words` of the fact complete."""

    template: str
    words: tuple[Word, ...] = ()

    def name(self, values: Mapping[str, str | None]) -> str:
        """Return the full account name for one fact; `values` are by the columns of the words."""
        name = self.template
        for word in self.words:
            name = word.put(name, values[word.column])
        return name

    def values_in(self, account: str) -> dict[str, str | None] | None:
        """Return what an account's name shows for each word; None: this never names the account."""
        found = pattern_of(self.template).fullmatch(account)
        return None if found is None else found.groupdict()


def account_ref(template: str, choices: Mapping[str, str | None]) -> AccountRef:
    """Read an account template of the chart; `choices` are the values of an amount by their fields.

    Raises:
        ValueError: it has a variable that is not declared, the chart has no such account, or its
            choice is none that the account has a label for.
    """
    words: list[Word] = []
    name = template
    for variable in variables_in(template):
        if isinstance(variable, Word):
            words.append(variable)
            continue
        name = name.replace(f"{{{variable.name}}}", _label(template, variable, choices))
    if template not in {entry.template for entry in CHART}:
        message = f"{template} is not in the chart of accounts: correct it or add it to CHART"
        raise ValueError(message)
    return AccountRef(name, tuple(words))


def _label(template: str, choice: Choice, choices: Mapping[str, str | None]) -> str:
    value = choices.get(choice.field)
    if value is None or value not in choice.labels:
        message = f"{template} needs a condition: {choice.field} of {', '.join(choice.labels)}"
        raise ValueError(message)
    return choice.labels[value]


def chart_entry(account: str) -> ChartEntry:
    """Return the chart's entry for a full account name.

    Raises:
        KeyError: no account of the chart has this name.
    """
    for entry, pattern in _PATTERNS:
        if pattern.fullmatch(account):
            return entry
    raise KeyError(account)
