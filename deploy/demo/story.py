"""Records requests and, with each step that they lead to, what is expected: the demo's own model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from deploy.demo.books import WalletCharge
from deploy.demo.customers import ACTIVATES, Customer
from deploy.demo.expectations import EMAIL_OF, Expectations
from deploy.demo.prices import Price, bonus_of, fee_of, price_of
from deploy.demo.records import RawRecord, event_record, moment

CHARGED = "tok_ok"


@dataclass(frozen=True, slots=True)
class Order:
    """A renewal or a top-up that was asked for in `phase`."""

    customer: Customer
    phase: int
    order_id: str
    method: str
    price: Price
    record: RawRecord


@dataclass(slots=True)
class Story:
    """All records in the order of telling, and all expectations."""

    records: list[RawRecord] = field(default_factory=list)
    expected: Expectations = field(default_factory=Expectations)
    locales: dict[str, str] = field(default_factory=dict)
    refused: list[tuple[Customer, str]] = field(default_factory=list)
    expired: list[Order] = field(default_factory=list)
    failed_orders: list[Order] = field(default_factory=list)
    shown_renewal: str = ""
    _untold: dict[str, list[str]] = field(default_factory=dict)
    _serials: Counter[str] = field(default_factory=Counter)

    # -- requests ----------------------------------------------------------------------------------

    def send(self, record: RawRecord) -> RawRecord:
        """Send a record as it is; nothing is expected of it."""
        self.records.append(record)
        return record

    def resend_last_as(self, record: RawRecord) -> None:
        """Send `record` instead of the last one, whose consequences stay as expected."""
        self.records[-1] = record

    def next_id(self, customer: Customer, kind: str) -> str:
        """Return an order id that was not used yet."""
        self._serials[customer.account_id] += 1
        return f"{kind}-{customer.number:04d}-{self._serials[customer.account_id]}"

    def ask_renewal(  # noqa: PLR0913 - what varies between renewals
        self,
        customer: Customer,
        phase: int,
        plan: str,
        *,
        payment: dict[str, str],
        quantity: int = 1,
        codes: tuple[str, ...] = (),
        ending: str = ACTIVATES,
        renewal_id: str | None = None,
        **more: Any,  # noqa: ANN401 - further fields of the request
    ) -> tuple[str, RawRecord]:
        """Send a RenewalRequested; nothing is expected of it yet."""
        renewal_id = renewal_id or self.next_id(customer, "rnw")
        data: dict[str, Any] = {
            "account_id": customer.account_id,
            "renewal_id": renewal_id,
            "iccid": customer.iccid(ending),
            "plan_code": plan,
            "payment": {"currency": customer.currency, **payment},
            "requested_at": moment(phase),
        }
        if quantity > 1:
            data["quantity"] = quantity
        if codes:
            data["promotion_codes"] = list(codes)
        record = self.send(event_record(phase, "RenewalRequested", data | more))
        self._contact_seen(customer, phase, more.get("contact"))
        return renewal_id, record

    def renew(  # noqa: PLR0913 - what varies between renewals
        self,
        customer: Customer,
        phase: int,
        plan: str,
        *,
        mode: str = "charge",
        method: str | None = None,
        token: str = CHARGED,
        quantity: int = 1,
        codes: tuple[str, ...] = (),
        **more: Any,  # noqa: ANN401 - further fields of the request
    ) -> Order:
        """Send a renewal that is accepted, with the total that the customer was shown."""
        method = method or ("wallet" if mode == "wallet" else customer.method())
        price = price_of(plan, customer.currency, quantity, codes)
        payment = {"method": method, "mode": mode}
        if mode == "charge":
            payment["token"] = token
        shown = {"amount_minor": price.total, "currency": price.currency}
        renewal_id, record = self.ask_renewal(
            customer,
            phase,
            plan,
            payment=payment,
            quantity=quantity,
            codes=codes,
            expected_total=shown,
            **more,
        )
        self.expected.event(phase, "RenewalAccepted")
        if mode == "wallet":
            self.expected.event(phase, "WalletChargeRequested")
        return Order(customer, phase, renewal_id, method, price, record)

    def top_up(
        self,
        customer: Customer,
        phase: int,
        amount: int,
        *,
        mode: str = "charge",
        token: str = CHARGED,
    ) -> Order:
        """Send a top-up that is accepted."""
        method, currency = customer.method(1), customer.currency
        payment = {"method": method, "mode": mode, "currency": currency}
        if mode == "charge":
            payment["token"] = token
        topup_id = self.next_id(customer, "top")
        data = {
            "account_id": customer.account_id,
            "topup_id": topup_id,
            "amount": {"amount_minor": amount, "currency": currency},
            "payment": payment,
            "requested_at": moment(phase),
        }
        record = self.send(event_record(phase, "TopUpRequested", data))
        self.expected.event(phase, "TopUpAccepted")
        return Order(customer, phase, topup_id, method, Price(currency, amount, 0, "none"), record)

    def confirm(
        self, order: Order, phase: int, *, amount: int | None = None, txn: str = "1", fee: int = 0
    ) -> RawRecord:
        """Send the app's word that the customer paid."""
        field_name = "topup_id" if order.order_id.startswith("top") else "renewal_id"
        currency = order.price.currency
        paid = order.price.total if amount is None else amount
        data: dict[str, Any] = {
            "account_id": order.customer.account_id,
            field_name: order.order_id,
            "method": order.method,
            "gateway": f"app-{order.method}",
            "gateway_txn_id": f"txn-{order.order_id}-{txn}",
            "amount": {"amount_minor": paid, "currency": currency},
            "confirmed_at": moment(phase),
        }
        if fee:
            data["fee"] = {"amount_minor": fee, "currency": currency}
        return self.send(event_record(phase, "PaymentConfirmed", data))

    def change_contact(self, customer: Customer, phase: int, contact: dict[str, Any]) -> None:
        """Send a new contact; the customer's emails are in its language from then on."""
        data = {
            "account_id": customer.account_id,
            "contact": contact,
            "changed_at": moment(phase),
        }
        self.send(event_record(phase, "CustomerContactChanged", data))
        self._contact_seen(customer, phase, contact)

    # -- what comes of them ------------------------------------------------------------------------

    def captured(self, order: Order, phase: int, price: Price | None = None, fee: int = -1) -> None:
        """Expect that the gateway took the money of a renewal."""
        price = price or order.price
        taken = fee_of(order.method, price.total) if fee < 0 else fee
        self.expected.event(phase, "PaymentCaptured", order.method)
        self.expected.books.captured(order.method, price, taken)

    def activated(self, order: Order, phase: int) -> None:
        """Expect that the plan works."""
        self.told(order.customer, phase, "PlanActivated")

    def failed(self, order: Order, phase: int, reason: str) -> None:
        """Expect that nothing was charged."""
        self.told(order.customer, phase, "PaymentFailed", reason)

    def refunded(self, order: Order, phase: int, reason: str, price: Price | None = None) -> None:
        """Expect that a captured payment goes back through its gateway."""
        self.expected.event(phase, "ActivationFailed", reason)
        self.told(order.customer, phase, "RefundCompleted", order.method)
        self.expected.books.refunded(order.method, price or order.price)

    def refunded_to_wallet(
        self, order: Order, phase: int, reason: str, charge: WalletCharge
    ) -> None:
        """Expect that what the wallet paid is in it again."""
        self.expected.event(phase, "ActivationFailed", reason)
        self.told(order.customer, phase, "RefundCompleted", "wallet")
        self.expected.books.refund_wallet(order.customer.account_id, order.price, charge)

    def charged_to_wallet(self, order: Order, phase: int) -> WalletCharge | None:
        """Expect what the wallet can do: pay, or refuse."""
        customer = order.customer
        charge = self.expected.books.charge_wallet(customer.account_id, order.price)
        if charge is None:
            self.expected.event(phase, "WalletChargeRefused", "insufficient_funds")
            self.failed(order, phase, "insufficient_funds")
            return None
        self.expected.event(phase, "WalletCharged")
        self.expected.event(phase, "PaymentCaptured", "wallet")
        if charge.low_balance:
            self.told(customer, phase, "LowBalanceDetected")
        return charge

    def credited(
        self, order: Order, phase: int, *, fee: int = -1, amount: int | None = None
    ) -> None:
        """Expect that a top-up, and its bonus when the agreed amount was paid, is in the wallet."""
        customer, currency = order.customer, order.customer.currency
        paid = order.price.total if amount is None else amount
        bonus = bonus_of(currency, paid) if paid == order.price.total else 0
        taken = fee_of(order.method, paid) if fee < 0 else fee
        self.expected.event(phase, "PaymentCaptured", order.method)
        self.told(customer, phase, "WalletToppedUp")
        if bonus:
            self.expected.event(phase, "BonusGranted")
        books = self.expected.books
        books.topped_up(customer.account_id, currency, paid, bonus)
        books.top_up_captured(order.method, currency, paid, bonus, taken)

    def told(self, customer: Customer, phase: int, name: str, detail: str = "") -> None:
        """Expect a fact and its email; without a contact, the email waits for one."""
        locale = self.locales.get(customer.account_id)
        if locale is None:
            self.expected.event(phase, name, detail)
            self._untold.setdefault(customer.account_id, []).append(EMAIL_OF[name])
        else:
            self.expected.told(phase, name, detail, locale=locale)

    def _contact_seen(self, customer: Customer, phase: int, contact: dict[str, Any] | None) -> None:
        if contact is None:
            return
        self.locales[customer.account_id] = contact["locale"]
        for template in self._untold.pop(customer.account_id, []):
            self.expected.email(phase, template, contact["locale"])
