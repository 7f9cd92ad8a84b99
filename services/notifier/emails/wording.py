"""The words of the emails, one file per language in `languages/`, and the templates' versions.

A file with a missing, empty or unknown key does not load: no language can fall behind another.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, model_validator

from schemas.envelope import Identifier, Sha256Hex
from schemas.orders import DeclineReason
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusReason
from services.notifier.emails.locales import LOCALES

Phrase = Annotated[str, StringConstraints(min_length=1)]
"""Plain text, `{placeholder}` for a fact; a layout escapes it, so it holds no markup."""
ToTheMinute = Annotated[str, StringConstraints(pattern="^[^sSA]+$")]
"""A CLDR pattern without seconds: the text of a moment is remembered for its whole minute."""
_FOLDER: Final = Path(__file__).parent


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Letter(_Words):
    """What every template says: `opening` above the facts, `next_steps` under `next_title`."""

    subject: Phrase
    preheader: Phrase
    heading: Phrase
    opening: tuple[Phrase, ...]
    next_title: Phrase
    next_steps: tuple[Phrase, ...]


class PaymentFailedLetter(Letter):
    """Its `{purpose}` is one of these."""

    for_renewal: Phrase
    for_top_up: Phrase


class RefundLetter(Letter):
    """Its `{arrival}` is one of these: when the customer sees the money."""

    to_wallet: Phrase
    to_payment_method: Phrase


class SurplusLetter(Letter):
    """Its `{why}` is one of these: why the order does not take the money."""

    reasons: dict[SurplusReason, Phrase]


class ReasonWords(_Words):
    """Why a payment failed, and what the customer does next."""

    why: Phrase
    what_next: Phrase


class Labels(_Words):
    """The left column of the facts."""

    plan: Phrase
    periods: Phrase
    valid_from: Phrase
    valid_until: Phrase
    net: Phrase
    tax: Phrase
    bonus: Phrase
    total: Phrase
    payment_method: Phrase
    order: Phrase
    activated_at: Phrase
    amount: Phrase
    top_up: Phrase
    failed_at: Phrase
    topped_up_at: Phrase
    credit_until: Phrase
    promised_by: Phrase
    refund_total: Phrase
    refund_to: Phrase
    refund: Phrase
    refunded_at: Phrase
    balance: Phrase
    threshold: Phrase
    detected_at: Phrase
    seller: Phrase
    seller_address: Phrase
    seller_tax_number: Phrase
    held_back: Phrase
    held_back_orders: Phrase


class Wording(_Words):
    """Everything that one language says. `home_currency` needs no ISO code; "" when there is none.

    `date_time` is a CLDR pattern; `wrap_at` is the width of plain text, 0 when clients wrap it.
    """

    locale: str
    home_currency: str
    date_time: ToTheMinute
    moment: Phrase
    wrap_at: int
    fonts: Phrase
    greeting: Phrase
    greeting_by_name: Phrase
    row: Phrase
    footer: tuple[Phrase, ...]
    held_back: Phrase
    button: Phrase
    methods: dict[PaymentMethod, Phrase]
    labels: Labels
    reasons: dict[DeclineReason, ReasonWords]
    wallet_insufficient_funds: ReasonWords
    renewal_confirmed: Letter
    payment_failed: PaymentFailedLetter
    top_up_confirmed: Letter
    activation_delayed: Letter
    refund_completed: RefundLetter
    surplus_returned: SurplusLetter
    surplus_credited: SurplusLetter
    low_balance: Letter

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [
            *(set(PaymentMethod) - set(self.methods)),
            *(set(DeclineReason) - set(self.reasons)),
            *(set(SurplusReason) - set(self.surplus_returned.reasons)),
            *(set(SurplusReason) - set(self.surplus_credited.reasons)),
        ]
        if missing:
            message = f"{self.locale}: add words for {', '.join(sorted(missing))}"
            raise ValueError(message)
        return self


class TemplateVersion(_Words):
    """`version` is raised with every change of words or layout, which `fingerprint` notices."""

    version: Identifier
    fingerprint: Sha256Hex


def _load(locale: str) -> Wording:
    text = (_FOLDER / "languages" / f"{locale}.toml").read_text(encoding="utf-8")
    return Wording.model_validate(tomllib.loads(text) | {"locale": locale})


WORDING: Final[Mapping[str, Wording]] = MappingProxyType({each: _load(each) for each in LOCALES})
VERSIONS: Final[Mapping[str, TemplateVersion]] = MappingProxyType(
    TypeAdapter(dict[str, TemplateVersion]).validate_python(
        tomllib.loads((_FOLDER / "versions.toml").read_text(encoding="utf-8"))
    )
)
