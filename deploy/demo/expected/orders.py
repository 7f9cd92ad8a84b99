"""What must come of an order, of what is said to be paid for it, and of what the shop gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from deploy.demo.expected.books import Books
from deploy.demo.expected.outcomes import Outcomes, nested
from deploy.demo.expected.prices import WORLD, Price, bonus_of, fee_of

_LATE: Final = {"waiting": "", "expired": "order_expired", "failed": "payment_failed"}


@dataclass(slots=True)
class Order:
    """A renewal of the eSIM whose last digits are `sim`, or a top-up of an amount without tax."""

    order_id: str
    account_id: str
    method: str
    price: Price
    sim: str | None = None
    state: Literal["waiting", "paid", "failed", "expired"] = "waiting"


@dataclass(frozen=True, slots=True)
class ExpectedPayment:
    """What a gateway took for an order."""

    order_id: str
    amount: int
    fee: int = 0


@dataclass(slots=True)
class Orders:
    """All orders, what their gateways hold, and what all of it leads to."""

    outcomes: Outcomes = field(default_factory=Outcomes)
    books: Books = field(default_factory=Books)
    known: dict[str, Order] = field(default_factory=dict)
    shown_renewal: str = ""
    """The first renewal that left little in its wallet."""
    held: dict[tuple[str, str], ExpectedPayment] = field(default_factory=dict)
    """What customers paid in the app, by gateway and its transaction, whoever says what of it."""
    owed: dict[tuple[str, str], tuple[Order, str]] = field(default_factory=dict)
    """What the shop is to give back, and why the order did not take it, if it did not."""
    _used: dict[tuple[str, str], Order] = field(default_factory=dict)

    def accept(self, order: Order, mode: str, token: str) -> None:
        """An order is accepted, and paid as it says: by a charge, the wallet or in the app."""
        self.known[order.order_id] = order
        self.outcomes.orders[order.account_id] += 1
        self._event(order, "TopUpAccepted" if order.sim is None else "RenewalAccepted")
        if mode == "wallet":
            self._charge_wallet(order)
        elif mode == "charge":
            self._charge(order, token)

    def confirm(self, order_id: str, gateway: str, txn: str, amount: int) -> None:
        """Somebody says that an order was paid; what the gateway holds decides."""
        order, key = self.known[order_id], (gateway, txn)
        self._event(order, "PaymentConfirmationReceived")
        trusted = gateway == WORLD["trusted_gateway"]
        held = ExpectedPayment(order_id, amount) if trusted else self.held.get(key)
        if not trusted and not gateway.startswith("app-"):
            self._event(order, "PaymentConfirmationRefused", "not_checkable")
        elif held is None:
            self._event(order, "PaymentConfirmationRefused", "unknown_transaction")
        elif held.order_id != order_id:
            self._event(order, "PaymentConfirmationRefused", "another_reference")
        elif self._used.get(key, order) is not order:
            self._event(order, "PaymentConfirmationRefused", "already_used")
        elif key not in self._used:
            self._used[key] = order
            self._paid_in_app(order, key, held)

    def give_back(self, gateway: str, txn: str) -> None:
        """The shop gave back what its gateway took: it went in and out of the books, untaxed."""
        order, surplus = self.owed.pop((gateway, txn))
        told = ("SurplusReturned", surplus) if surplus else ("RefundCompleted", order.method)
        self._event(order, *told)

    def expire_waiting(self) -> None:
        """The time to pay in the app is over."""
        for order in self.known.values():
            if order.state == "waiting":
                order.state = "expired"
                self._event(order, "OrderExpired")

    def as_json(self) -> dict[str, Any]:
        return {
            "shown_renewal": self.shown_renewal,
            **self.outcomes.as_json(),
            "trial_balance": nested(self.books.balances),
            "wallets": {
                account_id: {"currency": each.currency, "paid": each.paid, "bonus": each.bonus}
                for account_id, each in sorted(self.books.wallets.items())
                if each.paid or each.bonus
            },
        }

    def _charge(self, order: Order, token: str) -> None:
        answer = WORLD["token"].get(token, {"declined": "unknown"})
        if "unknown" in answer:
            self._event(order, "PaymentOutcomeUnknown", answer["unknown"])
            self._event(order, "PaymentOutcomeResolved", answer["found"])
        if "declined" in answer:
            order.state = "failed"
            self._event(order, "PaymentFailed", answer["declined"])
        else:
            total = order.price.total
            self.books.kept(order.method, order.price.currency, fee_of(order.method, total))
            self._take(order, total)

    def _take(self, order: Order, amount: int) -> None:
        order.state = "paid"
        if order.sim is None:
            self._credit(order, amount)
            return
        self._event(order, "PaymentCaptured", order.method)
        self.books.captured(order.method, order.price)
        if not self._activate(order):
            self._event(order, "RefundCompleted", order.method)
            self.books.refunded(order.method, order.price)

    def _charge_wallet(self, order: Order) -> None:
        self._event(order, "WalletChargeRequested")
        charge = self.books.charge_wallet(order.account_id, order.price)
        if charge is None:
            self._event(order, "WalletChargeRefused", "insufficient_funds")
            order.state = "failed"
            self._event(order, "PaymentFailed", "insufficient_funds")
            return
        order.state = "paid"
        self._event(order, "WalletCharged")
        self._event(order, "PaymentCaptured", "wallet")
        if charge.low_balance:
            self._event(order, "LowBalanceDetected")
            self.shown_renewal = self.shown_renewal or order.order_id
        if not self._activate(order):
            self._event(order, "RefundCompleted", "wallet")
            self.books.refund_wallet(order.account_id, order.price, charge)

    def _activate(self, order: Order) -> bool:
        """Say whether the plan works in the end."""
        provider = WORLD["sim"].get(order.sim, {})
        if "delayed" in provider:
            self._event(order, "ActivationDelayed")
        if "never" in provider:
            self._event(order, "ActivationFailed", provider["never"])
        else:
            self._event(order, "PlanActivated")
        return "never" not in provider

    def _paid_in_app(self, order: Order, key: tuple[str, str], payment: ExpectedPayment) -> None:
        self.books.kept(order.method, order.price.currency, payment.fee)
        surplus = _LATE.get(order.state, "paid_twice")
        if surplus:
            self._event(order, "SurplusCaptured", surplus)
        if not surplus and (order.sim is None or payment.amount == order.price.total):
            self._take(order, payment.amount)
            return
        if order.sim is None:
            self._credit(order, payment.amount, surplus)
            return
        if not surplus:
            order.state = "paid"
            self._event(order, "PaymentCaptured", order.method)
            self._event(order, "ActivationFailed", "amount_mismatch")
        self._event(order, "RefundInstructed")
        self.owed[key] = order, surplus

    def _credit(self, order: Order, amount: int, surplus: str = "") -> None:
        """Put money into the wallet, with its bonus if it is what was asked for, be it late."""
        if surplus:
            self._event(order, "SurplusCredited", surplus)
        else:
            self._event(order, "PaymentCaptured", order.method)
            self._event(order, "WalletToppedUp")
        first = surplus in {"", "order_expired"} and [*self._used.values()].count(order) <= 1
        earned = first and amount == order.price.total
        bonus = bonus_of(order.price.currency, amount) if earned else 0
        if bonus:
            self._event(order, "BonusGranted")
        paid = Price(order.price.currency, amount)
        self.books.topped_up(order.account_id, order.method, paid, bonus)

    def _event(self, order: Order, name: str, detail: str = "") -> None:
        self.outcomes.event(order.account_id, name, detail)
