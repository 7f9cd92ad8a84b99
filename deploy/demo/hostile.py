"""Records that no proper client sends.

Some are harmless and must work; the others must end as a dead letter of each service that reads
them, and must never hold up their neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from typing import Any, Final

from deploy.demo.customers import CUSTOMERS, Customer
from deploy.demo.prices import plans_sold_in
from deploy.demo.records import RawRecord, event_record, moment, structured
from deploy.demo.story import CHARGED, Story

ORDERS: Final = "orders"
NOTIFIER: Final = "notifier"
_FIRST: Final = 400
_NOT_UTF8: Final = b"\xc3\x28\xff"
_STRUCTURED: Final = b"application/cloudevents+json"
_DEEP: Final = 30_000
_OVERSIZED: Final = 700_000
_STILL_ALLOWED: Final = 60_000

Spoil = Callable[[RawRecord], RawRecord]


def send_hostile_records(story: Story, phase: int) -> None:
    """Every kind, spread over the partitions: each account is used once or twice."""
    customers = cycle(CUSTOMERS[_FIRST:])
    for spoil in _HARMLESS:
        _send_harmless(story, phase, next(customers), spoil)
    for reason, spoils in _POISON.items():
        for spoil in spoils:
            story.send(spoil(_renewal(story, phase, next(customers))))
            story.expected.dead_letter(phase, reason, ORDERS, NOTIFIER)
    for reason, spoils in _POISON_TO_ORDERS.items():
        for spoil in spoils:
            story.send(spoil(_renewal(story, phase, next(customers))))
            story.expected.dead_letter(phase, reason, ORDERS)
    for contact in _BAD_CONTACTS:
        _send_bad_contacts(story, phase, next(customers), contact)
    _send_bad_confirmations(story, phase, next(customers))


def _send_harmless(story: Story, phase: int, customer: Customer, spoil: Spoil) -> None:
    order = story.renew(customer, phase, plans_sold_in(customer.currency)[0])
    story.resend_last_as(spoil(order.record))
    story.captured(order, phase)
    story.activated(order, phase)


def _renewal(story: Story, phase: int, customer: Customer) -> RawRecord:
    return event_record(phase, "RenewalRequested", _data(story, phase, customer))


def _data(story: Story, phase: int, customer: Customer) -> dict[str, Any]:
    """Return a good request; only what a `Spoil` does to it keeps it from being a renewal."""
    return {
        "account_id": customer.account_id,
        "renewal_id": story.next_id(customer, "bad"),
        "iccid": customer.iccid(),
        "plan_code": plans_sold_in(customer.currency)[0],
        "payment": {
            "method": "card",
            "mode": "charge",
            "currency": customer.currency,
            "token": CHARGED,
        },
        "requested_at": moment(phase),
    }


def _send_bad_contacts(
    story: Story, phase: int, customer: Customer, changed: dict[str, str]
) -> None:
    """The notifier refuses the contact and keeps the old one; the renewal goes on."""
    contact = {**customer.contact(), **changed}
    data = {"account_id": customer.account_id, "contact": contact, "changed_at": moment(phase)}
    story.send(event_record(phase, "CustomerContactChanged", data))
    story.expected.dead_letter(phase, "contact_refused", NOTIFIER)

    def with_contact(record: RawRecord) -> RawRecord:
        return _with_data(record, contact=contact)

    _send_harmless(story, phase, customer, with_contact)
    story.expected.dead_letter(phase, "contact_refused", NOTIFIER)


def _send_bad_confirmations(story: Story, phase: int, customer: Customer) -> None:
    """Confirmations that belong to no order; the notifier has no use for any confirmation."""
    refused_customer, refused_id = story.refused[0]
    for reason, account_id, fields in (
        ("order_unknown", customer.account_id, {"renewal_id": "rnw-of-nobody"}),
        ("order_unknown", customer.account_id, {"topup_id": "top-of-nobody"}),
        ("order_refused", refused_customer.account_id, {"renewal_id": refused_id}),
        ("account_mismatch", customer.account_id, {"renewal_id": "rnw-0100-1"}),
        ("confirmation_method", "acct-0100", {"renewal_id": "rnw-0100-1", "method": "wallet"}),
        ("body_invalid", customer.account_id, {}),
        ("body_invalid", customer.account_id, {"renewal_id": "rnw-a", "topup_id": "top-a"}),
    ):
        data: dict[str, Any] = {
            "account_id": account_id,
            "method": "card",
            "gateway": "app-card",
            "gateway_txn_id": "txn-of-nobody",
            "amount": {"amount_minor": 100, "currency": customer.currency},
            "confirmed_at": moment(phase),
            **fields,
        }
        story.send(event_record(phase, "PaymentConfirmed", data))
        story.expected.dead_letter(phase, reason, ORDERS)


# -- how a good record is spoilt -------------------------------------------------------------------


def _header(name: str, value: bytes | None) -> Spoil:
    return lambda record: record.with_header(name, value)


def _without(prefix: str) -> Spoil:
    return lambda record: record.without_headers(prefix)


def _value(value: bytes | None) -> Spoil:
    return lambda record: replace(record, value=value)


def _key(key: bytes | None) -> Spoil:
    return lambda record: replace(record, key=key)


def _field(**changed: Any) -> Spoil:  # noqa: ANN401 - any JSON
    return lambda record: _with_data(record, **changed)


def _nested(inner: str) -> Spoil:
    """Add a field, written as it is, that no reader asked for."""

    def spoil(record: RawRecord) -> RawRecord:
        value = (record.value or b"").removesuffix(b"}")
        return replace(record, value=value + f',"note":{inner}}}'.encode())

    return spoil


def _twice(name: str) -> Spoil:
    def spoil(record: RawRecord) -> RawRecord:
        again = tuple(header for header in record.headers if header[0] == name)
        return replace(record, headers=(*record.headers, *again))

    return spoil


def _all(*spoils: Spoil) -> Spoil:
    def spoil(record: RawRecord) -> RawRecord:
        for each in spoils:
            record = each(record)
        return record

    return spoil


def _attribute(**changed: Any) -> Spoil:  # noqa: ANN401 - any JSON
    """Change the attributes of an event in structured mode."""

    def spoil(record: RawRecord) -> RawRecord:
        document = json.loads(structured(record).value or b"{}") | changed
        value = json.dumps(document, separators=(",", ":")).encode()
        return replace(structured(record), value=value)

    return spoil


def _key_as_attribute(record: RawRecord) -> RawRecord:
    return replace(record, key=None).with_header("ce_partitionkey", record.key)


def _off_its_partition(record: RawRecord) -> RawRecord:
    return replace(record, partition_shift=3)


def _cut(record: RawRecord) -> RawRecord:
    return replace(record, value=(record.value or b"")[:-9])


def _with_data(record: RawRecord, **changed: Any) -> RawRecord:  # noqa: ANN401 - any JSON
    data = json.loads(record.value or b"{}") | changed
    value = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return replace(record, value=value)


_HARMLESS: Final[tuple[Spoil, ...]] = (
    structured,
    _all(structured, _header("ce_type", b"billing.Lies.v1")),
    _header("x-trace", None),
    _header("x-trace", _NOT_UTF8),
    _header("reply_to", b"billing.ledger.v1"),
    _header("content-type", b"text/plain"),
    _without("content-type"),
    _header("ce_sequence", b"00000000000000000001"),
    _header("ce_causationid", b"6f1d3c5e-0c57-5f0a-9d0e-5a3f3f0c7b11"),
    _header("ce_anything", b"an extension of somebody else's"),
    _off_its_partition,
    _key_as_attribute,
    _nested('"' + "x" * _STILL_ALLOWED + '"'),
    _field(colour="green", loyalty={"points": 7}),
)

_POISON: Final[dict[str, tuple[Spoil, ...]]] = {
    "null_value": (_value(None),),
    "oversized": (_value(b"x" * _OVERSIZED),),
    "not_a_cloudevent": (
        _without("ce_"),
        _all(_without("ce_"), _without("content-type")),
        _header("content-type", _STRUCTURED),
        _all(_header("content-type", _STRUCTURED), _value(b"[]")),
        _attribute(data="not an object"),
    ),
    "header_null": (
        _header("ce_type", None),
        _header("ce_traceparent", None),
        _all(structured, _header("ce_id", None)),
        _header("content-type", None),
    ),
    "header_repeated": (_twice("ce_id"), _twice("content-type")),
    "not_utf8": (
        _header("ce_type", _NOT_UTF8),
        _header("content-type", _NOT_UTF8),
        _key(_NOT_UTF8),
        _all(
            _header("content-type", _STRUCTURED),
            _value(b'{"specversion":"1.0","data":{"account_id":"\\ud800"}}'),
        ),
    ),
    "not_json": (
        _all(_header("content-type", _STRUCTURED), _value(b"\x00\xff\xfe not JSON")),
        _all(_header("content-type", _STRUCTURED), _value(b"[" * _DEEP)),
    ),
    "specversion_unsupported": (
        _header("ce_specversion", b"0.3"),
        _without("ce_specversion"),
        _attribute(specversion="2.0"),
    ),
    "attributes_invalid": (
        _without("ce_id"),
        _header("ce_id", b"42"),
        _header("ce_time", b"yesterday"),
        _header("ce_source", b"the shop"),
        _header("ce_sequence", b"-1"),
        _header("ce_traceparent", b"00-nonsense"),
        _key(None),
        _key(b""),
        _attribute(id=["a", "list"]),
    ),
    "key_mismatch": (_header("ce_partitionkey", b"acct-0001"),),
    "account_mismatch": (_field(account_id="acct-0001"), _key(b"acct-0001")),
    "source_not_allowed": (
        _header("ce_source", b"/billing/orders"),
        _header("ce_source", b"/billing/ledger"),
    ),
    "body_invalid": (
        _value(b""),
        _value(b"\x80\x02poison"),
        _value(b"[" * _DEEP),
        _value(b"[]"),
        _value(b"null"),
        _cut,
        _nested("[" * 5_000 + "]" * 5_000),
        _field(quantity=0),
        _field(quantity="1"),
        _field(quantity=10**30),
        _field(expected_total={"amount_minor": 12.5, "currency": "USD"}),
        _field(expected_total={"amount_minor": -1, "currency": "USD"}),
        _field(expected_total={"amount_minor": 1, "currency": "XXX"}),
        _field(iccid="4111111111111111"),
        _field(renewal_id="../../etc/passwd"),
        _field(plan_code="eu'; DROP TABLE event;--"),
        _field(payment={"method": "card", "mode": "charge", "currency": "USD"}),
        _field(requested_at="2026-11-20T08:00:00"),
        _field(contact={"name": "nobody to write to"}),
    ),
}
"""Poison for whoever reads requests, by the reason of the dead letters."""

_POISON_TO_ORDERS: Final[dict[str, tuple[Spoil, ...]]] = {
    "unknown_event_type": (
        _header("ce_type", b"billing.FreeMoneyRequested.v1"),
        _header("ce_type", b"RenewalRequested"),
        _header("ce_type", b"billing.PaymentCaptured.v1"),
        _header("ce_type", b"billing.WalletCharged.v1"),
    ),
    "unknown_version": (
        _header("ce_type", b"billing.RenewalRequested.v2"),
        _header("ce_type", b"billing.RenewalRequested.v99"),
    ),
}
"""Orders answers for everything on the topic; the notifier leaves alone what it does not know."""

_BAD_CONTACTS: Final[tuple[dict[str, str], ...]] = (
    {"email": "victim@example.com\r\nBcc: everybody@example.com"},
    {"email": "no address at all"},
    {"name": "Mallory\r\nSubject: you have won"},
    {"name": "=?utf-8?q?Mallory=0d=0aBcc:_everybody=40example.com?="},
    {"time_zone": "Mars/Olympus_Mons"},
)
