"""Opens the gateway and the provider that the settings name. A further one is a line here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from schemas.requests import PaymentMethod
from services.orders.catalogue.catalogue import Catalogue
from services.orders.order.routing import Routing
from services.orders.payments.gateways.gateway import ALL_METHODS, PaymentGateway
from services.orders.payments.gateways.http import HttpGateway
from services.orders.payments.gateways.router import GatewayRouter, OpenGateway
from services.orders.payments.gateways.routing_file import load_routing
from services.orders.payments.gateways.sandbox import SandboxGateway
from services.orders.payments.gateways.stripe.capability import CHARGES as STRIPE_CHARGES
from services.orders.renewals.providers.http import HttpProvider
from services.orders.renewals.providers.provider import EsimProvider
from services.orders.renewals.providers.sandbox import SandboxProvider
from services.orders.sandbox_journal import GATEWAY_JOURNAL, PROVIDER_JOURNAL, SandboxJournal
from services.orders.settings import GatewayName, OrdersSettings
from services.runtime.errors import ConfigurationError
from services.runtime.http_access import HttpAccess, http_client

if TYPE_CHECKING:
    import httpx


CHARGES: Final[Mapping[GatewayName, frozenset[PaymentMethod]]] = {
    "sandbox": ALL_METHODS,
    "http": ALL_METHODS,
    "stripe": STRIPE_CHARGES,
}
"""The methods whose tokens each gateway charges."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world of orders."""

    gateway: PaymentGateway
    provider: EsimProvider


@dataclass(frozen=True, slots=True)
class SandboxPorts(Ports):
    """The sandboxes: their gateway can be paid, and both keep a journal."""

    gateway: SandboxGateway
    provider: SandboxProvider


@contextmanager
def sandbox_ports(
    folder: Path, clock: Callable[[], datetime], timeout_seconds: float, slow_seconds: float
) -> Iterator[SandboxPorts]:
    """Open both sandboxes, with their journals in `folder`."""
    with (
        closing(SandboxJournal(folder / GATEWAY_JOURNAL)) as charges,
        closing(SandboxJournal(folder / PROVIDER_JOURNAL)) as activations,
    ):
        yield SandboxPorts(
            SandboxGateway(charges, clock, timeout_seconds, slow_seconds),
            SandboxProvider(activations, clock, timeout_seconds, slow_seconds),
        )


def routing_of(settings: OrdersSettings, catalogue: Catalogue, now: datetime) -> Routing:
    """Return which gateway takes a payment; without a file, the only one.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    if settings.routing is None:
        (name,) = settings.gateway
        return Routing.to(name)
    charges: dict[str, frozenset[PaymentMethod]] = {
        name: CHARGES[name] for name in settings.gateway
    }
    return load_routing(settings.routing, charges, catalogue, now)


@asynccontextmanager
async def open_ports(
    settings: OrdersSettings, routing: Routing, clock: Callable[[], datetime]
) -> AsyncIterator[Ports]:
    """Open what `settings` name, and close it in the end."""
    async with AsyncExitStack() as stack:
        opened: dict[str, OpenGateway] = {
            name: OpenGateway(
                await _gateway(name, settings, clock, stack), settings.reported_by(name)
            )
            for name in sorted(settings.gateway)
        }
        router = GatewayRouter(opened, routing.default)
        yield Ports(router, await _provider(settings, clock, stack))


async def _gateway(
    name: GatewayName,
    settings: OrdersSettings,
    clock: Callable[[], datetime],
    stack: AsyncExitStack,
) -> PaymentGateway:
    match name:
        case "http":
            client = _client(settings, settings.access("gateway"))
            return HttpGateway(await stack.enter_async_context(client))
        case "stripe":
            return await _stripe(settings, stack)
        case "sandbox":
            return _sandbox(settings, clock, stack)


async def _stripe(settings: OrdersSettings, stack: AsyncExitStack) -> PaymentGateway:
    """Open Stripe. Its SDK is loaded only where it is used: it takes a second.

    Raises:
        ConfigurationError: it is not installed, or would log tokens.
    """
    try:
        from services.orders.payments.gateways.stripe.client import open_client  # noqa: PLC0415
        from services.orders.payments.gateways.stripe.gateway import StripeGateway  # noqa: PLC0415
    except ModuleNotFoundError:
        message = "install the extra `stripe`: the gateway needs Stripe's SDK"
        raise ConfigurationError(message) from None
    access = HttpAccess(settings.stripe_url, None, None, None)
    http = await stack.enter_async_context(_client(settings, access))
    client = open_client(http, settings.stripe_api_key, settings.stripe_url)
    return StripeGateway(client, settings.stripe_return_url)


def _sandbox(
    settings: OrdersSettings, clock: Callable[[], datetime], stack: AsyncExitStack
) -> SandboxGateway:
    path = settings.sandbox_journal_folder / GATEWAY_JOURNAL
    return SandboxGateway(
        stack.enter_context(closing(SandboxJournal(path))),
        clock,
        settings.sandbox_timeout_seconds,
        settings.sandbox_slow_seconds,
    )


async def _provider(
    settings: OrdersSettings, clock: Callable[[], datetime], stack: AsyncExitStack
) -> EsimProvider:
    if settings.provider == "http":
        client = _client(settings, settings.access("provider"))
        return HttpProvider(await stack.enter_async_context(client))
    path = settings.sandbox_journal_folder / PROVIDER_JOURNAL
    return SandboxProvider(
        stack.enter_context(closing(SandboxJournal(path))),
        clock,
        settings.sandbox_timeout_seconds,
        settings.sandbox_slow_seconds,
    )


def _client(settings: OrdersSettings, access: HttpAccess) -> httpx.AsyncClient:
    return http_client(
        access,
        ca_file=settings.http_ca_file,
        ca_setting="PERENNIAL_ORDERS_HTTP_CA_FILE",
        timeout_seconds=settings.http_timeout_seconds,
        connections_max=settings.effect_concurrency,
    )
