"""The file of routes: read as it is meant, and refused with file, line and what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from schemas.requests import PaymentInstruction, PaymentMethod, PaymentMode
from services.orders.order.routing import Routing
from services.orders.payments.gateways.gateway import ALL_METHODS
from services.orders.payments.gateways.routing_file import load_routing
from services.runtime.errors import ConfigurationError
from tests.unit.orders.builders import CATALOGUE, NOW, by_token

EXAMPLE: Final = Path(__file__).parents[4] / "deploy" / "examples" / "routing.toml"
CARDS: Final = frozenset({PaymentMethod.CARD})
CHARGES: Final = {"http": ALL_METHODS, "stripe": CARDS}
ALL: Final = "[[route]]\ngateways = { http = 1 }\nvalid_from = 2025-01-01T00:00:00Z\n"


def loaded(folder: Path, text: str, now: datetime = NOW) -> Routing:
    path = folder / "routing.toml"
    path.write_text(text)
    return load_routing(path, CHARGES, CATALOGUE, now)


def test_example_says_what_its_comments_say() -> None:
    routing = load_routing(EXAMPLE, CHARGES, CATALOGUE, NOW)
    american = PaymentInstruction(
        method=PaymentMethod.CARD,
        mode=PaymentMode.CHARGE,
        currency="USD",
        country="US",
        token="tok_ok",
    )
    orders = [f"order/ren-{number}" for number in range(1_000)]
    chosen = [routing.gateway(american, each, NOW) for each in orders]
    assert chosen.count("stripe") in range(860, 940)
    assert chosen.count("http") == 1_000 - chosen.count("stripe")
    january = datetime(2027, 1, 1, tzinfo=UTC)
    assert {routing.gateway(american, each, january) for each in orders} == {"http"}
    assert {routing.gateway(by_token(), each, NOW) for each in orders} == {"http"}
    assert routing.default == "http"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default = 'http'", "routing.toml:1: route: "),
        (ALL, "routing.toml:1: default: "),
        (
            "default = 'http'\n" + ALL.replace("{ http", "{ bank"),
            "3: route.0.gateways: bank is not",
        ),
        ("default = 'bank'\n" + ALL, "routing.toml:1: default: bank is not configured: name one"),
        ("default = 'http'\n" + ALL.replace("1 }", "0 }"), "routing.toml:3: route.0.gateways.http"),
        (
            "default = 'http'\n" + ALL.replace("1 }", "0.5 }"),
            "routing.toml:3: route.0.gateways.http",
        ),
        ("default = 'http'\n" + ALL + "weight = 3\n", "routing.toml:5: route.0.weight: "),
        ("default = 'http'\n" + ALL + "methods = ['cash']\n", "routing.toml:5: route.0.methods"),
        ("default = 'http'\n" + ALL + "countries = ['USA']\n", "routing.toml:5: route.0.countries"),
        (
            "default = 'http'\n" + ALL + "valid_until = 2025-01-01T00:00:00Z\n",
            "routing.toml:5: route.0.valid_until: valid_until must be after valid_from",
        ),
        ("default =", "routing.toml:1: "),
        (
            "default = 'http'\n" + ALL + "currencies = ['USD', 'EUR', 'HKD', 'JPY']\n",
            "routing.toml:1: route: none takes card in CNY, which the catalogue accepts",
        ),
        (
            "default = 'http'\n" + ALL + "valid_until = 2027-01-01T00:00:00Z\n",
            "none takes card in CNY",
        ),
        (
            "default = 'http'\n" + ALL + "countries = ['US']\n",
            "none takes card in USD",
        ),
        (
            "default = 'http'\n" + ALL.replace("{ http", "{ stripe"),
            "routing.toml:3: route.0.gateways: stripe cannot charge paypal: list methods it can",
        ),
    ],
)
def test_broken_routing_is_refused_with_the_line_and_what_to_do(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, text)
    assert told in str(refused.value)


def test_routing_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set the routing path to a TOML file"):
        load_routing(tmp_path / "none.toml", CHARGES, CATALOGUE, NOW)


def test_what_no_route_took_once_is_no_fault(tmp_path: Path) -> None:
    """Rules are dated: only what may still be asked for must have a gateway."""
    since = NOW - timedelta(days=1)
    text = f"default = 'http'\n[[route]]\ngateways = {{ http = 1 }}\nvalid_from = {since.isoformat()}\n"
    assert loaded(tmp_path, text)
    with pytest.raises(ConfigurationError, match="none takes card in CNY"):
        loaded(tmp_path, text, since - timedelta(seconds=1))


def test_gateway_is_not_asked_for_methods_that_an_earlier_route_takes(tmp_path: Path) -> None:
    cards = ALL.replace("{ http", "{ stripe") + "methods = ['card']\n"
    rest = loaded(tmp_path, f"default = 'http'\n{cards}{ALL}")
    assert rest.gateway(by_token(), "order/1", NOW) == "stripe"
    with pytest.raises(ConfigurationError, match="stripe cannot charge paypal"):
        loaded(
            tmp_path, f"default = 'http'\n{cards}{ALL}".replace("['card']", "['card', 'paypal']")
        )
