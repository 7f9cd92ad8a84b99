"""Orders as a process with two gateways: what Stripe does is what the topics say, after crashes, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from deploy.local.processes import Child
from schemas.requests import PaymentInstruction
from services.orders.order.routing import Routing
from services.runtime.toml.toml_file import read_toml
from tests.faults.requests import card_renewal
from tests.gateways.stripe_proxy import API_KEY, GOOD, StripeProxy, Trouble
from tests.infrastructure.system import System

PATIENCE_SECONDS: Final = 2.0
ROUTES: Final = """
default = "sandbox"

[[route]]
methods = ["card"]
gateways = { sandbox = 1, stripe = 1 }
valid_from = 2025-01-01T00:00:00Z

[[route]]
gateways = { sandbox = 1 }
valid_from = 2025-01-01T00:00:00Z
"""
TROUBLES: Final = [Trouble.CUT_AFTER, None, Trouble.TWICE, Trouble.ERROR_AFTER, Trouble.SLOW, None]
ORDERS: Final = 16
CONFIGURATION: Final = 78


class Shop(NamedTuple):
    """Stripe behind its proxy, and orders with two gateways."""

    system: System
    proxy: StripeProxy
    routing: Routing
    settings: dict[str, Any]

    def start(self, **settings: Any) -> Child:
        return self.system.start("orders", **(self.settings | settings))

    def ask(self, count: int, name: str, *, ending: str = "0000") -> list[str]:
        """Ask for renewals; return the ids of those that Stripe is to charge."""
        wanted = []
        for number in range(count):
            request = card_renewal(number, name, token="tok_ok", ending=ending)
            payment = PaymentInstruction.model_validate_json(json.dumps(request["payment"]))
            stream_id = f"order/{request['renewal_id']}"
            if self.routing.gateway(payment, stream_id, datetime.now(UTC)) == "stripe":
                request["payment"]["token"] = self.proxy.save_card(GOOD)
                wanted.append(request["renewal_id"])
            self.system.publish("RenewalRequested", request, prefix=request["renewal_id"])
        return sorted(wanted)


@pytest.fixture
def shop(system: System, localstripe_url: str, tmp_path: Path) -> Iterator[Shop]:
    path, key = tmp_path / "routing.toml", tmp_path / "key"
    path.write_text(ROUTES)
    key.write_text(f"{API_KEY}\n")
    proxy = StripeProxy(localstripe_url, lambda: datetime.now(UTC), PATIENCE_SECONDS)
    with proxy.serving() as url:
        settings = {
            "GATEWAY": "sandbox,stripe",
            "ROUTING": path,
            "STRIPE_URL": url,
            "STRIPE_API_KEY_FILE": key,
            "HTTP_TIMEOUT_SECONDS": PATIENCE_SECONDS / 2,
            "EFFECT_LEASE_SECONDS": 2,
            "UNKNOWN_LOOK_UP_SECONDS": 0.5,
            "UNKNOWN_SETTLE_SECONDS": 3,
            "REFUND_RETRY_SECONDS": 0.5,
        }
        yield Shop(system, proxy, read_toml(path, "routing").validated(Routing), settings)


def test_every_order_is_charged_once_where_its_gateway_is_though_orders_is_killed(
    shop: Shop,
) -> None:
    system, child = shop.system, shop.start()
    shop.proxy.troubles.extend(TROUBLES)
    at_stripe = shop.ask(ORDERS, "killed")
    assert 0 < len(at_stripe) < ORDERS
    system.wait_for("some are charged", lambda: len(shop.proxy.charged()) > 1)
    child.kill()
    shop.start(wait=False)

    system.wait_for(
        "all are active", lambda: len(system.events("orders", "PlanActivated")) == ORDERS
    )

    captured = system.events("orders", "PaymentCaptured")
    by_stripe = {each["payment_id"]: each for each in captured if each["gateway"] == "stripe"}
    assert sorted(each["renewal_id"] for each in by_stripe.values()) == at_stripe
    assert len(captured) == ORDERS
    assert shop.proxy.charged() == sorted(by_stripe)
    accepted = system.events("orders", "RenewalAccepted")
    assert {each["renewal_id"] for each in accepted if each["gateway"] == "stripe"} == {*at_stripe}
    assert API_KEY not in child.log.read_text()
    assert "pm_" not in child.log.read_text()


def test_money_goes_back_through_the_gateway_that_took_it_though_the_routes_have_changed(
    shop: Shop, tmp_path: Path
) -> None:
    system = shop.system
    child = shop.start()
    shop.proxy.refuses_refunds_as = "rate_limit"
    at_stripe = shop.ask(ORDERS, "refunded", ending="9001")
    system.wait_for(
        "all are owed", lambda: len(system.events("orders", "ActivationFailed")) == ORDERS
    )
    assert shop.proxy.refunded() == []
    child.stop()
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(ROUTES.replace("stripe = 1", "sandbox = 2").replace("sandbox = 1, ", ""))
    shop.proxy.refuses_refunds_as = None
    shop.proxy.troubles.extend([Trouble.CUT_AFTER, Trouble.TWICE, Trouble.ERROR_AFTER])
    shop.start(ROUTING=elsewhere)

    system.wait_for(
        "all went back", lambda: len(system.events("orders", "RefundCompleted")) == ORDERS
    )

    returned = system.events("orders", "RefundCompleted")
    by_stripe = {each["payment_id"]: each for each in returned if each["gateway"] == "stripe"}
    assert sorted(each["renewal_id"] for each in by_stripe.values()) == at_stripe
    assert shop.proxy.refunded() == shop.proxy.charged() == sorted(by_stripe)


def test_gateway_that_payments_need_is_not_taken_away(shop: Shop) -> None:
    system = shop.system
    child = shop.start(CHARGE_WINDOW_SECONDS=600)
    shop.proxy.look_ups_are_down = True
    shop.proxy.troubles.extend([Trouble.CUT_AFTER] * ORDERS)
    at_stripe = shop.ask(ORDERS, "unknown")
    system.wait_for(
        "all are unknown",
        lambda: len(system.events("orders", "PaymentOutcomeUnknown")) == len(at_stripe),
    )
    child.stop()

    refused = system.start("orders", wait=False, GATEWAY="sandbox", **WITHOUT)

    assert refused.popen.wait(60) == CONFIGURATION
    said = json.loads(refused.log.read_text().splitlines()[-1])["error"]
    assert said.startswith(f"payments are under way at stripe ({len(at_stripe)}, such as order/")
    shop.proxy.look_ups_are_down = False
    child = shop.start()
    system.wait_for(
        "all are active", lambda: len(system.events("orders", "PlanActivated")) == ORDERS
    )
    child.stop()
    system.start("orders", GATEWAY="sandbox", **WITHOUT)
    assert len(shop.proxy.charged()) == len(at_stripe)


WITHOUT: Final[dict[str, Any]] = {"EFFECT_LEASE_SECONDS": 2}
