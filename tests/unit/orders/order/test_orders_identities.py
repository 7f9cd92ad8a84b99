"""Derived ids and keyed hashes against known answers: a gateway and a log remember the old ones."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from services.orders.order import identities
from tests.unit.orders.builders import NOW, by_token, renewal, usd

SALT = "a salt of the tests"
KNOWN = {
    "payment": "2a142fdb-b0f4-5656-811e-c4554b0846df",
    "surplus": "93388235-287b-55c3-ad90-da89b816b643",
    "activation": "f5e17b0b-7921-526a-9114-c1147192207c",
    "refund": "959b80f0-d65c-5199-b569-955f4c652bd2",
    "paid lot": "9f6a74ae-6b1b-5772-9e21-e681c44202f0",
    "bonus lot": "76543f75-bfe5-5eb8-abad-2093e77f8199",
}
CONTENT = (
    '{"account_id":"acct-1","iccid":"8985203000000000001",'
    '"payment":{"currency":"USD","method":"card","mode":"charge","token":"tok_ok"},'
    '"plan_code":"eu-month-basic","promotion_codes":[],"quantity":1,"renewal_id":"ren-1"}'
)
OTHERS: dict[str, Any] = {
    "account_id": "acct-2",
    "renewal_id": "ren-2",
    "iccid": "8985203000000000002",
    "plan_code": "jp-month-basic",
    "quantity": 2,
    "payment": by_token(token="tok_other"),
    "expected_total": usd(2120),
    "quote_expires_at": NOW,
    "promotion_codes": ["WELCOME10"],
}


def test_ids_are_those_that_were_given_out() -> None:
    assert {
        "payment": identities.payment_id("acct-1", "order/rnw-1"),
        "surplus": identities.surplus_payment_id("pay-1", "app-card", "txn-1"),
        "activation": identities.activation_id("acct-1", "order/rnw-1"),
        "refund": identities.refund_id("pay-1"),
        "paid lot": identities.lot_id("pay-1", "paid"),
        "bonus lot": identities.lot_id("pay-1", "bonus"),
    } == KNOWN


def test_hash_of_an_iccid_is_of_the_salt_and_the_iccid() -> None:
    expected = hashlib.sha256(b"a salt of the tests8985203000123456784").hexdigest()
    assert identities.esim_hash("8985203000123456784", SALT) == expected
    assert identities.esim_hash("8985203000123456784", "another") != expected


def test_digest_of_a_request_is_keyed_by_the_salt_over_its_sorted_fields() -> None:
    request = renewal()
    expected = hmac.new(SALT.encode(), CONTENT.encode(), "sha256").hexdigest()
    assert identities.request_digest(request, SALT) == expected


@pytest.mark.parametrize("field", OTHERS)
def test_field_of_a_request_is_in_its_digest(field: str) -> None:
    changed = renewal(**{field: OTHERS[field]})
    assert identities.request_digest(changed, SALT) != identities.request_digest(renewal(), SALT)


def test_every_field_is_in_the_digest_or_left_out_on_purpose() -> None:
    assert set(type(renewal()).model_fields) == {*OTHERS, "contact", "requested_at"}
