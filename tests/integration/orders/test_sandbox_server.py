"""The sandbox as a process: killed in the middle of charges, it still charges each payment once."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import pytest

from schemas.money import Money
from schemas.requests import PaymentMethod
from services.orders.effects import Outside, build_effects
from services.orders.payments.claims.transactions import MemoryClaims
from services.orders.payments.commands import RecordCharge
from services.orders.payments.gateways.gateway import (
    Captured,
    Charge,
    ChargeReference,
    Declined,
    NotFound,
    OutcomeUnknown,
    Refund,
    Refunded,
    Unavailable,
)
from services.orders.payments.gateways.http import HttpGateway
from services.orders.renewals.providers.http import HttpProvider
from services.orders.renewals.providers.provider import Activated, PlanOrder
from services.orders.sandbox_journal import GATEWAY_JOURNAL
from services.runtime.effect import EffectRun

PAYMENTS: Final = 12
PRICE: Final = Money(amount_minor=2120, currency="USD")
START_SECONDS_MAX: Final = 30


@dataclass(frozen=True, slots=True)
class Server:
    """A running sandbox server and where its journal lies."""

    process: subprocess.Popen[bytes]
    url: str
    journal: Path

    def kill(self) -> None:
        """End it without a warning."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def charged(self) -> Counter[str]:
        """Return how often each payment was really charged; a torn last line was never written."""
        lines = self.journal.read_text(encoding="utf-8").splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return Counter(entry["key"] for entry in entries if entry["kind"] == "charge")


@contextmanager
def running(folder: Path, port: int) -> Iterator[Server]:
    """Start `python -m services.orders.sandbox` and wait until it answers."""
    command = [
        sys.executable, "-m", "services.orders.sandbox", "--port", str(port),
        "--journal-folder", str(folder), "--timeout-seconds", "60", "--slow-seconds", "60",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    server = Server(process, f"http://127.0.0.1:{port}", folder / GATEWAY_JOURNAL)
    try:
        asyncio.run(_until_alive(server))
        yield server
    finally:
        server.kill()


async def _until_alive(server: Server) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(START_SECONDS_MAX):
        while True:
            assert server.process.poll() is None, "the sandbox server ended while it started"
            try:
                await client.get(f"{server.url}/livez")
            except httpx.ConnectError:
                await asyncio.sleep(0.05)
            else:
                return


@asynccontextmanager
async def connected(
    server: Server, timeout_seconds: float = 30
) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client as orders makes one."""
    async with httpx.AsyncClient(
        base_url=server.url, timeout=timeout_seconds, trust_env=False
    ) as client:
        yield client


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def charge(payment_id: str, token: str) -> Charge:
    return Charge(payment_id=payment_id, token=token, method=PaymentMethod.CARD, amount=PRICE)


def effect(number: int, *, recovered: bool) -> EffectRun:
    """Return the effect of one payment, as the runtime hands it to orders."""
    token = ("tok_timeout_after", "tok_slow", "tok_timeout_before")[number % 3]
    payload = charge(f"pay-{number}", token).model_dump(mode="json")
    attempt = 2 if recovered else 1
    return EffectRun(
        0, f"charge/{number}", "charge", "acct-1", "order/r", payload, attempt, recovered, None
    )


async def mark(checkpoint: str) -> None:
    message = f"a charge saves no checkpoint, but saved {checkpoint}"
    raise AssertionError(message)


async def charge_all(client: httpx.AsyncClient, *, recovered: bool) -> list[object]:
    """Charge all payments at once, and return what orders would record about each."""
    effects = build_effects(
        Outside(
            HttpGateway(client),
            HttpProvider(client),
            lambda: datetime.now(UTC),
            claims=MemoryClaims(),
        )
    )
    runs = [effect(number, recovered=recovered) for number in range(PAYMENTS)]
    commands = await asyncio.gather(*(effects["charge"].execute(run, mark) for run in runs))
    return [command.outcome for command in commands if isinstance(command, RecordCharge)]


async def killed_in_mid_charge(server: Server) -> list[object]:
    async with connected(server) as client:
        charging = asyncio.create_task(charge_all(client, recovered=False))
        async with asyncio.timeout(START_SECONDS_MAX):
            while len(server.charged()) < PAYMENTS * 2 // 3:  # noqa: ASYNC110 - a file of another process
                await asyncio.sleep(0.02)
        assert not charging.done()
        server.kill()
        return await charging


def test_server_killed_in_mid_charge_charges_each_payment_once(tmp_path: Path, port: int) -> None:
    with running(tmp_path, port) as server:
        outcomes = asyncio.run(killed_in_mid_charge(server))
        assert all(isinstance(outcome, OutcomeUnknown) for outcome in outcomes)
        before = server.charged()

    with running(tmp_path, port) as server:

        async def recover() -> None:
            async with connected(server, timeout_seconds=1) as client:
                gateway = HttpGateway(client)
                for number in range(PAYMENTS):
                    found = await gateway.look_up_charge(
                        ChargeReference(payment_id=f"pay-{number}")
                    )
                    expected = Captured if before[f"pay-{number}"] else NotFound
                    assert isinstance(found, expected)
                recovered = await charge_all(client, recovered=True)
            assert [isinstance(each, Captured) for each in recovered] == [
                before[f"pay-{number}"] == 1 for number in range(PAYMENTS)
            ]

        asyncio.run(recover())
        assert server.charged() == before
        assert set(before.values()) == {1}


def test_server_answers_over_http_what_the_gateway_and_provider_say(
    tmp_path: Path, port: int
) -> None:
    async def ask(server: Server) -> None:
        async with connected(server) as client:
            gateway, provider = HttpGateway(client), HttpProvider(client)
            captured = await gateway.charge(charge("pay-1", "tok_ok"))
            assert isinstance(captured, Captured)
            assert await gateway.charge(charge("pay-1", "tok_ok")) == captured
            assert isinstance(await gateway.charge(charge("pay-2", "tok_expired")), Declined)
            assert isinstance(await gateway.charge(charge("pay-3", "tok_down_1")), Unavailable)
            assert isinstance(
                await gateway.charge(charge("pay-4", "tok_error_after")), OutcomeUnknown
            )
            assert isinstance(
                await gateway.look_up_charge(ChargeReference(payment_id="pay-4")), Captured
            )
            refund = Refund(
                refund_id="ref-1",
                payment_id="pay-1",
                gateway=captured.gateway,
                gateway_txn_id=captured.gateway_txn_id,
                method=PaymentMethod.CARD,
                amount=PRICE,
            )
            refunded = await gateway.refund(refund)
            assert isinstance(refunded, Refunded)
            assert await gateway.look_up_refund(refund) == refunded
            order = PlanOrder(
                reference="act-1",
                iccid="8985203000000000001",
                plan_code="eu-day",
                quantity=1,
                validity_days=1,
            )
            activated = await provider.top_up(order)
            assert isinstance(activated, Activated)
            assert await provider.look_up("act-1") == activated

    with running(tmp_path, port) as server:
        asyncio.run(ask(server))


def test_server_that_is_gone_has_charged_nothing(tmp_path: Path, port: int) -> None:
    async def ask(server: Server) -> object:
        async with connected(server) as client:
            return await HttpGateway(client).charge(charge("pay-1", "tok_ok"))

    with running(tmp_path, port) as server:
        server.kill()
        assert isinstance(asyncio.run(ask(server)), Unavailable)
        assert server.charged() == Counter()
