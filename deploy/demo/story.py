"""Records requests and, with each step that they lead to, what is expected: the demo's own model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from deploy.demo.books import WalletCharge
from deploy.demo.customers import ACTIVATES, Customer
from deploy.demo.expectations import EMAIL_OF, Expectations
from deploy.demo.prices import Price, bonus_of, fee_of, price_of
from deploy.demo.records import (
    RawRecord,
    confirmation_record,
    event_record,
    moment,
)

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


@dataclass(frozen=True, slots=True)
class Instructed:
    """What the shop is to give back; `surplus` is why the order did not take it, if it did not."""

    order: Order
    paid: RawRecord
    surplus: str | None = None


@dataclass(slots=True)
class Story:
    """All records in the order of telling, and all expectations."""

    records: list[RawRecord] = field(default_factory=list)
    expected: Expectations = field(default_factory=Expectations)
    locales: dict[str, str] = field(default_factory=dict)
    refused: list[tuple[Customer, str]] = field(default_factory=list)
    expired: list[Order] = field(default_factory=list)
    stolen: list[Order] = field(default_factory=list)
    paid_in_app: list[Order] = field(default_factory=list)
    instructed: list[Instructed] = field(default_factory=list)
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
        self.expected.accepted(phase, "RenewalAccepted", customer.account_id)
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
        self.expected.accepted(phase, "TopUpAccepted", customer.account_id)
        return Order(customer, phase, topup_id, method, Price(currency, amount, 0, "none"), record)

    def confirm(
        self, order: Order, phase: int, *, amount: int | None = None, txn: str = "1", fee: int = 0
    ) -> RawRecord:
        """Have the customer pay in the app, and send the gateway's word of it."""
        is_top_up = order.order_id.startswith("top")
        paid = order.price.total if amount is None else amount
        data = self.word(order, phase, f"txn-{order.order_id}-{txn}", amount=paid, fee=fee)
        held = {
            "gateway": data["gateway"],
            "txn": data["gateway_txn_id"],
            "reference": f"{'topup' if is_top_up else 'order'}/{order.order_id}",
            "method": order.method,
            "amount_minor": paid,
            "currency": order.price.currency,
            "fee_minor": fee,
            "at": moment(phase),
        }
        return self.say(phase, data, held)

    def say(self, phase: int, data: dict[str, Any], paid: dict[str, Any] | None) -> RawRecord:
        """Send a confirmation that orders takes for a hint; `paid` is what the gateway holds."""
        self.expected.event(phase, "PaymentConfirmationReceived")
        return self.send(confirmation_record(phase, data, paid))

    def word(
        self, order: Order, phase: int, txn: str, *, amount: int | None = None, fee: int = 0
    ) -> dict[str, Any]:
        """Return what a confirmation says, whether it is true or not."""
        field_name = "topup_id" if order.order_id.startswith("top") else "renewal_id"
        currency = order.price.currency
        paid = order.price.total if amount is None else amount
        data: dict[str, Any] = {
            "account_id": order.customer.account_id,
            field_name: order.order_id,
            "method": order.method,
            "gateway": f"app-{order.method}",
            "gateway_txn_id": txn,
            "amount": {"amount_minor": paid, "currency": currency},
            "confirmed_at": moment(phase),
        }
        if fee:
            data["fee"] = {"amount_minor": fee, "currency": currency}
        return data

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

    def owed_by_shop(
        self, order: Order, phase: int, paid: RawRecord, surplus: str | None = None
    ) -> None:
        """Expect that the shop is asked to give back what its own gateway took."""
        if surplus:
            self.expected.event(phase, "SurplusCaptured", surplus)
        else:
            self.expected.event(phase, "PaymentCaptured", order.method)
            self.expected.event(phase, "ActivationFailed", "amount_mismatch")
        self.expected.event(phase, "RefundInstructed")
        self.instructed.append(Instructed(order, paid, surplus))

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
        self,
        order: Order,
        phase: int,
        *,
        fee: int = -1,
        amount: int | None = None,
        surplus: str | None = None,
    ) -> None:
        """Expect that a top-up, and its bonus when the agreed amount was paid, is in the wallet.

        `surplus` is why the top-up did not take the money, which is credited all the same.
        """
        customer, currency = order.customer, order.customer.currency
        paid = order.price.total if amount is None else amount
        earned = paid == order.price.total and surplus != "paid_twice"
        bonus = bonus_of(currency, paid) if earned else 0
        taken = fee_of(order.method, paid) if fee < 0 else fee
        if surplus:
            self.expected.event(phase, "SurplusCaptured", surplus)
            self.told(customer, phase, "SurplusCredited", surplus)
        else:
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
