"""Orders in one thread with a Stripe that remembers, behind a proxy that makes trouble."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from services.orders.order.routing import Routing
from services.orders.payments.gateways.gateway import Charge, ChargeReference, Refund
from services.orders.payments.gateways.router import GatewayRouter, OpenGateway
from services.orders.payments.gateways.stripe.client import open_client
from services.orders.payments.gateways.stripe.gateway import StripeGateway
from services.orders.ports import Ports, SandboxPorts, sandbox_ports
from services.runtime.http_access import HttpAccess, http_client
from tests.gateways.stripe_proxy import API_KEY, GOOD, StripeProxy
from tests.unit.orders.builders import NOW, POLICY, RULES
from tests.unit.orders.world import World

PATIENCE_SECONDS: Final = 0.6
BACK: Final = "https://shop.example/paid"
OWN: Final = replace(POLICY, own_gateways=frozenset({"sandbox", "stripe"}))


@asynccontextmanager
async def stripe_at(url: str, return_url: str | None) -> AsyncIterator[StripeGateway]:
    """Open Stripe as orders does."""
    access = HttpAccess(url, None, None, None)
    # An answer has twice the time-out in all.
    seconds = PATIENCE_SECONDS / 2
    http = http_client(
        access,
        ca_file=None,
        timeout_seconds=seconds,
        connections_max=4,
    )
    async with http:
        yield StripeGateway(open_client(http, SecretStr(API_KEY), url), return_url)


@dataclass(frozen=True, slots=True)
class Stripe:
    """`PaymentGateway` that opens its connection for each call: every one has a loop of its own."""

    url: str
    return_url: str | None = None

    async def charge(self, charge: Charge) -> Any:
        async with stripe_at(self.url, self.return_url) as gateway:
            return await gateway.charge(charge)

    async def look_up_charge(self, reference: ChargeReference) -> Any:
        async with stripe_at(self.url, self.return_url) as gateway:
            return await gateway.look_up_charge(reference)

    async def cancel_charge(self, reference: ChargeReference) -> Any:
        async with stripe_at(self.url, self.return_url) as gateway:
            return await gateway.cancel_charge(reference)

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> Any:
        async with stripe_at(self.url, self.return_url) as opened:
            return await opened.look_up_transaction(gateway, gateway_txn_id)

    async def refund(self, refund: Refund) -> Any:
        async with stripe_at(self.url, self.return_url) as gateway:
            return await gateway.refund(refund)

    async def look_up_refund(self, refund: Refund) -> Any:
        async with stripe_at(self.url, self.return_url) as gateway:
            return await gateway.look_up_refund(refund)


@dataclass
class StripeOrders:
    """The proxy before Stripe, and orders that are charged there or by the sandbox."""

    proxy: StripeProxy
    world: World
    sandbox: SandboxPorts
    url: str

    def token(self, number: str = GOOD) -> str:
        """Save a card for a new customer."""
        return self.proxy.save_card(number)

    def charged(self) -> list[str]:
        """Return which payments Stripe really took money for, each as often as it did."""
        return self.proxy.charged()

    def refunded(self) -> list[str]:
        """Return which payments Stripe really gave back, each as often as it did."""
        return self.proxy.refunded()


def stripe_of(orders: StripeOrders) -> Stripe:
    """Return Stripe as these orders reach it."""
    return Stripe(orders.url, BACK)


@contextmanager
def orders_with_stripe(
    folder: Path, localstripe_url: str, routing: Routing
) -> Iterator[StripeOrders]:
    """Live with Stripe and the sandbox as gateways."""
    worlds: list[World] = []

    def now() -> datetime:
        return worlds[0].now if worlds else NOW

    proxy = StripeProxy(localstripe_url, now, PATIENCE_SECONDS)
    sandboxes = sandbox_ports(folder / "outside", now, timeout_seconds=0, slow_seconds=0)
    with proxy.serving() as url, sandboxes as sandbox:
        opened = {
            "sandbox": OpenGateway(sandbox.gateway, frozenset({"sandbox"})),
            "stripe": OpenGateway(Stripe(url, BACK), frozenset({"stripe"})),
        }
        rules = replace(RULES, policy=OWN, routing=routing)
        outside = Ports(GatewayRouter(opened, "sandbox"), sandbox.provider)
        world = World(folder / "inside", rules, outside)
        worlds.append(world)
        try:
            yield StripeOrders(proxy, world, sandbox, url)
        finally:
            world.close()
