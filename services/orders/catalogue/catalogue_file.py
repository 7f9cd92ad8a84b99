"""Reads the catalogue and refuses a broken one, naming file, line and reason of every fault."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from schemas.requests import PaymentMethod, PaymentMode
from services.orders.catalogue.catalogue import Catalogue, Dated, DatedT, Promotion, TopUpRule
from services.runtime.toml.toml_file import Fault, Place, read_toml

CATALOGUE_DEFAULT: Final = Path(__file__).with_name("catalogue.toml")


def load_catalogue(path: Path) -> Catalogue:
    """Read and check the catalogue at `path`.

    Raises:
        ConfigurationError: the file cannot be used; one `file:line: reason` for every fault.
    """
    file = read_toml(path, "catalogue")
    catalogue = file.validated(Catalogue)
    file.refuse(_faults(catalogue))
    return catalogue


def _faults(catalogue: Catalogue) -> Iterator[Fault]:
    yield from _plan_faults(catalogue)
    yield from _dated("tax", catalogue.taxes, lambda tax: tax.currency)
    yield from _dated("maximum", catalogue.maxima, lambda maximum: maximum.currency)
    yield from _payment_faults(catalogue)
    yield from _promotion_faults(catalogue)
    yield from _dated("top_up", catalogue.top_ups, lambda rule: rule.currency)
    yield from _repeated(
        "top_up", "version", ((rule.rule_id, rule.version) for rule in catalogue.top_ups)
    )
    for index, rule in enumerate(catalogue.top_ups):
        place: Place = ("top_up", index, "minimum_minor")
        yield from _maximum_faults(place, catalogue, rule, rule.currency, rule.minimum_minor)
        yield from _tier_faults(("top_up", index, "tiers"), rule)
        yield from _expiry_faults(index, rule)


def _plan_faults(catalogue: Catalogue) -> Iterator[Fault]:
    yield from _repeated("plan", "version", ((plan.code, plan.version) for plan in catalogue.plans))
    yield from _dated("plan", catalogue.plans, lambda plan: plan.code)
    for index, plan in enumerate(catalogue.plans):
        place: Place = ("plan", index, "price")
        for currency, price in plan.price.items():
            if catalogue.tax(currency, plan.valid_from) is None:
                yield place, f"no tax rate for {currency} at valid_from: add a [[tax]] table"
            yield from _maximum_faults(place, catalogue, plan, currency, price)


def _maximum_faults(
    place: Place, catalogue: Catalogue, entry: Dated, currency: str, least_minor: int
) -> Iterator[Fault]:
    maximum = catalogue.maximum(currency, entry.valid_from)
    if maximum is None:
        yield place, f"no maximum for {currency} at valid_from: add a [[maximum]] table"
    elif maximum.amount_minor < least_minor:
        yield place, f"above the maximum for {currency}: no request could ask for it"


def _payment_faults(catalogue: Catalogue) -> Iterator[Fault]:
    yield from _repeated(
        "payment", "method", ((row.method.value, row.mode.value) for row in catalogue.payments)
    )
    for index, row in enumerate(catalogue.payments):
        if (row.method is PaymentMethod.WALLET) != (row.mode is PaymentMode.WALLET):
            yield ("payment", index, "mode"), "method wallet goes with mode wallet, and no other"


def _promotion_faults(catalogue: Catalogue) -> Iterator[Fault]:
    yield from _repeated("promotion", "code", (each.code for each in catalogue.promotions))
    known = {plan.code for plan in catalogue.plans}
    for index, promotion in enumerate(catalogue.promotions):
        if unknown := sorted(set(promotion.plan_codes) - known):
            yield ("promotion", index, "plan_codes"), f"unknown plan code {', '.join(unknown)}"
        yield from _period_fault(("promotion", index, "valid_until"), promotion)


def _expiry_faults(index: int, rule: TopUpRule) -> Iterator[Fault]:
    for name, days, years in (
        ("paid", rule.paid_expiry_days, rule.paid_expiry_years),
        ("bonus", rule.bonus_expiry_days, rule.bonus_expiry_years),
    ):
        if days is not None and years is not None:
            yield ("top_up", index, f"{name}_expiry_years"), "set days or years, not both"


def _tier_faults(place: Place, rule: TopUpRule) -> Iterator[Fault]:
    if rule.tiers and rule.tiers[0].from_minor < rule.minimum_minor:
        yield (*place, 0), "the first tier begins below minimum_minor"
    for number, (lower, higher) in enumerate(pairwise(rule.tiers), start=1):
        if higher.from_minor <= lower.from_minor:
            yield (*place, number), "tiers must be in ascending order of from_minor"


def _repeated(table: str, key: str, names: Iterable[str | tuple[str, ...]]) -> Iterator[Fault]:
    seen: set[str | tuple[str, ...]] = set()
    for index, name in enumerate(names):
        if name in seen:
            shown = name if isinstance(name, str) else " ".join(name)
            yield (table, index, key), f"duplicate {key}: {shown} is there already"
        seen.add(name)


def _dated(
    table: str, entries: Sequence[DatedT], group: Callable[[DatedT], Hashable]
) -> Iterator[Fault]:
    ordered = sorted(enumerate(entries), key=lambda pair: pair[1].valid_from)
    last_of: dict[Hashable, DatedT] = {}
    for index, entry in ordered:
        yield from _period_fault((table, index, "valid_until"), entry)
        before = last_of.get(group(entry))
        if before is not None and _overlap(before, entry):
            yield (
                (table, index, "valid_from"),
                f"overlaps another version of {group(entry)}: one moment must have one version",
            )
        last_of[group(entry)] = entry


def _overlap(before: Dated, after: Dated) -> bool:
    return before.valid_from == after.valid_from or (
        before.valid_until is not None and before.valid_until > after.valid_from
    )


def _period_fault(place: Place, entry: Dated | Promotion) -> Iterator[Fault]:
    if entry.valid_until is not None and entry.valid_until <= entry.valid_from:
        yield place, "valid_until must be after valid_from"
