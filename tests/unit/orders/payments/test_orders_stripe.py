"""Stripe's words and units in ours, and what neither a log nor a start may let out."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency
from pydantic import SecretStr

from schemas.money import Money
from schemas.orders import DeclineReason, UnknownCause
from schemas.requests import PaymentMethod
from services.orders.payments.gateways.gateway import (
    Captured,
    Charge,
    ChargeReference,
    Declined,
    Found,
    OutcomeUnknown,
    Refund,
    Unavailable,
)
from services.orders.payments.gateways.stripe.amounts import money_of, units_of
from services.orders.payments.gateways.stripe.client import ANSWER_BYTES_MAX, open_client
from services.orders.payments.gateways.stripe.declines import REASONS, reason_of
from services.orders.payments.gateways.stripe.gateway import StripeGateway
from services.runtime.errors import ConfigurationError
from tests.unit.orders.builders import NOW, usd

KEY: Final = "sk_test_hunter2"
TOKEN: Final = "cus_secret-pm_secret"
CHARGE: Final = Charge(
    payment_id="p-1", token=TOKEN, method=PaymentMethod.CARD, amount=usd(2120), gateway="stripe"
)
NAMED: Final = ChargeReference(payment_id="p-1", gateway_txn_id="pi_1")
REFERENCE: Final = ChargeReference(payment_id="p-1", since=NOW)
REFUND: Final = Refund(
    refund_id="r-1",
    payment_id="p-1",
    gateway="stripe",
    gateway_txn_id="pi_1",
    method=PaymentMethod.CARD,
    amount=usd(2120),
)
URL: Final = "https://api.stripe.example"


def asked(answer: httpx.Response | Exception, call: Any) -> tuple[Any, list[httpx.Request]]:
    """Return what a call makes of an answer, and what was sent."""
    sent: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if isinstance(answer, Exception):
            raise answer
        content = httpx.ByteStream(answer.content)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=content)

    async def ask() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(reply)) as http:
            return await call(StripeGateway(open_client(http, SecretStr(KEY), URL)))

    return asyncio.run(ask()), sent


def charge(gateway: StripeGateway) -> Any:
    return gateway.charge(CHARGE)


# -- units -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "minor", "units"),
    [
        ("USD", 2120, 2120),
        ("JPY", 500, 500),
        ("KRW", 500, 500),
        ("ISK", 500, 50_000),
        ("UGX", 7, 700),
        ("MGA", 500, 5),
        ("MGA", 520, None),
        ("KWD", 1_230, 1_230),
        ("KWD", 1_234, None),
    ],
)
def test_amount_is_counted_in_units_of_stripe(currency: str, minor: int, units: int | None) -> None:
    amount = Money(amount_minor=minor, currency=currency)
    assert units_of(amount) == units
    if units is not None:
        assert money_of(units, currency.lower()) == amount


@given(st.sampled_from([each.code for each in Currency]), st.integers(0, 10**12))
def test_what_stripe_can_charge_comes_back_as_the_same_amount(code: str, minor: int) -> None:
    try:
        amount = Money(amount_minor=minor, currency=code)
    except ValueError:
        return  # no currency that anybody pays in
    units = units_of(amount)
    assert units is None or money_of(units, code.lower()) == amount


def test_part_of_the_least_unit_is_no_amount() -> None:
    with pytest.raises(ValueError, match="a part of the least unit"):
        money_of(50_001, "isk")


# -- declines ----------------------------------------------------------------------------------------


def test_no_code_means_two_things() -> None:
    codes = [*chain.from_iterable(REASONS.values())]
    assert len(codes) == len({*codes})
    assert DeclineReason.UNKNOWN not in REASONS


@pytest.mark.parametrize(
    ("decline_code", "code", "reason"),
    [
        ("insufficient_funds", "card_declined", DeclineReason.INSUFFICIENT_FUNDS),
        ("do_not_honor", "card_declined", DeclineReason.UNKNOWN),
        (None, "expired_card", DeclineReason.EXPIRED),
        (None, "amount_too_small", DeclineReason.BELOW_MINIMUM_TOP_UP),
        ("fraudulent", "expired_card", DeclineReason.RISK_DECLINED),
        (None, None, DeclineReason.UNKNOWN),
    ],
)
def test_codes_become_a_reason_that_the_customer_is_told(
    decline_code: str | None, code: str | None, reason: DeclineReason
) -> None:
    assert reason_of(decline_code, code) is reason
    status = 402 if code not in {None, "amount_too_small"} else 400
    error = {"type": "card_error", "code": code, "decline_code": decline_code}
    answer, _ = asked(httpx.Response(status, json={"error": error}), charge)
    assert answer == Declined(reason=reason)


# -- answers -----------------------------------------------------------------------------------------

UNCLEAR: Final = OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)
ERROR: Final = {"error": {"type": "api_error"}}
REUSED: Final = {"error": {"type": "idempotency_error"}}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.Response(429, json=ERROR), Unavailable()),
        (httpx.Response(401, json=ERROR), Unavailable()),
        (httpx.Response(403, json=ERROR), Unavailable()),
        (httpx.Response(409, json=ERROR), UNCLEAR),
        (httpx.Response(400, json=REUSED), UNCLEAR),
        (httpx.Response(500, json=ERROR), UNCLEAR),
        (httpx.Response(500, text="<html>"), UNCLEAR),
        (httpx.Response(200, json={}), UNCLEAR),
        (httpx.Response(200, json={"id": "pi_1", "status": "delighted"}), UNCLEAR),
        (httpx.Response(302, headers={"location": "https://elsewhere.example"}), UNCLEAR),
        (httpx.ConnectError("no"), Unavailable()),
        (httpx.ConnectTimeout("no"), Unavailable()),
        (httpx.PoolTimeout("no"), Unavailable()),
        (httpx.ReadTimeout("no"), OutcomeUnknown(cause=UnknownCause.TIMEOUT)),
        (httpx.WriteTimeout("no"), OutcomeUnknown(cause=UnknownCause.TIMEOUT)),
        (httpx.ReadError("no"), OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)),
        (httpx.RemoteProtocolError("no"), OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)),
        (
            httpx.Response(200, content=b" " * (ANSWER_BYTES_MAX + 1)),
            OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST),
        ),
    ],
    ids=repr,
)
def test_only_what_surely_did_nothing_is_unavailable(
    answer: httpx.Response | Exception, outcome: object
) -> None:
    said, sent = asked(answer, charge)
    assert said == outcome
    assert len(sent) == 1


BOOKED: Final = {"fee": 93, "currency": "eur"}
PAID: Final[dict[str, Any]] = {
    "object": "payment_intent",
    "id": "pi_1",
    "status": "succeeded",
    "amount": 2120,
    "currency": "usd",
    "created": 1_795_000_000,
    "metadata": {"payment_id": "p-1"},
    "latest_charge": {
        "object": "charge",
        "id": "ch_1",
        "created": 1_795_000_007,
        "balance_transaction": BOOKED,
        "payment_method_details": {"type": "card"},
    },
}


def paid(**changes: Any) -> httpx.Response:
    return httpx.Response(200, json=PAID | changes)


def test_captured_payment_says_what_stripe_keeps_and_when() -> None:
    answer, _ = asked(paid(), charge)
    assert answer == Captured(
        gateway="stripe",
        gateway_txn_id="pi_1",
        amount=usd(2120),
        fee=Money(amount_minor=93, currency="EUR"),
        captured_at=datetime.fromtimestamp(1_795_000_007, UTC),
    )


@pytest.mark.parametrize(
    "latest",
    [
        "ch_1",
        None,
        PAID["latest_charge"] | {"balance_transaction": "txn_1"},
        PAID["latest_charge"] | {"balance_transaction": BOOKED | {"fee": 1, "currency": "isk"}},
        PAID["latest_charge"] | {"balance_transaction": BOOKED | {"currency": "points"}},
    ],
)
def test_payment_whose_fee_cannot_be_read_came_in_all_the_same(latest: Any) -> None:
    answer, _ = asked(paid(latest_charge=latest), charge)
    assert isinstance(answer, Captured)
    assert (answer.amount, answer.fee) == (usd(2120), None)


@pytest.mark.parametrize(
    "changes",
    [{"amount": 1, "currency": "isk"}, {"currency": "points"}, {"created": 10**18}, {"id": "?"}],
)
def test_payment_that_makes_no_sense_is_looked_up(changes: dict[str, Any]) -> None:
    latest = {} if "created" not in changes else {"latest_charge": None}
    assert asked(paid(**changes, **latest), charge)[0] == UNCLEAR
    found, _ = asked(paid(**changes, **latest), lambda gateway: gateway.look_up_charge(NAMED))
    assert found == Unavailable()


def test_shop_is_told_how_its_customer_paid() -> None:
    details = PAID["latest_charge"] | {"payment_method_details": {"type": "wechat_pay"}}
    found, _ = asked(
        paid(latest_charge=details, metadata={"reference": "order/ren-1"}),
        lambda gateway: gateway.look_up_transaction("stripe", "pi_1"),
    )
    assert isinstance(found, Found)
    assert (found.reference, found.method) == ("order/ren-1", PaymentMethod.WECHAT)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500])
def test_look_up_that_makes_no_sense_says_nothing(status: int) -> None:
    for call in (
        lambda gateway: gateway.look_up_charge(REFERENCE),
        lambda gateway: gateway.look_up_refund(REFUND),
        lambda gateway: gateway.look_up_transaction("stripe", "pi_1"),
    ):
        answer, _ = asked(httpx.Response(status, json={"object": "list", "data": 7}), call)
        assert answer == Unavailable()


def test_charge_is_off_session_and_under_the_key_of_the_payment() -> None:
    _, (sent,) = asked(httpx.Response(500, json=ERROR), charge)
    assert (sent.method, str(sent.url)) == ("POST", f"{URL}/v1/payment_intents")
    assert sent.headers["idempotency-key"] == "p-1"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    params = httpx.QueryParams(sent.content.decode())
    assert dict(params) == {
        "amount": "2120",
        "currency": "usd",
        "customer": "cus_secret",
        "payment_method": "pm_secret",
        "allowed_payment_method_types[0]": "card",
        "confirm": "true",
        "off_session": "true",
        "metadata[payment_id]": "p-1",
        "expand[0]": "latest_charge.balance_transaction",
    }


# -- secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={"id": "pi_1", "client_secret": "pi_1_secret_hunter2"}),
        httpx.Response(402, json={"error": {"type": "card_error", "message": TOKEN}}),
        httpx.Response(500, text=TOKEN),
        httpx.ReadTimeout(TOKEN),
    ],
    ids=repr,
)
def test_no_token_and_no_key_is_logged_or_printed(
    answer: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("stripe").setLevel(logging.DEBUG)
    asked(answer, charge)
    said = caplog.text + "".join(capfd.readouterr())
    assert "secret" not in said
    assert "hunter2" not in said


def test_sdk_that_is_told_to_print_requests_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_LOG", "debug")
    with pytest.raises(ConfigurationError, match="unset STRIPE_LOG"):
        asked(httpx.Response(200), charge)
