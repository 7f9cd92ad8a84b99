"""The words of the emails, one file per language in `languages/`, and the templates' versions.

A file with a missing, empty or unknown key does not load: no language can fall behind another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, model_validator

from schemas.orders import DeclineReason
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusReason
from services.notifier.wording.figures import Formats, Phrase
from services.notifier.wording.languages import versions_in, words_in

_FOLDER: Final = Path(__file__).parent


class _Words(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TemplateWords(_Words):
    """What every template says: `opening` above the facts, `next_steps` under `next_title`."""

    subject: Phrase
    preheader: Phrase
    heading: Phrase
    opening: tuple[Phrase, ...]
    next_title: Phrase
    next_steps: tuple[Phrase, ...]


class PaymentWords(TemplateWords):
    """Its `{purpose}` is one of these."""

    for_renewal: Phrase
    for_top_up: Phrase


class RefundWords(TemplateWords):
    """Its `{arrival}` is one of these: when the customer sees the money."""

    to_wallet: Phrase
    to_payment_method: Phrase


class SurplusWords(TemplateWords):
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
    pay_by: Phrase
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


class Wording(Formats):
    """Everything that one language says; `wrap_at` is the width of plain text, 0: clients wrap it."""

    wrap_at: int
    fonts: Phrase
    greeting: Phrase
    greeting_by_name: Phrase
    row: Phrase
    footer: tuple[Phrase, ...]
    held_back: Phrase
    button: Phrase
    pay_button: Phrase
    methods: dict[PaymentMethod, Phrase]
    labels: Labels
    reasons: dict[DeclineReason, ReasonWords]
    wallet_insufficient_funds: ReasonWords
    renewal_confirmed: TemplateWords
    payment_failed: PaymentWords
    top_up_confirmed: TemplateWords
    activation_delayed: TemplateWords
    refund_completed: RefundWords
    surplus_returned: SurplusWords
    surplus_credited: SurplusWords
    low_balance: TemplateWords
    payment_action_required: PaymentWords

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


WORDING: Final = words_in(_FOLDER, Wording)
VERSIONS: Final = versions_in(_FOLDER)
