"""The demo's result as one HTML page that needs nothing but itself: no script, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deploy.demo.expected.comparison import Comparison
from deploy.demo.report.charts import (
    ChartBar,
    balance_bars,
    comparison_bars,
    lanes,
    quantity_bars,
    ticks,
)
from deploy.demo.report.figures import (
    amount_text,
    count_text,
    memory_text,
    rate_text,
    seconds_text,
    side_text,
    words,
)
from deploy.demo.result import DemoMail, DemoResult
from schemas.money import exponent_of

_AREAS: Final = ("outcomes", "dead letters", "messages", "wallets")
_TRIAL_BALANCE: Final = "trial balance"
_CHART_ORDER: Final = ("Assets", "Liabilities", "Equity", "Income", "Expenses")
_LANGUAGES: Final = {
    "en": "English",
    "zh-Hans": "Simplified Chinese",
    "zh-Hant": "Traditional Chinese",
}
_DIFFERENCES_AT_ONCE: Final = 20
_ROWS_AT_ONCE: Final = 80


@dataclass(frozen=True, slots=True)
class _PageRow:
    detail: str
    expected: str
    seen: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class _Area:
    """`kinds` are the rows under each name; a chart has counts only, never amounts."""

    name: str
    kinds: list[tuple[str, list[_PageRow]]]
    bars: list[ChartBar]
    names: int

    @property
    def rows(self) -> list[_PageRow]:
        return [row for _, rows in self.kinds for row in rows]

    @property
    def differ(self) -> int:
        return sum(not row.agrees for row in self.rows)

    @property
    def short(self) -> bool:
        return len(self.rows) <= _ROWS_AT_ONCE


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    debit: str
    credit: str
    expected: str
    agrees: bool


@dataclass(frozen=True, slots=True)
class _TrialBalance:
    currency: str
    accounts: list[_Account]
    debit: str
    credit: str
    difference: str
    balanced: bool
    bars: list[ChartBar]


def page(result: DemoResult) -> str:
    """Return the whole page; write it as UTF-8."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            result=result,
            numbers=_numbers(result),
            shown=result.differences[:_DIFFERENCES_AT_ONCE],
            further=result.differences[_DIFFERENCES_AT_ONCE:],
            areas=_areas(result),
            trial_balances=_trial_balances(result),
            lanes=lanes(result.timeline),
            ticks=ticks(result.timeline),
            templates=_by_template(result.mails),
            languages=_LANGUAGES,
            memory=quantity_bars(
                [
                    (used.process, used.memory_bytes, memory_text(used.memory_bytes))
                    for used in result.memory
                ]
            ),
            memory_total=memory_text(sum(used.memory_bytes for used in result.memory)),
            stages=quantity_bars(
                [
                    (name, round(1000 * seconds), seconds_text(seconds))
                    for name, seconds in result.stages.items()
                ]
            ),
            stages_total=seconds_text(result.seconds),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=count_text, words=words)
    return environment


def _numbers(result: DemoResult) -> list[tuple[str, str]]:
    agreeing = sum(comparison.agrees for comparison in result.comparisons)
    return [
        ("Requests", count_text(result.requests)),
        ("Accounts", count_text(result.accounts)),
        ("Time", seconds_text(result.seconds)),
        ("Renewals per second", rate_text(result.renewals_per_second)),
        ("Emails", count_text(result.mail_count)),
        ("SMS", count_text(result.sms_count)),
        ("Numbers that agree", f"{count_text(agreeing)} of {count_text(len(result.comparisons))}"),
    ]


def _areas(result: DemoResult) -> list[_Area]:
    found: dict[str, list[Comparison]] = {name: [] for name in _AREAS}
    for each in result.comparisons:
        if each.area != _TRIAL_BALANCE:
            found.setdefault(each.area, []).append(each)
    return [_area(name, rows, result) for name, rows in found.items() if rows]


def _area(name: str, comparisons: Sequence[Comparison], result: DemoResult) -> _Area:
    kinds: dict[str, list[_PageRow]] = {}
    counts = []
    for each in comparisons:
        exponent = result.exponents.get(each.detail) if name == "wallets" else None
        if exponent is None:
            counts.append(each)
        kinds.setdefault(each.name, []).append(
            _PageRow(
                each.detail,
                amount_text(each.expected, exponent or 0),
                amount_text(each.seen, exponent or 0),
                each.agrees,
            )
        )
    return _Area(name, list(kinds.items()), comparison_bars(counts), len({c.name for c in counts}))


def _trial_balances(result: DemoResult) -> list[_TrialBalance]:
    wanted: dict[str, dict[str, int]] = {currency: {} for currency in result.balances}
    for each in result.comparisons:
        if each.area == _TRIAL_BALANCE:
            wanted.setdefault(each.name, {})[each.detail] = each.expected
    return [
        _trial_balance(
            currency,
            result.balances.get(currency, {}),
            expected,
            result.exponents[currency] if currency in result.exponents else exponent_of(currency),
        )
        for currency, expected in sorted(wanted.items())
    ]


def _trial_balance(
    currency: str, seen: Mapping[str, int], expected: Mapping[str, int], exponent: int
) -> _TrialBalance:
    names = sorted(seen.keys() | expected.keys(), key=lambda name: (_class_of(name), name))
    debit = sum(minor for minor in seen.values() if minor > 0)
    credit = -sum(minor for minor in seen.values() if minor < 0)
    return _TrialBalance(
        currency=currency,
        accounts=[
            _account(name, seen.get(name, 0), expected.get(name), exponent) for name in names
        ],
        debit=amount_text(debit, exponent),
        credit=amount_text(credit, exponent),
        difference=amount_text(debit - credit, exponent),
        balanced=debit == credit,
        bars=balance_bars([(name, seen.get(name, 0)) for name in names], exponent),
    )


def _account(name: str, minor: int, expected: int | None, exponent: int) -> _Account:
    return _Account(
        name,
        debit=amount_text(minor, exponent) if minor >= 0 else "",
        credit=amount_text(-minor, exponent) if minor < 0 else "",
        expected="" if expected is None else side_text(expected, exponent),
        agrees=expected in {None, minor},
    )


def _class_of(account: str) -> int:
    first = account.split(":", 1)[0]
    return _CHART_ORDER.index(first) if first in _CHART_ORDER else len(_CHART_ORDER)


def _by_template(mails: Sequence[DemoMail]) -> list[tuple[str, list[DemoMail]]]:
    ordered = sorted(mails, key=lambda mail: (mail.template, mail.locale))
    return [
        (template, list(group)) for template, group in groupby(ordered, lambda mail: mail.template)
    ]
