"""The catalogue that ships is complete, and a broken one is refused with file, line and reason."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.catalogue import PlanKind, PlanTier
from schemas.requests import PaymentMethod, PaymentMode
from services.orders.catalogue.catalogue import LANGUAGES
from services.orders.catalogue.catalogue_file import load_catalogue
from services.orders.catalogue.pricing import percentage_of, share_of
from services.runtime.errors import ConfigurationError
from tests.unit.orders.builders import CATALOGUE, NOW

SMALL = """\
renewable_iccid_prefixes = ["8985203"]

[[tax]]
currency = "USD"
jurisdiction = "US"
rate = "0.06"
valid_from = 2025-01-01T00:00:00Z

[[maximum]]
currency = "USD"
amount_minor = 9000
valid_from = 2025-01-01T00:00:00Z

[[payment]]
method = "card"
mode = "charge"
currencies = ["USD"]

[[plan]]
code = "eu-day"
version = "1"
valid_from = 2025-01-01T00:00:00Z
region = "europe"
kind = "day"
tier = "basic"
validity_days = 1
allowance = { data_mib = 512 }
title = { zh-Hans = "a", zh-Hant = "b", en = "c" }
price = { USD = 190 }

[[promotion]]
code = "TEN"
percentage = "10"
automatic = false
valid_from = 2025-01-01T00:00:00Z
valid_until = 2026-01-01T00:00:00Z

[[top_up]]
rule_id = "usd"
version = "1"
currency = "USD"
valid_from = 2025-01-01T00:00:00Z
minimum_minor = 500
tiers = [
  { from_minor = 2000, bonus_percentage = "3" },
  { from_minor = 5000, bonus_percentage = "10" },
]
"""
SECOND_PLAN = SMALL[SMALL.index("[[plan]]") : SMALL.index("[[promotion]]")]
SECOND_PROMOTION = SMALL[SMALL.index("[[promotion]]") : SMALL.index("[[top_up]]")]
SECOND_TAX = SMALL[SMALL.index("[[tax]]") : SMALL.index("[[maximum]]")]
SECOND_MAXIMUM = SMALL[SMALL.index("[[maximum]]") : SMALL.index("[[payment]]")]


def refusal(tmp_path: Path, text: str) -> tuple[int, str]:
    """Return the line of the first fault, and what is wrong there."""
    path = tmp_path / "catalogue.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_catalogue(path)
    faults = [each.removeprefix(f"{path}:") for each in str(caught.value).splitlines()]
    line = faults[0].partition(":")[0]
    return int(line), "\n".join(each for each in faults if each.startswith(f"{line}:"))


def line_of(text: str, part: str, nth: int = 1) -> int:
    numbers = [n for n, line in enumerate(text.splitlines(), start=1) if part in line]
    return numbers[nth - 1]


def test_shipped_catalogue_offers_what_the_product_promises() -> None:
    plans = {plan.code: plan for plan in CATALOGUE.plans}.values()
    assert len(plans) >= 24
    assert {plan.kind for plan in plans} == set(PlanKind)
    assert {plan.tier for plan in plans} == set(PlanTier)
    assert {plan.region for plan in plans} == {"europe", "south-east-asia", "japan", "global"}
    sold = Counter(currency for plan in plans for currency in plan.price)
    assert set(sold) == {"CNY", "USD", "EUR", "HKD", "JPY"}
    assert any(count < len(plans) for count in sold.values())
    assert all(set(plan.title) == set(LANGUAGES) for plan in plans)


def test_every_currency_sold_can_be_topped_up_and_paid() -> None:
    for currency in {currency for plan in CATALOGUE.plans for currency in plan.price}:
        assert CATALOGUE.top_up_rule(currency, NOW)
        assert CATALOGUE.accepts(PaymentMethod.CARD, PaymentMode.CHARGE, currency)
        assert CATALOGUE.accepts(PaymentMethod.WALLET, PaymentMode.WALLET, currency)


def test_look_up_takes_the_version_of_the_moment() -> None:
    change = NOW.replace(month=7, day=1, hour=0)
    before = CATALOGUE.plan("eu-month-basic", change - timedelta(microseconds=1))
    after = CATALOGUE.plan("eu-month-basic", change)
    assert before
    assert after
    assert (before.version, after.version) == ("2025-1", "2026-2")
    assert CATALOGUE.plan("eu-month-basic", NOW.replace(year=2024)) is None
    assert CATALOGUE.plan_version("eu-month-basic", "2025-1") == before


def test_withdrawn_plan_is_not_sold_and_still_known(tmp_path: Path) -> None:
    text = SMALL.replace(
        'version = "1"\nvalid_from = 2025-01-01T00:00:00Z\nregion',
        'version = "1"\nvalid_from = 2025-01-01T00:00:00Z\n'
        "valid_until = 2026-01-01T00:00:00Z\nregion",
    )
    path = tmp_path / "catalogue.toml"
    path.write_text(text, encoding="utf-8")
    catalogue = load_catalogue(path)
    assert catalogue.plan("eu-day", NOW) is None
    assert catalogue.plan_version("eu-day", "1")


@pytest.mark.parametrize(
    ("amount_minor", "percentage", "share"),
    [(1, "50", 1), (3, "50", 2), (999, "0", 0), (1999, "7.5", 150), (1000, "12.55", 126)],
)
def test_percentages_round_half_up_once(amount_minor: int, percentage: str, share: int) -> None:
    assert percentage_of(amount_minor, percentage) == share


def test_rates_round_half_up_once() -> None:
    assert [share_of(amount, "0.06") for amount in (8, 9, 25, 2000)] == [0, 1, 2, 120]


@pytest.mark.parametrize(
    ("old", "new", "place", "reason"),
    [
        ("price = { USD = 190 }", "price = { XYZ = 190 }", "price =", "unknown currency"),
        ("price = { USD = 190 }", "price = { USD = -190 }", "price =", "or more"),
        ("price = { USD = 190 }", "price = { USD = 1.90 }", "price =", "a whole number"),
        ("price = { USD = 190 }", "price = { USD = 190, EUR = 170 }", "price =", "no tax rate"),
        ("price = { USD = 190 }\n", "", "[[plan]]", "is missing"),
        ("price = { USD = 190 }", "price = { USD = 9001 }", "price =", "above the maximum"),
        ("minimum_minor = 500\n", "minimum_minor = 9001\n", "minimum_minor", "above the maximum"),
        ("amount_minor = 9000\n", "amount_minor = 0\n", "amount_minor", "or more"),
        ("amount_minor = 9000", "amount_minor = 100_000_000_001", "amount_minor", "or less"),
        (SECOND_MAXIMUM, "", "renewable", "is missing"),
        (SECOND_MAXIMUM, SECOND_MAXIMUM.replace("2025", "2026"), "price =", "no maximum for USD"),
        ('zh-Hant = "b", ', "", "title =", "missing in zh-Hant"),
        ('en = "c"', 'en = " "', "title =", "missing in en"),
        ('rate = "0.06"', "rate = 0.06", "rate =", "must be text"),
        ('rate = "0.06"', 'rate = "six"', "rate =", "a decimal below 100"),
        ('percentage = "10"', 'percentage = "-10"', "percentage =", "a decimal below 100"),
        ('kind = "day"', 'kind = "week"', "kind =", "must be day, data, month or year"),
        ("validity_days = 1", "validity_days = 0", "validity_days =", "or more"),
        ("automatic = false", "automatic = false\ncolour = 1", "colour", "is not known here"),
        ("valid_until = 2026", "valid_until = 2024", "valid_until", "after valid_from"),
        ('"8985203"]', '"1234"]', "renewable_iccid_prefixes", "89"),
        (
            "minimum_minor = 500\n",
            "minimum_minor = 500\nbonus_expiry_days = 9\nbonus_expiry_years = 1\n",
            "bonus_expiry_years",
            "days or years",
        ),
        ("from_minor = 5000", "from_minor = 1000", "from_minor = 1000", "ascending"),
        ("minimum_minor = 500\n", "minimum_minor = 2001\n", "from_minor = 2000", "below minimum"),
        ('method = "card"', 'method = "wallet"', "mode =", "goes with mode wallet"),
        ("automatic = false", 'automatic = false\nplan_codes = ["no"]', "plan_codes", "unknown"),
    ],
)
def test_broken_catalogue_is_refused_with_line_and_reason(
    tmp_path: Path, old: str, new: str, place: str, reason: str
) -> None:
    text = SMALL.replace(old, new)
    assert text != SMALL
    line, found = refusal(tmp_path, text)
    assert line == line_of(text, place)
    assert reason in found


@pytest.mark.parametrize(
    ("added", "place", "reason"),
    [
        (SECOND_PLAN, 'version = "1"', "duplicate version"),
        (SECOND_PLAN.replace('"1"', '"2"'), "valid_from", "overlaps"),
        (SECOND_PROMOTION, 'code = "TEN"', "duplicate code"),
        (SECOND_TAX, "valid_from", "overlaps"),
        (SECOND_MAXIMUM, "valid_from", "overlaps"),
    ],
)
def test_repeated_entry_is_refused_at_the_second_one(
    tmp_path: Path, added: str, place: str, reason: str
) -> None:
    line, found = refusal(tmp_path, SMALL + "\n" + added)
    assert line == len(SMALL.splitlines()) + 1 + line_of(added, place)
    assert reason in found


def test_version_that_ends_after_the_next_begins_overlaps(tmp_path: Path) -> None:
    until = "valid_until = 2026-01-01T00:00:00Z\n"
    first = SMALL.replace('region = "europe"\n', until + 'region = "europe"\n')
    second = SECOND_PLAN.replace('"1"', '"2"').replace("2025-01-01", "2025-12-31")
    line, found = refusal(tmp_path, first + "\n" + second)
    assert line == len(first.splitlines()) + 1 + line_of(second, "valid_from")
    assert "overlaps" in found


def test_syntax_error_is_refused_with_its_line(tmp_path: Path) -> None:
    line, _ = refusal(tmp_path, SMALL.replace("validity_days = 1", "validity_days = "))
    assert line == line_of(SMALL, "validity_days")


def test_unfinished_file_is_refused_at_its_end(tmp_path: Path) -> None:
    text = SMALL.rstrip().removesuffix("]")
    assert refusal(tmp_path, text)[0] == len(text.splitlines())


def test_all_faults_are_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    broken = SMALL.replace('rate = "0.06"', 'rate = "x"').replace("USD = 190", "USD = 0")
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_catalogue(path)
    lines = [int(each.split(":")[1]) for each in str(caught.value).splitlines()]
    assert lines == sorted(lines)
    assert len(lines) == 2


def test_absent_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set the catalogue path"):
        load_catalogue(tmp_path / "none.toml")
