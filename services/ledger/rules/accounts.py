"""The chart of accounts: names, normal sides, and how a posting rule names one account. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from schemas.requests import PaymentMethod

Side = Literal["debit", "credit"]
Variable = Literal["", "account", "jurisdiction"]
"""What completes an account's name from the fact itself; "" when the name is complete."""

METHOD_LABELS: Final = {
    PaymentMethod.CARD: "Card",
    PaymentMethod.PAYPAL: "PayPal",
    PaymentMethod.ALIPAY: "Alipay",
    PaymentMethod.WECHAT: "WeChat",
}

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
        "Assets:Gateway:{Method}",
        "debit",
        "captured, not yet settled; per currency",
        one_sided=False,
    ),
    ChartEntry(CONTRACT_LIABILITY, "credit", "paid, not yet earned"),
    ChartEntry(WALLET_PAID + "{account}", "credit", "customer money, by lot"),
    ChartEntry(WALLET_BONUS + "{account}", "credit", "granted credit at face value, by lot"),
    ChartEntry(BONUS_OFFSET, "debit", "cancels Bonus until used: nothing was paid for it"),
    ChartEntry("Liabilities:Refunds:Payable", "credit", "refund promised, not yet confirmed"),
    ChartEntry("Liabilities:Tax:{jurisdiction}", "credit", "tax collected, by jurisdiction"),
    ChartEntry("Expenses:GatewayFees", "debit", "what the gateways keep for a capture"),
)
"""The accounts that the posting rules may name. Others of the design join with their events."""


@dataclass(frozen=True, slots=True)
class AccountRef:
    """An account as a rule names it: `prefix`, completed by `variable` of the fact."""

    prefix: str
    variable: Variable

    def name(self, *, account_id: str, jurisdiction: str | None) -> str:
        """Return the full account name for one fact."""
        match self.variable:
            case "account":
                return self.prefix + account_id
            case "jurisdiction":
                return self.prefix + (jurisdiction or "")
            case "":
                return self.prefix


def account_ref(template: str, method: PaymentMethod | None) -> AccountRef:
    """Read an account template of the chart; `{Method}` becomes the label of `method`.

    Raises:
        ValueError: the chart has no such account, or the method has no gateway account.
    """
    if template not in {entry.template for entry in CHART}:
        message = f"{template} is not in the chart of accounts: correct it or add it to CHART"
        raise ValueError(message)
    if "{Method}" in template:
        if method not in METHOD_LABELS:
            message = f"{template} needs a condition on gateway methods (card, paypal, ...)"
            raise ValueError(message)
        template = template.replace("{Method}", METHOD_LABELS[method])
    if template.endswith("{account}"):
        return AccountRef(template.removesuffix("{account}"), "account")
    if template.endswith("{jurisdiction}"):
        return AccountRef(template.removesuffix("{jurisdiction}"), "jurisdiction")
    return AccountRef(template, "")


def chart_entry(account: str) -> ChartEntry:
    """Return the chart's entry for a full account name.

    Raises:
        KeyError: no account of the chart has this name.
    """
    for entry in CHART:
        stem, brace, _ = entry.template.partition("{")
        if account == entry.template or (brace and account.startswith(stem)):
            return entry
    raise KeyError(account)
