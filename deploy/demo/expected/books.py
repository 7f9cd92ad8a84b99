"""Double entry and wallets as the oracle expects them: minor units, debit positive."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

from deploy.demo.expected.prices import WORLD, Price, low_balance_threshold

_GATEWAY: Final = {method: str(each["account"]) for method, each in WORLD["method"].items()}
PLANS: Final = "Liabilities:ContractLiability:Plans"
PAID: Final = "Liabilities:Wallet:Paid"
BONUS: Final = "Liabilities:Wallet:Bonus"
OFFSET: Final = "Liabilities:Wallet:BonusOffset"
FEES: Final = "Expenses:GatewayFees"


@dataclass(slots=True)
class Wallet:
    """What one account holds in its currency; bonus expires first, so it is spent first."""

    currency: str = ""
    paid: int = 0
    bonus: int = 0


@dataclass(frozen=True, slots=True)
class WalletCharge:
    """How the wallet paid: the bonus part is a discount, so less tax was received."""

    net: int
    tax: int
    bonus: int
    low_balance: bool


@dataclass(slots=True)
class Books:
    """Balances by (currency, account of the chart), where all wallets are one, and each wallet."""

    balances: Counter[tuple[str, str]] = field(default_factory=Counter)
    wallets: defaultdict[str, Wallet] = field(default_factory=lambda: defaultdict(Wallet))

    def kept(self, method: str, currency: str, fee: int) -> None:
        """A gateway keeps its fee, whatever becomes of the payment."""
        self._move(currency, fee, FEES, _GATEWAY[method])

    def captured(self, method: str, price: Price) -> None:
        """A gateway took the price of a plan."""
        self._move(price.currency, price.net, _GATEWAY[method], PLANS)
        self._move(price.currency, price.tax, _GATEWAY[method], price.tax_account)

    def refunded(self, method: str, price: Price) -> None:
        """What a gateway took went back; its fee did not."""
        self._move(price.currency, price.net, PLANS, _GATEWAY[method])
        self._move(price.currency, price.tax, price.tax_account, _GATEWAY[method])

    def topped_up(self, account_id: str, method: str, paid: Price, bonus: int) -> None:
        """A gateway took a top-up, which entered the wallet with its bonus."""
        self._move(paid.currency, paid.net, _GATEWAY[method], PAID)
        self._move(paid.currency, bonus, OFFSET, BONUS)
        wallet = self.wallets[account_id]
        wallet.currency = paid.currency
        wallet.paid += paid.net
        wallet.bonus += bonus

    def charge_wallet(self, account_id: str, price: Price) -> WalletCharge | None:
        """Pay from the wallet; None when it holds too little."""
        wallet = self.wallets[account_id]
        before = wallet.paid + wallet.bonus
        if before < price.total:
            return None
        bonus = min(wallet.bonus, price.total)
        paid = price.total - bonus
        tax = price.tax * paid // price.total
        wallet.bonus -= bonus
        wallet.paid -= paid
        self._move(price.currency, paid - tax, PAID, PLANS)
        self._move(price.currency, tax, PAID, price.tax_account)
        self._move(price.currency, bonus, BONUS, OFFSET)
        low = before - price.total < low_balance_threshold(price.currency) <= before
        return WalletCharge(paid - tax, tax, bonus, low)

    def refund_wallet(self, account_id: str, price: Price, charge: WalletCharge) -> None:
        """What the wallet paid went back into it, each part to where it came from."""
        wallet = self.wallets[account_id]
        wallet.paid += charge.net + charge.tax
        wallet.bonus += charge.bonus
        self._move(price.currency, charge.net, PLANS, PAID)
        self._move(price.currency, charge.tax, price.tax_account, PAID)
        self._move(price.currency, charge.bonus, OFFSET, BONUS)

    def _move(self, currency: str, amount: int, debit: str, credit: str) -> None:
        self.balances[currency, debit] += amount
        self.balances[currency, credit] -= amount
