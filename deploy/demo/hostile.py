"""Records that no proper client sends.

Some are harmless and must work; the others must end as a dead letter of each service that reads
them, and must never hold up their neighbours.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any, Final

from deploy.demo.customers import CUSTOMERS, Customer
from deploy.demo.prices import plans_sold_in
from deploy.demo.records import (
    SOURCE,
    RawRecord,
    confirmation_record,
    event_record,
    moment,
    structured,
)
from deploy.demo.spoils import (
    Spoil,
    changed_data,
    cut_short,
    in_base64,
    off_its_partition,
    together,
    with_attributes,
    with_extra_field,
    with_fields,
    with_header,
    with_header_twice,
    with_key,
    with_key_as_attribute,
    with_key_twice,
    with_value,
    without_headers,
)
from deploy.demo.story import CHARGED, Story

ORDERS: Final = "orders"
NOTIFIER: Final = "notifier"
_FIRST: Final = 400
_NOT_UTF8: Final = b"\xc3\x28\xff"
_STRUCTURED: Final = b"application/cloudevents+json"
_DEEP: Final = 30_000
_OVERSIZED: Final = 700_000
_STILL_ALLOWED: Final = 60_000


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
        return changed_data(record, contact=contact)

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
        story.send(confirmation_record(phase, data))
        story.expected.dead_letter(phase, reason, ORDERS)
    forged = confirmation_record(phase, data | {"renewal_id": "rnw-of-nobody"})
    story.send(forged.with_header("ce_source", SOURCE.encode()))
    story.expected.dead_letter(phase, "source_not_allowed", ORDERS)


_HARMLESS: Final[tuple[Spoil, ...]] = (
    structured,
    together(structured, with_header("ce_type", b"billing.Lies.v1")),
    with_header("x-trace", None),
    with_header("x-trace", _NOT_UTF8),
    with_header("reply_to", b"billing.ledger.v1"),
    in_base64,
    with_header("content-type", b"Application/JSON; charset=UTF-8"),
    without_headers("content-type"),
    with_header("ce_traceparent", None),
    with_header("ce_traceparent", b"00-nonsense"),
    with_header("ce_traceparent", _NOT_UTF8),
    with_header("ce_sequence", b"00000000000000000001"),
    with_header("ce_causationid", b"6f1d3c5e-0c57-5f0a-9d0e-5a3f3f0c7b11"),
    with_header("ce_anything", b"an extension of somebody else's"),
    off_its_partition,
    with_key_as_attribute,
    with_extra_field('"' + "x" * _STILL_ALLOWED + '"'),
    with_fields(colour="green", loyalty={"points": 7}),
)

_POISON: Final[dict[str, tuple[Spoil, ...]]] = {
    "null_value": (with_value(None),),
    "oversized": (with_value(b"x" * _OVERSIZED),),
    "not_a_cloudevent": (
        without_headers("ce_"),
        together(without_headers("ce_"), without_headers("content-type")),
        with_header("content-type", _STRUCTURED),
        together(with_header("content-type", _STRUCTURED), with_value(b"[]")),
        with_attributes(data="not an object"),
    ),
    "header_null": (
        with_header("ce_type", None),
        together(structured, with_header("ce_id", None)),
        with_header("content-type", None),
    ),
    "header_repeated": (with_header_twice("ce_id"), with_header_twice("content-type")),
    "not_utf8": (
        with_header("ce_type", _NOT_UTF8),
        with_header("content-type", _NOT_UTF8),
        with_key(_NOT_UTF8),
        together(
            with_header("content-type", _STRUCTURED),
            with_value(b'{"specversion":"1.0","data":{"account_id":"\\ud800"}}'),
        ),
    ),
    "not_json": (
        together(with_header("content-type", _STRUCTURED), with_value(b"\x00\xff\xfe not JSON")),
        together(with_header("content-type", _STRUCTURED), with_value(b"[" * _DEEP)),
    ),
    "specversion_unsupported": (
        with_header("ce_specversion", b"0.3"),
        without_headers("ce_specversion"),
        with_attributes(specversion="2.0"),
    ),
    "attributes_invalid": (
        without_headers("ce_id"),
        with_header("ce_id", b"42"),
        with_header("ce_time", b"yesterday"),
        with_header("ce_source", b"the shop"),
        with_header("ce_sequence", b"-1"),
        with_header("ce_time", b"1700000000"),
        with_header("ce_id", b"{6f1d3c5e-0c57-5f0a-9d0e-5a3f3f0c7b11}"),
        with_key(None),
        with_key(b""),
        with_attributes(id=["a", "list"]),
    ),
    "content_type_unsupported": (
        with_header("content-type", b"text/plain"),
        with_header("content-type", b"application/json; charset=utf-16"),
        with_attributes(datacontenttype="application/xml"),
    ),
    "key_repeated": (
        with_key_twice,
        together(with_header("content-type", _STRUCTURED), with_key_twice),
    ),
    "key_mismatch": (with_header("ce_partitionkey", b"acct-0001"),),
    "account_mismatch": (with_fields(account_id="acct-0001"), with_key(b"acct-0001")),
    "source_not_allowed": (
        with_header("ce_source", b"/billing/orders"),
        with_header("ce_source", b"/billing/ledger"),
        with_header("ce_source", b"/gateway/demo-app"),
    ),
    "body_invalid": (
        with_value(b""),
        with_value(b"\x80\x02poison"),
        with_value(b"[" * _DEEP),
        with_value(b"[]"),
        with_value(b"null"),
        cut_short,
        with_extra_field("[" * 5_000 + "]" * 5_000),
        with_fields(quantity=0),
        with_fields(quantity="1"),
        with_fields(quantity=10**30),
        with_fields(expected_total={"amount_minor": 12.5, "currency": "USD"}),
        with_fields(expected_total={"amount_minor": -1, "currency": "USD"}),
        with_fields(expected_total={"amount_minor": 1, "currency": "XXX"}),
        with_fields(iccid="4111111111111111"),
        with_fields(renewal_id="../../etc/passwd"),
        with_fields(plan_code="eu'; DROP TABLE event;--"),
        with_fields(payment={"method": "card", "mode": "charge", "currency": "USD"}),
        with_fields(requested_at="2026-11-20T08:00:00"),
        with_fields(requested_at="2026-11-20 08:00:00Z"),
        with_fields(requested_at="2026-11-20T08:00:00,5Z"),
        with_fields(requested_at="1700000000"),
        with_fields(contact=None),
        with_fields(
            payment={
                "method": "card",
                "mode": "charge",
                "currency": "USD",
                "token": "4111-1111-1111-1111",
            }
        ),
        with_fields(contact={"name": "nobody to write to"}),
    ),
}
"""Poison for whoever reads requests, by the reason of the dead letters."""

_POISON_TO_ORDERS: Final[dict[str, tuple[Spoil, ...]]] = {
    "unknown_event_type": (
        with_header("ce_type", b"billing.FreeMoneyRequested.v1"),
        with_header("ce_type", b"RenewalRequested"),
        with_header("ce_type", b"billing.PaymentCaptured.v1"),
        with_header("ce_type", b"billing.WalletCharged.v1"),
        with_header("ce_type", b"billing.PaymentConfirmed.v1"),
    ),
    "unknown_version": (
        with_header("ce_type", b"billing.RenewalRequested.v2"),
        with_header("ce_type", b"billing.RenewalRequested.v99"),
    ),
}
"""Orders answers for everything on the topic; the notifier leaves alone what it does not know."""

_BAD_CONTACTS: Final[tuple[dict[str, str], ...]] = (
    {"email": "victim@example.com\r\nBcc: everybody@example.com"},
    {"email": "no address at all"},
    {"name": "Mallory\r\nSubject: you have won"},
    {"name": "=?utf-8?q?Mallory=0d=0aBcc:_everybody=40example.com?="},
    {"time_zone": "Mars/Olympus\nMons"},
)
