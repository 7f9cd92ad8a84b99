"""Whatever a gateway answers about a transaction, over a real connection: a value, and in bounds."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.confirmations import ConfirmationRefusal, PaymentConfirmationRefused
from schemas.money import Money
from schemas.orders import PaymentCaptured
from schemas.requests import PaymentMethod
from services.orders.effects import Outside, build_effects
from services.orders.payments.gateways.gateway import (
    Charge,
    Found,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    TransactionLookUp,
    Unavailable,
)
from services.orders.payments.gateways.http import HttpGateway
from services.runtime.http_access import ANSWER_BYTES_MAX, HttpAccess, http_client
from services.runtime.processor import Effect
from tests.unit.orders.builders import NOW, in_app
from tests.unit.orders.steps import ORDER, ask, hint
from tests.unit.orders.world import World

SECONDS: Final = 0.4
SECONDS_MAX: Final = 5.0
"""Far above what is allowed, twice `SECONDS`: a busy machine is slow, a hole has no end."""
MEMORY_MAX: Final = 8 * 1024 * 1024
HELD: Final = {
    "outcome": "found",
    "gateway": "app-gateway",
    "gateway_txn_id": "txn-1",
    "reference": ORDER,
    "status": "captured",
    "amount": {"amount_minor": 2120, "currency": "USD"},
    "method": "card",
    "captured_at": "2026-11-20T08:00:00Z",
}
BOMB: Final = gzip.compress(bytes(64 * 1024 * 1024))
Writer = asyncio.StreamWriter
Script = Callable[[Writer], Awaitable[None]]


@dataclass
class Gateway:
    """A server that reads a request and then does what it is told."""

    port: int
    asked: list[bytes]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[HttpGateway]:
        access = HttpAccess(f"http://127.0.0.1:{self.port}", None, None, None)
        async with http_client(
            access,
            ca_file=None,
            timeout_seconds=SECONDS,
            connections_max=4,
        ) as client:
            yield HttpGateway(client)


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Gateway]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            await script(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Gateway(server.sockets[0].getsockname()[1], asked)
    finally:
        server.close()


def saying(body: bytes, status: int = 200, headers: str = "", length: int | None = None) -> Script:
    """Return a script that answers at once."""

    async def answer(writer: Writer) -> None:
        size = len(body) if length is None else length
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: {size}\r\n{headers}\r\n".encode() + body
        )

    return answer


def held(**changes: Any) -> bytes:
    return json.dumps({**HELD, **changes}).encode()


def look_up(script: Script) -> TransactionLookUp:
    async def ask_it() -> TransactionLookUp:
        async with serving(script) as server, server.client() as gateway:
            return await gateway.look_up_transaction("app-gateway", "txn-1")

    return asyncio.run(ask_it())


def test_an_answer_in_full_is_the_value_that_it_says() -> None:
    found = look_up(saying(held()))
    assert found == Found.model_validate_json(held())
    assert look_up(saying(b'{"outcome": "not_found"}', 404)) == NotFound()
    assert look_up(saying(b'{"outcome": "not_supported"}', 501)) == NotSupported()
    assert look_up(saying(b'{"outcome": "unavailable"}', 503)) == Unavailable()


MONEY: Final = {"amount_minor": 2120, "currency": "USD"}
NO_ANSWERS: Final[dict[str, Script]] = {
    "nothing": saying(b""),
    "no JSON": saying(b"<html>gateway</html>"),
    "half of it": saying(held()[:60]),
    "cut off": saying(held(), length=5_000),
    "not utf-8": saying(b"\xff\xfe" + held()),
    "deep": saying(b"[" * 30_000 + b"]" * 30_000),
    "a long number": saying(b'{"outcome": "found", "amount": ' + b"9" * 30_000 + b"}"),
    "a list": saying(b"[" + held() + b"]"),
    "another outcome": saying(held(outcome="captured")),
    "no outcome": saying(b"{}"),
    "a field too many": saying(held(admin=True)),
    "negative": saying(held(amount=MONEY | {"amount_minor": -1})),
    "a fraction": saying(held(amount=MONEY | {"amount_minor": 2120.5})),
    "a text for an amount": saying(held(amount=MONEY | {"amount_minor": "2120"})),
    "too much": saying(held(amount=MONEY | {"amount_minor": 10**15 + 1})),
    "beyond 64 bits": saying(held(amount=MONEY | {"amount_minor": 10**30})),
    "no such currency": saying(held(amount=MONEY | {"currency": "XXX"})),
    "no currency": saying(held(amount={"amount_minor": 2120})),
    "a status of its own": saying(held(status="refunded")),
    "a time before time": saying(held(captured_at="0001-01-01T00:00:00+14:00")),
    "another transaction": saying(held(gateway_txn_id="txn-2")),
    "another gateway": saying(held(gateway="app-gateway-2")),
    "another spelling": saying(held(gateway_txn_id="TXN-1")),
    "a reference without end": saying(held(reference="x" * 257)),
    "not found, says a page": saying(b"<html>404</html>", 404),
    "found, with an error": saying(held(), 500),
    "found, and not": saying(held(), 404),
    "found elsewhere": saying(held(), 302, "location: http://169.254.0.1/\r\n"),
    "not found, with an error": saying(b'{"outcome": "not_found"}', 502),
    "compressed": saying(gzip.compress(held()), headers="content-encoding: gzip\r\n"),
    "larger than any answer": saying(held(reference="") + b" " * ANSWER_BYTES_MAX),
    "no HTTP": lambda writer: _write(writer, b"SSH-2.0-OpenSSH_9\r\n"),
    "headers without end": lambda writer: _write(
        writer, b"HTTP/1.1 200 X\r\n" + b"a: b\r\n" * 90_000
    ),
    "a connection that closes": lambda writer: _write(writer, b""),
}


async def _write(writer: Writer, what: bytes) -> None:
    writer.write(what)


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_is_unavailable_and_asked_again(name: str) -> None:
    assert look_up(NO_ANSWERS[name]) == Unavailable()


async def _endless(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        await writer.drain()


async def _bomb(writer: Writer) -> None:
    await saying(BOMB, headers="content-encoding: gzip\r\n")(writer)


async def _silent(_writer: Writer) -> None:
    await asyncio.sleep(60)


async def _dripping_body(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 60000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(SECONDS / 8)


async def _dripping_headers(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 X\r\n")
    while True:
        writer.write(b"a: b\r\n")
        await writer.drain()
        await asyncio.sleep(SECONDS / 8)


CHARGE: Final = Charge(
    payment_id="p", token="t", method=PaymentMethod.CARD, amount=Money.model_validate(MONEY)
)


@pytest.mark.parametrize("script", [_endless, _bomb, _silent, _dripping_body, _dripping_headers])
def test_an_answer_without_end_costs_little_memory_and_time(script: Script) -> None:
    async def ask_it() -> tuple[object, object]:
        async with serving(script) as server, server.client() as gateway:
            async with asyncio.timeout(SECONDS_MAX):
                found = await gateway.look_up_transaction("app-gateway", "txn-1")
            async with asyncio.timeout(SECONDS_MAX):
                return found, await gateway.charge(CHARGE)

    tracemalloc.start()
    try:
        found, charged = asyncio.run(ask_it())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == Unavailable()
    assert isinstance(charged, OutcomeUnknown)
    assert most < MEMORY_MAX


@pytest.mark.parametrize(
    ("status", "answer"), [(500, "captured"), (302, "captured"), (500, "declined")]
)
def test_a_charge_whose_status_and_outcome_differ_is_looked_up(status: int, answer: str) -> None:
    said = {k: v for k, v in HELD.items() if k not in {"reference", "status", "method"}}
    body = {"outcome": "declined", "reason": "expired"} if answer == "declined" else said
    body |= {"outcome": answer}

    async def ask_it() -> object:
        script = saying(json.dumps(body).encode(), status)
        async with serving(script) as server, server.client() as gateway:
            return await gateway.charge(CHARGE)

    assert isinstance(asyncio.run(ask_it()), OutcomeUnknown)


# -- and what orders makes of it -------------------------------------------------------------------


def decided(folder: Path, body: bytes, status: int = 200) -> World:
    """Confirm a payment whose gateway answers this."""
    world = World(folder)

    async def confirm(run: Any, mark: Any) -> object:
        async with serving(saying(body, status)) as server, server.client() as gateway:
            effects = build_effects(
                Outside(gateway, world.ports.provider, lambda: world.now, claims=world.claims)
            )
            return await effects["confirm"].execute(run, mark)

    ask(world, payment=in_app())
    hint(world)
    (look_up_effect,) = [key for key, each in world.effects.items() if each.kind == "confirm"]
    effects = {**world.processor.effects, "confirm": Effect(confirm)}
    world.processor = replace(world.processor, effects=effects)
    world.execute(look_up_effect)
    world.close()
    return world


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"reference": "order/ren-2"}, ConfirmationRefusal.ANOTHER_REFERENCE),
        ({"reference": "topup/ren-1"}, ConfirmationRefusal.ANOTHER_REFERENCE),
        ({"reference": ""}, ConfirmationRefusal.ANOTHER_REFERENCE),
        ({"reference": "order/ren-1\u0000"}, ConfirmationRefusal.ANOTHER_REFERENCE),
        ({"status": "not_captured"}, ConfirmationRefusal.NOT_CAPTURED),
    ],
)
def test_what_the_gateway_does_not_hold_for_the_order_is_refused(
    tmp_path: Path, changes: dict[str, Any], refusal: ConfirmationRefusal
) -> None:
    world = decided(tmp_path, held(**changes))
    (refused,) = [each for each in world.events if isinstance(each, PaymentConfirmationRefused)]
    assert refused.reason is refusal
    assert "PaymentCaptured" not in world.names()
    assert world.claims.owners == {}


@pytest.mark.parametrize(
    "amount",
    [{"amount_minor": 2120, "currency": "EUR"}, {"amount_minor": 1, "currency": "USD"}],
)
def test_another_amount_or_currency_buys_nothing_and_is_owed_back(
    tmp_path: Path, amount: dict[str, Any]
) -> None:
    world = decided(tmp_path, held(amount=amount))
    assert world.names()[-3:] == ["PaymentCaptured", "ActivationFailed", "RefundInstructed"]
    captured = next(each for each in world.events if isinstance(each, PaymentCaptured))
    assert captured.amount == Money.model_validate(amount)
    (refund,) = [each for each in world.effects.values() if each.kind == "refund"]
    assert refund.payload["amount"] == amount


@pytest.mark.parametrize(("body", "status"), [(b"<html>", 404), (held(), 503), (b"", 200)])
def test_no_answer_leaves_the_order_as_it_is_and_is_asked_again(
    tmp_path: Path, body: bytes, status: int
) -> None:
    world = decided(tmp_path, body, status)
    assert world.names() == ["RenewalAccepted", "PaymentConfirmationReceived"]
    (again,) = [each for each in world.effects.values() if each.kind == "confirm"]
    assert again.due_at is not None
    assert again.due_at > NOW
