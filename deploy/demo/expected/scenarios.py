"""Makes of rows of what customers do the records that are sent, and has `Orders` expect the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from deploy.demo.expected.orders import ExpectedPayment, Order, Orders
from deploy.demo.expected.prices import Price, price_of
from deploy.demo.expected.records import RawRecord, event_record, moment, spoilt

_HERE: Final = Path(__file__).parent
Row = dict[str, Any]
"""What is sent as one record: scenarios/README.md says what its fields mean."""


class Customer(NamedTuple):
    """An account (the last three may not buy); `iccid_stem` and the `sim` of a row are an ICCID."""

    account_id: str
    currency: str
    pays_by: str
    tops_up_by: str
    iccid_stem: str
    contact: dict[str, Any]


def _read(path: Path) -> Iterator[Row]:
    yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


CUSTOMERS: Final = {row["account_id"]: Customer(**row) for row in _read(_HERE / "customers.jsonl")}


def rows() -> Iterator[tuple[int, Row]]:
    """Return each row with its phase, with which the name of its file begins."""
    for path in sorted((_HERE / "scenarios").glob("*.jsonl")):
        yield from ((int(path.name[0]), row) for row in _read(path))


def tell(told: Iterable[tuple[int, Row]]) -> Story:
    """Return all that rows send and lead to; who has not paid by the end of a phase is too late."""
    story = Story()
    for phase, sent in groupby(told, key=lambda each: each[0]):
        story.expected.outcomes.phase = phase
        for _, row in sent:
            story.send(phase, row)
        story.expected.expire_waiting()
    return story


@dataclass(slots=True)
class Story:
    """All records in the order of sending, and all that is expected."""

    records: list[RawRecord] = field(default_factory=list)
    expected: Orders = field(default_factory=Orders)
    _named: dict[str, RawRecord] = field(default_factory=dict)

    def send(self, phase: int, row: Row) -> None:
        """Send what a row says, and expect what it leads to."""
        if row["sends"] == "again":
            record = replace(self._named[row["id"]], phase=phase)
        else:
            builders = {"renewal": self._renewal, "top-up": self._top_up, "payment": self._payment}
            record = builders.get(row["sends"], self._event)(phase, row)
            self._named[row.get("id", "")] = record
        if "dead" in row:
            self.expected.outcomes.dead_letters[phase].update(row["dead"].items())
        self.records.append(spoilt(record, row.get("spoilt", ())))

    def _renewal(self, phase: int, row: Row) -> RawRecord:
        customer = CUSTOMERS[row["by"]]
        payment = _payment_of(row, customer.pays_by, customer.currency)
        wanted: Row = {key: row[key] for key in ("quantity", "promotion_codes") if key in row}
        data: Row = {
            "account_id": customer.account_id,
            "renewal_id": row["id"],
            "iccid": customer.iccid_stem + row.get("sim", "0000"),
            "plan_code": row["plan"],
            "payment": {"currency": customer.currency, **payment},
            "requested_at": moment(phase),
            **wanted,
        }
        if "refused" in row:
            self.expected.outcomes.event(row["by"], "RenewalRejected", row["refused"])
        elif "orders" not in row.get("dead", {}):
            price = price_of(row["plan"], customer.currency, **wanted)
            data["expected_total"] = _money(price.total, customer.currency)
            if row.get("contact"):
                data["contact"] = customer.contact
                self.expected.outcomes.contact(customer.account_id, customer.contact)
            sim = row.get("sim", "0000")
            order = Order(row["id"], customer.account_id, payment["method"], price, sim)
            self.expected.accept(order, payment["mode"], payment.get("token", ""))
        return event_record(phase, "RenewalRequested", data | row.get("with", {}))

    def _top_up(self, phase: int, row: Row) -> RawRecord:
        customer = CUSTOMERS[row["by"]]
        payment = _payment_of(row, customer.tops_up_by, customer.currency)
        data = {
            "account_id": customer.account_id,
            "topup_id": row["id"],
            "amount": _money(row["amount"], customer.currency),
            "payment": payment,
            "requested_at": moment(phase),
        }
        if "refused" in row:
            self.expected.outcomes.event(row["by"], "TopUpRejected", row["refused"])
        else:
            price = Price(customer.currency, row["amount"])
            order = Order(row["id"], customer.account_id, payment["method"], price)
            self.expected.accept(order, payment["mode"], payment.get("token", ""))
        return event_record(phase, "TopUpRequested", data | row.get("with", {}))

    def _payment(self, phase: int, row: Row) -> RawRecord:
        """Say that an order was paid, whether its gateway holds that or not."""
        order, txn, fee = self.expected.known[row["of"]], row["id"], row.get("fee", 0)
        gateway, currency = row.get("gateway", f"app-{order.method}"), order.price.currency
        amount = row.get("amount", order.price.total)
        data: Row = {
            "account_id": order.account_id,
            "topup_id" if order.sim is None else "renewal_id": order.order_id,
            "method": order.method,
            "gateway": gateway,
            "gateway_txn_id": txn,
            "amount": _money(amount, currency),
            "confirmed_at": moment(phase),
        }
        if fee:
            data["fee"] = _money(fee, currency)
        record = event_record(phase, "PaymentConfirmed", data | row.get("with", {}))
        if row.get("held", True):
            paid = {
                "gateway": gateway,
                "txn": txn,
                "reference": f"{'topup' if order.sim is None else 'order'}/{order.order_id}",
                "method": order.method,
                "amount_minor": amount,
                "currency": currency,
                "fee_minor": fee,
                "at": moment(phase),
            }
            record = replace(record, paid=paid)
            self.expected.held[gateway, txn] = ExpectedPayment(order.order_id, amount, fee)
        self.expected.confirm(order.order_id, gateway, txn, amount)
        return record

    def _event(self, phase: int, row: Row) -> RawRecord:
        """Send the `data` of any other event as it is."""
        data, name = row["data"], row["sends"]
        if name == "RefundConfirmed":
            self.expected.give_back(data["gateway"], data["gateway_txn_id"])
        elif name == "CustomerContactChanged" and "dead" not in row:
            self.expected.outcomes.contact(data["account_id"], data["contact"])
        return event_record(phase, name, data)


def _payment_of(row: Row, usual: str, currency: str) -> dict[str, str]:
    mode = row.get("mode", "charge")
    method = "wallet" if mode == "wallet" else row.get("method", usual)
    payment = {"method": method, "mode": mode, "currency": currency}
    return payment | ({"token": row.get("token", "tok_ok")} if mode == "charge" else {})


def _money(amount: int, currency: str) -> dict[str, Any]:
    return {"amount_minor": amount, "currency": currency}
