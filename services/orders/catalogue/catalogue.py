"""What is sold at a given moment, at which price, tax and promotion. `catalog_file` reads it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Final, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from schemas.catalogue import PlanKind, PlanTier
from schemas.envelope import Identifier, ShortText, UtcDatetime
from schemas.money import AMOUNT_MINOR_MAX, CurrencyCode, Money
from schemas.orders import Allowance
from schemas.requests import PaymentMethod, PaymentMode

LANGUAGES: Final = ("zh-Hans", "zh-Hant", "en")
MAXIMUM_MINOR_MAX: Final = 10**11
"""A maximum leaves room for what is reckoned from it: two dozen periods, a tax, a bonus."""


def _in_every_language(title: dict[str, str]) -> dict[str, str]:
    missing = [language for language in LANGUAGES if not title.get(language, "").strip()]
    if missing:
        message = f"the title is missing in {', '.join(missing)}"
        raise ValueError(message)
    return title


DecimalRate = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}(\.[0-9]{1,6})?$")]
"""A decimal as text, below 100: no float ever holds a rate."""
IccidPrefix = Annotated[str, StringConstraints(pattern="^89[0-9]{0,16}$")]
PriceMinor = Annotated[int, Field(ge=1, le=AMOUNT_MINOR_MAX)]
Years = Annotated[int | None, Field(ge=1, le=100)]
Title = Annotated[dict[Identifier, ShortText], AfterValidator(_in_every_language)]
Kind = Annotated[PlanKind, Field(strict=False)]
Tier = Annotated[PlanTier, Field(strict=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Dated(Protocol):
    """An entry that holds from a moment on, until it ends or a later one replaces it."""

    @property
    def valid_from(self) -> datetime:
        """First moment it holds."""

    @property
    def valid_until(self) -> datetime | None:
        """First moment it no longer holds; None: until a later entry."""


DatedT = TypeVar("DatedT", bound=Dated)


class PlanVersion(_Entry):
    """One version of a plan; `price` is per period, exclusive of tax, in minor units.

    With `calendar_days`, the days of its validity are those of the customer's time zone.
    """

    code: Identifier
    version: Identifier
    valid_from: UtcDatetime
    valid_until: UtcDatetime | None = None
    kind: Kind
    tier: Tier
    region: Identifier
    validity_days: int = Field(ge=1, le=3660)
    calendar_days: bool = False
    allowance: Allowance
    title: Title
    price: dict[CurrencyCode, PriceMinor] = Field(min_length=1)


class Tax(_Entry):
    """The tax that comes on top of prices in one currency."""

    currency: CurrencyCode
    jurisdiction: Identifier
    rate: DecimalRate
    valid_from: UtcDatetime
    valid_until: UtcDatetime | None = None


class AcceptedPayment(_Entry):
    """In which currencies a payment method is accepted in one mode."""

    method: Annotated[PaymentMethod, Field(strict=False)]
    mode: Annotated[PaymentMode, Field(strict=False)]
    currencies: list[CurrencyCode] = Field(min_length=1)


class Promotion(_Entry):
    """A discount between two moments; an empty filter lets every plan pass."""

    code: Identifier
    percentage: DecimalRate
    automatic: bool
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    kinds: list[Kind] = []
    tiers: list[Tier] = []
    plan_codes: list[Identifier] = []
    quantity_min: int = Field(default=1, ge=1)

    def covers(self, plan: PlanVersion, quantity: int, codes: Iterable[str]) -> bool:
        """Tell whether it lowers the price of `quantity` periods for someone who gave `codes`."""
        asked = self.automatic or self.code in codes
        return asked and self.is_for(plan) and quantity >= self.quantity_min

    def is_for(self, plan: PlanVersion) -> bool:
        """Tell whether orders of `plan` can have it."""
        return (
            (not self.kinds or plan.kind in self.kinds)
            and (not self.tiers or plan.tier in self.tiers)
            and (not self.plan_codes or plan.code in self.plan_codes)
        )

    def runs(self, moment: datetime) -> bool:
        """Tell whether it is in force at `moment`."""
        return self.valid_from <= moment < self.valid_until


class BonusTier(_Entry):
    """From `from_minor` on, `bonus_percentage` of the amount is granted on top."""

    from_minor: int = Field(ge=1, le=AMOUNT_MINOR_MAX)
    bonus_percentage: DecimalRate


class TopUpRule(_Entry):
    """How one currency is topped up; a lot with neither expiry days nor years never expires."""

    rule_id: Identifier
    version: Identifier
    currency: CurrencyCode
    valid_from: UtcDatetime
    valid_until: UtcDatetime | None = None
    minimum_minor: int = Field(ge=1, le=AMOUNT_MINOR_MAX)
    paid_expiry_days: int | None = Field(default=None, ge=1)
    paid_expiry_years: Years = None
    bonus_expiry_days: int | None = Field(default=None, ge=1)
    bonus_expiry_years: Years = None
    tiers: list[BonusTier] = []

    def paid_until(self, credited_at: datetime) -> datetime | None:
        """Return when credit that was paid for ends; None: never."""
        return _end(credited_at, self.paid_expiry_days, self.paid_expiry_years)

    def bonus_until(self, granted_at: datetime) -> datetime | None:
        """Return when granted credit ends; None: never."""
        return _end(granted_at, self.bonus_expiry_days, self.bonus_expiry_years)


def _end(since: datetime, days: int | None, years: int | None) -> datetime | None:
    """Return the end of a term. Years are those of the calendar: from 29 February to 1 March."""
    if years is None:
        return None if days is None else since + timedelta(days=days)
    try:
        return since.replace(year=since.year + years)
    except ValueError:
        return since.replace(year=since.year + years, month=3, day=1)


class Maximum(_Entry):
    """The most that one request may be about in one currency: a top-up's amount, an order's total."""

    currency: CurrencyCode
    amount_minor: int = Field(ge=1, le=MAXIMUM_MINOR_MAX)
    valid_from: UtcDatetime
    valid_until: None = None

    def exceeded_by(self, amount: Money) -> bool:
        """Say whether `amount`, in the same currency, is more."""
        return amount.amount_minor > self.amount_minor

    def money(self) -> Money:
        """Return it as an amount, for who is to be told."""
        return Money(amount_minor=self.amount_minor, currency=self.currency)


class Catalogue(_Entry):
    """The whole file. A look-up that finds nothing returns None: a refusal is the caller's."""

    renewable_iccid_prefixes: list[IccidPrefix] = Field(min_length=1)
    taxes: list[Tax] = Field(alias="tax", min_length=1)
    maxima: list[Maximum] = Field(alias="maximum", min_length=1)
    payments: list[AcceptedPayment] = Field(alias="payment", min_length=1)
    plans: list[PlanVersion] = Field(alias="plan", min_length=1)
    promotions: list[Promotion] = Field(alias="promotion", default=[])
    top_ups: list[TopUpRule] = Field(alias="top_up", default=[])

    @cached_property
    def _plans_by_code(self) -> dict[str, list[PlanVersion]]:
        grouped: dict[str, list[PlanVersion]] = {}
        for plan in self.plans:
            grouped.setdefault(plan.code, []).append(plan)
        return grouped

    @cached_property
    def _accepted(self) -> frozenset[tuple[str, str, str]]:
        return frozenset(
            (row.method, row.mode, currency) for row in self.payments for currency in row.currencies
        )

    @staticmethod
    def lacks(name: str, version: str) -> str:
        """Return what to say where a version that was sold is not here any more."""
        lost = f"the catalogue no longer holds version {version} of {name}"
        return f"{lost}: put it back, then start again"

    def plan(self, code: str, moment: datetime) -> PlanVersion | None:
        """Return the version of the plan that is sold at `moment`."""
        return holding_at(self._plans_by_code.get(code, ()), moment)

    def plan_version(self, code: str, version: str) -> PlanVersion | None:
        """Return one version of the plan, sold today or not."""
        versions = self._plans_by_code.get(code, ())
        return next((plan for plan in versions if plan.version == version), None)

    def tax(self, currency: str, moment: datetime) -> Tax | None:
        """Return the tax on sales in `currency` at `moment`."""
        return holding_at((tax for tax in self.taxes if tax.currency == currency), moment)

    def maximum(self, currency: str, moment: datetime) -> Maximum | None:
        """Return the most that a request in `currency` may be about at `moment`."""
        return holding_at((each for each in self.maxima if each.currency == currency), moment)

    def accepts(self, method: PaymentMethod, mode: PaymentMode, currency: str) -> bool:
        """Tell whether this way to pay is open in `currency`."""
        return (method, mode, currency) in self._accepted

    def renewable(self, iccid: str) -> bool:
        """Tell whether the eSIM is one of ours."""
        return iccid.startswith(tuple(self.renewable_iccid_prefixes))

    def best_promotion(
        self, plan: PlanVersion, quantity: int, codes: Iterable[str], moment: datetime
    ) -> Promotion | None:
        """Return the one promotion that lowers the price most; they never add up."""
        asked = frozenset(codes)
        eligible = (
            promotion
            for promotion in self.promotions
            if promotion.runs(moment) and promotion.covers(plan, quantity, asked)
        )
        return max(eligible, key=lambda each: _sortable(each.percentage), default=None)

    def idle_codes(
        self, plan: PlanVersion, quantity: int, codes: Iterable[str], moment: datetime
    ) -> tuple[str, ...]:
        """Return those of `codes` that can lower nothing: unknown, not in force, not for this order."""
        asked = tuple(dict.fromkeys(codes))
        useful = {
            promotion.code
            for promotion in self.promotions
            if promotion.runs(moment) and promotion.covers(plan, quantity, asked)
        }
        return tuple(code for code in asked if code not in useful)

    def top_up_rule(self, currency: str, moment: datetime) -> TopUpRule | None:
        """Return the rule for top-ups in `currency` at `moment`."""
        return holding_at((rule for rule in self.top_ups if rule.currency == currency), moment)

    def top_up_rule_version(self, rule_id: str, version: str) -> TopUpRule | None:
        """Return one version of a rule, in force today or not."""
        return next(
            (rule for rule in self.top_ups if (rule.rule_id, rule.version) == (rule_id, version)),
            None,
        )


def holding_at(entries: Iterable[DatedT], moment: datetime) -> DatedT | None:
    """Return the entry with the latest start at or before `moment` that has not ended."""
    latest: DatedT | None = None
    for entry in entries:
        if entry.valid_from <= moment and (latest is None or latest.valid_from < entry.valid_from):
            latest = entry
    if latest is None or (latest.valid_until is not None and latest.valid_until <= moment):
        return None
    return latest


def _sortable(rate: str) -> tuple[int, str]:
    whole, _, fraction = rate.partition(".")
    return int(whole), fraction.ljust(6, "0")
