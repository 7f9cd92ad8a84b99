"""What the adapters over HTTP make of every answer, and of none: never more than the wire said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import httpx
import pytest
from pydantic import BaseModel

from schemas.orders import UnknownCause
from schemas.requests import PaymentMethod
from services.orders.payments.gateways import gateway
from services.orders.payments.gateways.gateway import Charge, ChargeReference, Refund
from services.orders.payments.gateways.http import HttpGateway
from services.orders.renewals.providers import provider
from services.orders.renewals.providers.http import HttpProvider
from services.orders.renewals.providers.provider import PlanOrder
from tests.unit.orders.builders import ICCID, usd
from tests.unit.orders.forgetful import ACTIVATED, CAPTURED, DECLINED, REFUNDED, REFUSED

CHARGE: Final = Charge(
    payment_id="p-1",
    token="tok_ok",
    method=PaymentMethod.CARD,
    amount=usd(2120),
    gateway="not-on-the-wire",
)
REFUND: Final = Refund(
    refund_id="r-1",
    payment_id="p-1",
    gateway="bank",
    gateway_txn_id="txn-9",
    method=PaymentMethod.CARD,
    amount=usd(2120),
    through="not-on-the-wire",
)
PLAN: Final = PlanOrder(
    reference="a-1", iccid=ICCID, plan_code="eu-month-basic", quantity=1, validity_days=30
)
CAUSES: Final = {cause: gateway.OutcomeUnknown(cause=cause) for cause in UnknownCause}
DOWN, ABSENT = gateway.Unavailable(), gateway.NotFound()


class Method(NamedTuple):
    """A call of a port, where it goes, and what may come back for which status."""

    call: Callable[[HttpGateway, HttpProvider], Any]
    verb: str
    path: str
    wanted: BaseModel | None
    outcomes: tuple[tuple[int, BaseModel], ...]


ACTS: Final = {
    "charge": Method(
        lambda gateway, _: gateway.charge(CHARGE),
        *("POST", "/charges", CHARGE),
        ((200, CAPTURED), (402, DECLINED), (200, DECLINED), (503, DOWN)),
    ),
    "refund": Method(
        lambda gateway, _: gateway.refund(REFUND),
        *("POST", "/refunds", REFUND),
        ((201, REFUNDED), (503, DOWN)),
    ),
    "top_up": Method(
        lambda _, provider: provider.top_up(PLAN),
        *("POST", "/top-ups", PLAN),
        ((200, ACTIVATED), (422, REFUSED), (503, provider.Unavailable())),
    ),
}
LOOK_UPS: Final = {
    "look_up_charge": Method(
        lambda gateway, _: gateway.look_up_charge(ChargeReference(payment_id="p-1")),
        *("GET", "/charges/p-1", None),
        ((200, CAPTURED), (200, DECLINED), (404, ABSENT), (503, DOWN)),
    ),
    "look_up_refund": Method(
        lambda gateway, _: gateway.look_up_refund(REFUND),
        *("GET", "/refunds/r-1", None),
        ((200, REFUNDED), (404, ABSENT), (503, DOWN)),
    ),
    "look_up": Method(
        lambda _, provider: provider.look_up("a-1"),
        *("GET", "/top-ups/a-1", None),
        ((200, ACTIVATED), (404, provider.NotFound()), (503, provider.Unavailable())),
    ),
}
METHODS: Final = ACTS | LOOK_UPS
ANSWERS: Final = [
    (name, status, outcome) for name, each in METHODS.items() for status, outcome in each.outcomes
]
BELIED: Final = {
    **dict.fromkeys(["captured", "refunded", "activated"], (302, 404, 409, 500, 503)),
    **dict.fromkeys(["declined", "refused", "not_found"], (302, 500, 502, 503)),
}
"""By outcome, statuses that say otherwise."""
CONTRADICTIONS: Final = sorted(
    {
        (name, status, outcome.model_dump_json())
        for name, _, outcome in ANSWERS
        for status in BELIED.get(json.loads(outcome.model_dump_json())["outcome"], ())
    }
)
MALFORMED: Final = [
    b"",
    b"{}",
    b"null",
    b"<html>",
    b'{"outcome": "done"}',
    b'{"outcome": "captured"}',
]
NOT_SENT: Final = [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout]
TIMED_OUT: Final = [httpx.ReadTimeout, httpx.WriteTimeout]
LOST: Final = [httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, httpx.DecodingError]


def called(name: str, answer: Callable[[httpx.Request], httpx.Response]) -> BaseModel:
    """Call a method whose request is answered so."""

    async def call() -> BaseModel:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(
            base_url="http://outside", transport=transport, timeout=60
        ) as client:
            outcome: BaseModel = await METHODS[name].call(HttpGateway(client), HttpProvider(client))
            return outcome

    return asyncio.run(call())


def saying(status: int, body: bytes) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _request: httpx.Response(status, content=in_parts(body))


async def in_parts(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body as it comes from a wire."""
    yield body


def failing(error: type[httpx.RequestError]) -> Callable[[httpx.Request], httpx.Response]:
    def fail(request: httpx.Request) -> httpx.Response:
        message = "no answer"
        raise error(message, request=request)

    return fail


def same(left: BaseModel, right: BaseModel) -> bool:
    """Compare values of the two ports, whose words are their own."""
    return left.model_dump() == right.model_dump()


@pytest.mark.parametrize(("name", "status", "outcome"), ANSWERS)
def test_answer_is_the_value_that_it_says(name: str, status: int, outcome: BaseModel) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return saying(status, outcome.model_dump_json().encode())(request)

    assert called(name, answer) == outcome
    (request,), method = asked, METHODS[name]
    assert (request.method, request.url.path) == (method.verb, method.path)
    wanted = method.wanted
    left_out = isinstance(wanted, PlanOrder)
    assert request.content == (
        b"" if wanted is None else wanted.model_dump_json(exclude_none=left_out).encode()
    )


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai"])
def test_provider_is_told_a_zone_only_where_days_are_its_calendars(zone: str | None) -> None:
    asked: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        return saying(200, ACTIVATED.model_dump_json().encode())(request)

    plan = PLAN.model_copy(update={"time_zone": zone})

    async def call() -> None:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(base_url="http://outside", transport=transport) as client:
            await HttpProvider(client).top_up(plan)

    asyncio.run(call())
    assert [each.get("time_zone", "left out") for each in asked] == [zone or "left out"]


@pytest.mark.parametrize(("name", "status", "body"), CONTRADICTIONS)
def test_status_that_belies_the_outcome_leaves_it_unknown(
    name: str, status: int, body: str
) -> None:
    expected = CAUSES[UnknownCause.GATEWAY_ERROR] if name in ACTS else DOWN
    assert same(called(name, saying(status, body.encode())), expected)


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize("name", METHODS)
def test_answer_that_says_nothing_leaves_it_unknown(name: str, status: int, body: bytes) -> None:
    expected = CAUSES[UnknownCause.GATEWAY_ERROR] if name in ACTS else DOWN
    assert same(called(name, saying(status, body)), expected)


@pytest.mark.parametrize("name", ACTS)
def test_not_found_is_no_answer_to_what_was_to_be_done(name: str) -> None:
    outcome = called(name, saying(404, b'{"outcome": "not_found"}'))
    assert same(outcome, CAUSES[UnknownCause.GATEWAY_ERROR])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((error, DOWN) for error in NOT_SENT),
        *((error, CAUSES[UnknownCause.TIMEOUT]) for error in TIMED_OUT),
        *((error, CAUSES[UnknownCause.CONNECTION_LOST]) for error in LOST),
    ],
)
@pytest.mark.parametrize("name", METHODS)
def test_without_an_answer_only_what_was_never_sent_is_known(
    name: str, error: type[httpx.RequestError], expected: BaseModel
) -> None:
    assert same(called(name, failing(error)), expected if name in ACTS else DOWN)
