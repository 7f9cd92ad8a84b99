"""The demo's result as one HTML page that needs nothing but itself: no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deploy.demo.charts import (
    Bar,
    balance_bars,
    comparison_bars,
    lanes,
    quantity_bars,
    ticks,
)
from deploy.demo.figures import (
    amount_text,
    count_text,
    memory_text,
    rate_text,
    seconds_text,
    words,
)
from deploy.demo.result import Comparison, DemoResult, Mail

_AREAS: Final = ("outcomes", "dead letters", "emails", "wallets")
_CHART_ORDER: Final = ("Assets", "Liabilities", "Equity", "Income", "Expenses")
_LANGUAGES: Final = {
    "en": "English",
    "zh-Hans": "Simplified Chinese",
    "zh-Hant": "Traditional Chinese",
}
_DIFFERENCES_AT_ONCE: Final = 20
_ROWS_AT_ONCE: Final = 80


@dataclass(frozen=True, slots=True)
class _Area:
    name: str
    rows: list[Comparison]
    bars: list[Bar]
    names: int

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


@dataclass(frozen=True, slots=True)
class _TrialBalance:
    currency: str
    accounts: list[_Account]
    debit: str
    credit: str
    difference: str
    balanced: bool
    bars: list[Bar]


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
            areas=_areas(result.comparisons),
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
        ("Numbers that agree", f"{count_text(agreeing)} of {count_text(len(result.comparisons))}"),
    ]


def _areas(comparisons: Sequence[Comparison]) -> list[_Area]:
    names = [*_AREAS, *(each.area for each in comparisons)]
    rows = {
        name: [each for each in comparisons if each.area == name] for name in dict.fromkeys(names)
    }
    return [
        _Area(name, found, comparison_bars(found), len({each.name for each in found}))
        for name, found in rows.items()
        if found
    ]


def _trial_balances(result: DemoResult) -> list[_TrialBalance]:
    return [
        _trial_balance(currency, accounts, result.exponents[currency])
        for currency, accounts in sorted(result.balances.items())
    ]


def _trial_balance(currency: str, accounts: dict[str, int], exponent: int) -> _TrialBalance:
    balances = sorted(accounts.items(), key=lambda item: (_class_of(item[0]), item[0]))
    debit = sum(minor for minor in accounts.values() if minor > 0)
    credit = -sum(minor for minor in accounts.values() if minor < 0)
    return _TrialBalance(
        currency=currency,
        accounts=[
            _Account(
                name,
                amount_text(minor, exponent) if minor >= 0 else "",
                amount_text(-minor, exponent) if minor < 0 else "",
            )
            for name, minor in balances
        ],
        debit=amount_text(debit, exponent),
        credit=amount_text(credit, exponent),
        difference=amount_text(debit - credit, exponent),
        balanced=debit == credit,
        bars=balance_bars(balances, exponent),
    )


def _class_of(account: str) -> int:
    first = account.split(":", 1)[0]
    return _CHART_ORDER.index(first) if first in _CHART_ORDER else len(_CHART_ORDER)


def _by_template(mails: Sequence[Mail]) -> list[tuple[str, list[Mail]]]:
    ordered = sorted(mails, key=lambda mail: (mail.template, mail.locale))
    return [
        (template, list(group)) for template, group in groupby(ordered, lambda mail: mail.template)
    ]
