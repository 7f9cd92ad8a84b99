"""`perennial catalogue` and `perennial quote` say what orders would do, on any day."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from schemas.orders import RenewalAccepted
from services.cli.app import app
from services.orders.decider import decide
from services.orders.order.evolution import initial_state
from services.orders.renewals.commands import AcceptRenewal
from services.runtime.processor import Decision
from tests.unit.orders.builders import CATALOGUE, NOW, RULES, by_token, renewal

ON = ("--on", "2026-11-20T08:00:00Z")


def run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == exit_code, result.output
    return result.output


def read(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.mark.parametrize(
    ("quantity", "codes"), [(1, []), (3, ["WELCOME10"]), (6, []), (6, ["WELCOME10"]), (24, [])]
)
@pytest.mark.parametrize("currency", ["CNY", "USD", "EUR", "HKD", "JPY"])
def test_quote_is_what_orders_would_lock(currency: str, quantity: int, codes: list[str]) -> None:
    options = [f"--promotion={code}" for code in codes]
    found = read("quote", "eu-month-basic", "--currency", currency.lower(), "--quantity",
                 str(quantity), *options, *ON)  # fmt: skip
    request = renewal(quantity=quantity, promotion_codes=codes, payment=by_token(currency=currency))
    decision = decide(AcceptRenewal(request, NOW), initial_state(), RULES)
    assert isinstance(decision, Decision)
    (accepted,) = decision.events
    assert isinstance(accepted, RenewalAccepted)
    assert found == accepted.quote.model_dump(mode="json")


def test_quote_of_a_day_has_the_price_and_the_promotions_of_that_day() -> None:
    then = read("quote", "eu-month-basic", "--currency", "USD", "--on", "2026-02-20",
                "--promotion", "SPRING-2026")  # fmt: skip
    assert then["plan_version"] == "2025-1"
    assert then["promotions"] == ["SPRING-2026"]
    assert then["net"] == {"amount_minor": 1615, "currency": "USD"}


def test_quote_is_printed_in_the_major_unit_with_its_promotion() -> None:
    told = run("quote", "eu-month-basic", "--currency", "USD", "--promotion", "WELCOME10", *ON)
    for words in ("1 x eu-month-basic 2026-2", "20.00 USD", "discount (WELCOME10)", "19.08 USD"):
        assert words in told


@pytest.mark.parametrize(
    ("arguments", "asked", "there"),
    [
        (("no-such", "--currency", "USD"), "no plan no-such", "jp-month-basic"),
        (("jp-day-basic", "--currency", "EUR"), "price of jp-day-basic in EUR", "USD"),
        (("jp-day-basic", "--currency", "USD", "--method", "wechat"), "by wechat", "paypal"),
        (
            ("jp-day-basic", "--currency", "USD", "--method", "alipay", "--mode", "charge"),
            "by alipay/charge",
            "alipay/await_confirmation",
        ),
        (("eu-month-basic", "--currency", "USD", "--promotion", "NOPE"), "NOPE", "WELCOME10"),
        (
            ("eu-month-basic", "--currency", "USD", "--promotion", "SPRING-2026"),
            "SPRING-2026",
            "WELCOME10",
        ),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    arguments: tuple[str, ...], asked: str, there: str
) -> None:
    told = run("quote", *arguments, *ON, exit_code=1)
    assert asked in told
    assert there in told.partition(asked)[2]


@pytest.mark.parametrize(
    "day",
    [
        *["yesterday", "2026-13-01", "2026-11-20T08:00:00", "20261120"],
        *["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
    ],
)
def test_day_that_is_none_is_a_usage_error(day: str) -> None:
    assert "2026-11-20" in run("catalogue", "--on", day, exit_code=2)


def test_quantity_beyond_a_request_is_a_usage_error() -> None:
    run("quote", "eu-month-basic", "--currency", "USD", "--quantity", "25", exit_code=2)


def test_catalogue_lists_what_is_sold_and_how() -> None:
    found = read("catalogue", *ON)
    assert found["on"] == "2026-11-20T08:00:00.000000Z"
    codes = [plan["plan_code"] for plan in found["plans"]]
    assert codes == sorted({plan.code for plan in CATALOGUE.plans})
    month = next(plan for plan in found["plans"] if plan["plan_code"] == "eu-month-basic")
    assert month["plan_version"] == "2026-2"
    dollars = next(each for each in month["prices"] if each["price"]["currency"] == "USD")
    assert dollars["price"] == {"amount_minor": 2000, "currency": "USD"}
    assert (dollars["tax_rate"], dollars["tax_jurisdiction"]) == ("0.06", "US")
    assert dollars["order_maximum"] == {"amount_minor": 5_000_000, "currency": "USD"}
    assert {"method": "card", "mode": "charge"} in dollars["payments"]
    assert {"method": "alipay", "mode": "charge"} not in dollars["payments"]
    assert [each["code"] for each in month["promotions"]] == ["HALF-YEAR", "WELCOME10"]
    top_up = next(each for each in found["top_ups"] if each["minimum"]["currency"] == "USD")
    assert top_up["minimum"]["amount_minor"] == 500
    assert top_up["maximum"]["amount_minor"] == 5_000_000
    assert top_up["bonuses"][1] == {
        "amount": {"amount_minor": 5000, "currency": "USD"},
        "bonus_percentage": "10",
    }
    assert {"method": "wallet", "mode": "wallet"} not in top_up["payments"]


def test_catalogue_of_a_day_before_anything_was_sold_is_empty() -> None:
    found = read("catalogue", "--on", "2024-12-31")
    assert (found["plans"], found["top_ups"]) == ([], [])
    assert "nothing is on sale" in run("catalogue", "--on", "2024-12-31")


def test_catalogue_is_printed_as_tables() -> None:
    told = run("catalogue", *ON)
    for words in (
        "jp-month-basic",
        "20.00",
        "WELCOME10",
        "10 %",
        "5.00 USD",
        "10 % from 50.00 USD",
    ):
        assert words in told
