"""What orders refuses before it starts, and how it talks to the gateway and the provider."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from services.orders.order.routing import Routing
from services.orders.payments.gateways.gateway import ChargeReference, Unavailable
from services.orders.payments.gateways.router import GatewayRouter
from services.orders.ports import Ports, open_ports
from services.orders.settings import OrdersSettings
from services.runtime.errors import ConfigurationError
from services.runtime.http_access import http_client
from services.runtime.settings import load_settings

PREFIX = "PERENNIAL_ORDERS_"
LEAST = {
    "POSTGRES_DSN": "postgresql://perennial_orders@127.0.0.1/perennial",
    "BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "ESIM_HASH_SALT": "salt-for-tests",
    "GATEWAY_URL": "https://gateway.example.com/v1",
    "PROVIDER_URL": "https://provider.example.com",
}


STRIPE = {"STRIPE_API_KEY": "rk_live_hunter2"}


def settings(*, environment: str | None = None, **changed: str) -> OrdersSettings:
    values = {f"{PREFIX}{name}": value for name, value in (LEAST | changed).items() if value}
    return load_settings(
        OrdersSettings,
        values | ({"PERENNIAL_ENVIRONMENT": environment} if environment else {}),
    )


def opened(loaded: OrdersSettings) -> AbstractAsyncContextManager[Ports]:
    return open_ports(loaded, Routing.to("http"), lambda: pytest.fail("no clock is needed"))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"GATEWAY_URL": ""}, "set GATEWAY_URL"),
        ({"PROVIDER_URL": ""}, "set PROVIDER_URL"),
        ({"GATEWAY": "sandbox"}, "GATEWAY=sandbox is for demonstrations"),
        ({"PROVIDER": "sandbox"}, "PROVIDER=sandbox is for demonstrations"),
        ({"GATEWAY_URL": "http://gateway.example.com"}, "set GATEWAY_URL to an https:// address"),
        ({"PROVIDER_URL": "http://10.0.0.7"}, "set PROVIDER_URL to an https:// address"),
        ({"GATEWAY_URL": "ftp://gateway.example.com"}, f"{PREFIX}GATEWAY_URL is wrong"),
        ({"GATEWAY_URL": "https://u:hunter2@gateway.example.com"}, "_TOKEN_FILE"),
        ({"GATEWAY_USERNAME": "shop"}, "GATEWAY_PASSWORD_FILE"),
        ({"PROVIDER_PASSWORD": "hunter2"}, "PROVIDER_USERNAME"),
        (
            {
                "GATEWAY_TOKEN": "hunter2",
                "GATEWAY_USERNAME": "shop",
                "GATEWAY_PASSWORD": "hunter2",
            },
            "not both",
        ),
        ({"TRUST_CONFIRMATIONS_OF": "bank"}, "set GATEWAY_NAMES to the names"),
        ({"GATEWAY": "paypal"}, f"{PREFIX}GATEWAY_0 is wrong"),
        ({"GATEWAY": ","}, f"{PREFIX}GATEWAY is wrong"),
        ({"GATEWAY": "http,stripe", **STRIPE}, "set ROUTING to a file that says which"),
        ({"GATEWAY": "http,stripe", **STRIPE, "ROUTING": "r.toml"}, "set GATEWAY_NAMES"),
        ({"GATEWAY": "stripe"}, "set STRIPE_API_KEY_FILE"),
        ({"GATEWAY": "stripe", "STRIPE_API_KEY": "hunter2"}, "set STRIPE_API_KEY_FILE"),
        ({"GATEWAY": "stripe", "STRIPE_API_KEY": "sk_test_hunter2"}, "a test key of Stripe is for"),
        ({**STRIPE, "GATEWAY": "stripe", "STRIPE_URL": "http://stripe.example"}, "set STRIPE_URL"),
        (
            {**STRIPE, "GATEWAY": "stripe", "TRUST_CONFIRMATIONS_OF": "stripe"},
            "take stripe out of TRUST_CONFIRMATIONS_OF: it charges",
        ),
        ({"GATEWAY": "http,sandbox"}, "GATEWAY=sandbox is for demonstrations"),
        (
            {"TRUST_CONFIRMATIONS_OF": "bank, stripe", "GATEWAY_NAMES": "paypal,stripe"},
            "take stripe out of TRUST_CONFIRMATIONS_OF: it charges",
        ),
    ],
)
def test_a_start_that_would_lose_money_or_secrets_is_refused_with_what_to_do(
    changed: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(**changed)
    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_demo_may_use_the_sandbox_and_production_is_the_default() -> None:
    assert settings().perennial_environment == "production"
    assert settings(environment="demo", GATEWAY="sandbox", PROVIDER="sandbox").gateway == {
        "sandbox"
    }
    with pytest.raises(ConfigurationError, match="PERENNIAL_ENVIRONMENT is wrong"):
        settings(environment="staging")


def test_a_gateway_that_charges_is_never_believed_without_being_asked() -> None:
    trusting = settings(TRUST_CONFIRMATIONS_OF="bank", GATEWAY_NAMES="stripe, paypal")
    assert trusting.trust_confirmations_of == {"bank"}
    demo: dict[str, str] = {"GATEWAY": "sandbox", "PROVIDER": "sandbox"}
    assert settings(environment="demo", TRUST_CONFIRMATIONS_OF="bank", **demo)
    with pytest.raises(ConfigurationError, match="take sandbox out of TRUST_CONFIRMATIONS_OF"):
        settings(environment="demo", TRUST_CONFIRMATIONS_OF="bank,sandbox", **demo)


def test_live_key_of_stripe_is_for_production_alone() -> None:
    live = settings(GATEWAY="stripe", GATEWAY_URL="", **STRIPE)
    assert live.own_gateways == {"stripe"}
    assert "hunter2" not in repr(live)
    sandbox = {"GATEWAY": "stripe", "PROVIDER": "sandbox"}
    with pytest.raises(ConfigurationError, match="a live key of Stripe moves money"):
        settings(environment="demo", **sandbox, **STRIPE)
    assert settings(environment="demo", **sandbox, STRIPE_API_KEY="sk_test_hunter2")


async def test_stripe_and_another_gateway_are_open_side_by_side() -> None:
    loaded = settings(GATEWAY="http, stripe", GATEWAY_NAMES="acme", ROUTING="any.toml", **STRIPE)
    assert loaded.own_gateways == {"acme", "stripe"}
    async with opened(loaded) as ports:
        router = ports.gateway
        assert isinstance(router, GatewayRouter)
        assert {name: each.reported for name, each in router.opened.items()} == {
            "http": {"acme"},
            "stripe": {"stripe"},
        }


def test_http_on_this_machine_needs_no_tls() -> None:
    for host in ("127.0.0.1:8080", "localhost", "[::1]:8080"):
        assert settings(GATEWAY_URL=f"http://{host}").gateway_url == f"http://{host}"


class Redirecting(BaseHTTPRequestHandler):
    """Sends everybody elsewhere, and keeps what it was asked."""

    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["authorization"]))
        self.send_response(307)
        self.send_header("location", "/taken")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def redirecting() -> Iterator[str]:
    Redirecting.seen.clear()
    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        ({"GATEWAY_TOKEN": "hunter2"}, "Bearer hunter2"),
        ({"GATEWAY_USERNAME": "shop", "GATEWAY_PASSWORD": "hunter2"}, "Basic c2hvcDpodW50ZXIy"),
    ],
)
async def test_credentials_go_to_the_gateway_and_after_no_redirect(
    tmp_path: Path, redirecting: str, credentials: dict[str, str], sent: str
) -> None:
    files = {}
    for name, value in credentials.items():
        (tmp_path / name).write_text(f"{value}\n")
        files[f"{name}_FILE"] = str(tmp_path / name)
    loaded = settings(GATEWAY_URL=redirecting, **files)
    assert "hunter2" not in repr(loaded)
    async with opened(loaded) as ports:
        assert await ports.gateway.look_up_charge(ChargeReference(payment_id="1")) == Unavailable()
    assert Redirecting.seen == [("/v1/charges/1", sent)]


async def test_each_port_has_credentials_of_its_own() -> None:
    loaded = settings(GATEWAY_TOKEN="hunter2")
    assert loaded.access("provider").token is None
    async with opened(loaded) as ports:
        assert "authorization" not in ports.provider.client.headers  # type: ignore[attr-defined]


def test_file_of_authorities_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="HTTP_CA_FILE"):
        http_client(
            settings().access("gateway"),
            ca_file=tmp_path / "none",
            ca_setting="PERENNIAL_ORDERS_HTTP_CA_FILE",
            timeout_seconds=1,
            connections_max=1,
        )
