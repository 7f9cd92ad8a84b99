"""`perennial catalogue` and `perennial quote`: what is on sale on a day, and what an order costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from schemas.catalogue import PlanOffered, PlanPromotion, TopUpOffered
from schemas.envelope import utc_text
from schemas.money import decimal_text
from schemas.orders import Quote
from schemas.requests import PROMOTION_CODES_MAX, QUANTITY_MAX
from services.cli.clock.now import now
from services.cli.moments import moment
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT, load_catalogue
from services.orders.catalogue.offers import (
    NotOffered,
    Wanted,
    plans_offered,
    quoted,
    top_ups_offered,
)

EXIT_NOT_OFFERED: Final = 1


On = Annotated[
    datetime | None,
    typer.Option(
        "--on",
        parser=moment,
        metavar="DAY",
        help="A day, from its first moment in UTC, or a moment (default: now).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
File = Annotated[
    Path,
    typer.Option(
        "--catalogue",
        envvar="PERENNIAL_ORDERS_CATALOGUE",
        help="The file to read, instead of the installed one.",
        show_default=False,
    ),
]


def catalogue(on: On = None, file: File = CATALOGUE_DEFAULT, *, as_json: AsJson = False) -> None:
    """Show plans, prices, taxes, ways to pay, limits and promotions, as orders applies them."""
    at, found = on or now(), load_catalogue(file)
    plans, top_ups = plans_offered(found, at), top_ups_offered(found, at)
    if as_json:
        _print_json({"on": utc_text(at), "plans": _content(plans), "top_ups": _content(top_ups)})
        return
    if not plans:
        typer.echo(f"nothing is on sale at {utc_text(at)}")
    _print_plans(plans, at)
    _print_promotions(plans)
    _print_limits(plans, top_ups)


def quote(  # noqa: PLR0913 - each is an option of the command
    plan_code: Annotated[str, typer.Argument(help="As `perennial catalogue` lists it.")],
    *,
    currency: Annotated[str, typer.Option(help="In which to pay, such as USD.")],
    quantity: Annotated[int, typer.Option(min=1, max=QUANTITY_MAX, help="How many periods.")] = 1,
    promotion: Annotated[
        list[str] | None, typer.Option(help="A promotion code; may be repeated.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="How to pay: see that the currency can be paid so.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="charge, await_confirmation or wallet; likewise.")
    ] = None,
    on: On = None,
    file: File = CATALOGUE_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show what an order would cost, as orders computes it. Exit 1: it cannot be ordered.

    `total` of the JSON is what `expected_total` of the request may say.
    """
    codes = tuple(promotion or ())
    if len(codes) > PROMOTION_CODES_MAX:
        message = f"a request takes {PROMOTION_CODES_MAX} promotion codes at most"
        raise typer.BadParameter(message)
    wanted = Wanted(plan_code, currency.upper(), quantity, codes, method, mode)
    try:
        found = quoted(load_catalogue(file), wanted, on or now())
    except NotOffered as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_NOT_OFFERED) from None
    if as_json:
        _print_json(found.model_dump(mode="json"))
    else:
        _print_quote(found)


def _content(found: Sequence[PlanOffered | TopUpOffered]) -> list[dict[str, Any]]:
    return [each.model_dump(mode="json", exclude_none=True) for each in found]


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _print_plans(plans: Sequence[PlanOffered], at: datetime) -> None:
    currencies = sorted({each.price.currency for plan in plans for each in plan.prices})
    rows = []
    for plan in plans:
        prices = {each.price.currency: each.price for each in plan.prices}
        amounts = [
            decimal_text(prices[each].amount_minor, each) if each in prices else "-"
            for each in currencies
        ]
        rows.append((plan.plan_code, plan.plan_version, str(plan.validity_days), *amounts))
    title = f"On sale at {utc_text(at)[:16]}Z: one period, without tax"
    _print_table(title, ("plan", "version", "days", *currencies), rows)


def _print_promotions(plans: Sequence[PlanOffered]) -> None:
    found: dict[str, tuple[PlanPromotion, list[str]]] = {}
    for plan in plans:
        for each in plan.promotions:
            found.setdefault(each.code, (each, []))[1].append(plan.plan_code)
    rows = [
        (
            each.code,
            f"{each.percentage} %",
            "no" if each.automatic else "yes",
            f"{each.quantity_min}+",
            utc_text(each.valid_until)[:10],
            "every plan" if len(codes) == len(plans) else ", ".join(codes),
        )
        for each, codes in found.values()
    ]
    _print_table(
        "Promotions: the best one counts",
        ("promotion", "off", "code", "periods", "before", "for"),
        rows,
    )


def _print_limits(plans: Sequence[PlanOffered], top_ups: Sequence[TopUpOffered]) -> None:
    orders = {each.price.currency: each for plan in plans for each in plan.prices}
    rows = [
        (currency, f"{each.tax_rate} {each.tax_jurisdiction}", str(each.order_maximum))
        for currency, each in sorted(orders.items())
    ]
    _print_table("Taxes and limits of orders", ("currency", "tax", "total at most"), rows)
    tops = [(str(each.minimum), str(each.maximum), _bonuses(each) or "none") for each in top_ups]
    _print_table("Top-ups", ("from", "to", "bonus"), tops)
    ways: dict[tuple[str, str], list[str]] = {}
    for currency, order in sorted(orders.items()):
        for way in order.payments:
            ways.setdefault((way.method.value, way.mode.value), []).append(currency)
    paid = [(*way, ", ".join(currencies)) for way, currencies in ways.items()]
    _print_table("Ways to pay", ("method", "mode", "currencies"), paid)


def _bonuses(top_up: TopUpOffered) -> str:
    return ", ".join(f"{tier.bonus_percentage} % from {tier.amount}" for tier in top_up.bonuses)


def _print_quote(found: Quote) -> None:
    discount = f" ({', '.join(found.promotions)})" if found.promotions else ""
    rows = [
        ("list price", str(found.list_price)),
        (f"discount{discount}", str(found.discount)),
        ("net", str(found.net)),
        (f"tax {found.tax_rate} {found.tax_jurisdiction}", str(found.tax)),
        ("total", str(found.total)),
    ]
    title = f"{found.quantity} x {found.plan_code} {found.plan_version}"
    _print_table(title, ("what", "amount"), rows)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - JSON needs none of it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from services.cli.tables import print_table  # noqa: PLC0415

    if not rows:
        return
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    print_table(table)
