"""Double entry and wallets as the demo expects them: amounts in minor units, debit positive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from deploy.demo.prices import Price, low_balance_threshold

GATEWAY: Final = {
    "card": "Assets:Gateway:Card",
    "paypal": "Assets:Gateway:PayPal",
    "alipay": "Assets:Gateway:Alipay",
    "wechat": "Assets:Gateway:WeChat",
}
PLANS: Final = "Liabilities:ContractLiability:Plans"
PAID: Final = "Liabilities:Wallet:Paid"
BONUS: Final = "Liabilities:Wallet:Bonus"
OFFSET: Final = "Liabilities:Wallet:BonusOffset"
REFUNDS: Final = "Liabilities:Refunds:Payable"
FEES: Final = "Expenses:GatewayFees"


@dataclass(slots=True)
class Wallet:
    """What one account holds; bonus expires first, so it is spent first."""

    currency: str
    paid: int = 0
    bonus: int = 0

    @property
    def total(self) -> int:
        """Paid and bonus."""
        return self.paid + self.bonus


@dataclass(frozen=True, slots=True)
class WalletCharge:
    """How the wallet paid: the bonus part is a discount, so less tax was received."""

    net: int
    tax: int
    bonus: int
    low_balance: bool


@dataclass(slots=True)
class Books:
    """Balances per account of the chart, wallets of all customers together, and each wallet."""

    balances: Counter[tuple[str, str]] = field(default_factory=Counter)
    wallets: dict[str, Wallet] = field(default_factory=dict)

    def captured(self, method: str, price: Price, fee: int) -> None:
        """A gateway took the price of a plan."""
        self._move(price.currency, price.net, GATEWAY[method], PLANS)
        self._move(price.currency, price.tax, GATEWAY[method], _tax(price))
        self._move(price.currency, fee, FEES, GATEWAY[method])

    def refunded(self, method: str, price: Price) -> None:
        """What a gateway took went back; its fee did not."""
        self._move(price.currency, price.net, PLANS, REFUNDS)
        self._move(price.currency, price.tax, _tax(price), REFUNDS)
        self._move(price.currency, price.total, REFUNDS, GATEWAY[method])

    def returned(self, method: str, currency: str, amount: int) -> None:
        """Money that an order did not take came, was owed from the beginning, and went back."""
        self._move(currency, amount, GATEWAY[method], REFUNDS)
        self._move(currency, amount, REFUNDS, GATEWAY[method])

    def topped_up(self, account_id: str, currency: str, amount: int, bonus: int) -> None:
        """Money and its bonus entered a wallet."""
        wallet = self.wallets.setdefault(account_id, Wallet(currency))
        wallet.paid += amount
        wallet.bonus += bonus

    def top_up_captured(
        self, method: str, currency: str, amount: int, bonus: int, fee: int
    ) -> None:
        """A gateway took a top-up."""
        self._move(currency, amount, GATEWAY[method], PAID)
        self._move(currency, bonus, OFFSET, BONUS)
        self._move(currency, fee, FEES, GATEWAY[method])

    def charge_wallet(self, account_id: str, price: Price) -> WalletCharge | None:
        """Pay from the wallet; None when it holds too little."""
        wallet = self.wallets.setdefault(account_id, Wallet(price.currency))
        before = wallet.total
        if before < price.total:
            return None
        bonus = min(wallet.bonus, price.total)
        paid = price.total - bonus
        tax = price.tax * paid // price.total
        wallet.bonus -= bonus
        wallet.paid -= paid
        self._move(price.currency, paid - tax, PAID, PLANS)
        self._move(price.currency, tax, PAID, _tax(price))
        self._move(price.currency, bonus, BONUS, OFFSET)
        low = wallet.total < low_balance_threshold(price.currency) <= before
        return WalletCharge(paid - tax, tax, bonus, low)

    def refund_wallet(self, account_id: str, price: Price, charge: WalletCharge) -> None:
        """What the wallet paid went back into it, each part to where it came from."""
        wallet = self.wallets[account_id]
        wallet.paid += charge.net + charge.tax
        wallet.bonus += charge.bonus
        self._move(price.currency, charge.net, PLANS, REFUNDS)
        self._move(price.currency, charge.tax, _tax(price), REFUNDS)
        self._move(price.currency, charge.net + charge.tax, REFUNDS, PAID)
        self._move(price.currency, charge.bonus, OFFSET, BONUS)

    def trial_balance(self) -> dict[str, dict[str, int]]:
        """Return the balances that are not zero, by currency and account."""
        result: dict[str, dict[str, int]] = {}
        for (currency, account), amount in sorted(self.balances.items()):
            if amount:
                result.setdefault(currency, {})[account] = amount
        return result

    def _move(self, currency: str, amount: int, debit: str, credit: str) -> None:
        self.balances[currency, debit] += amount
        self.balances[currency, credit] -= amount


def _tax(price: Price) -> str:
    return f"Liabilities:Tax:{price.jurisdiction}"
