"""What of Stripe's answers counts, read as strictly as every answer of a gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Generic, Literal, TypeVar

import stripe
from pydantic import BaseModel, ConfigDict, Field, field_validator

from schemas.envelope import TIME_END, Identifier
from schemas.money import Money
from schemas.requests import PaymentMethod
from services.orders.payments.gateways.stripe.amounts import money_of
from services.orders.payments.gateways.stripe.capability import METHODS

_METHOD_OF: Final = {word: method for method, word in METHODS.items()}


Seconds = Annotated[int, Field(ge=0, lt=int(TIME_END.timestamp()))]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


AnswerT = TypeVar("AnswerT", bound=_Answer)


class BalanceTransaction(_Answer):
    """What reaches the balance, and what Stripe keeps of it, in the currency of the account."""

    fee: int
    currency: str


class MethodDetails(_Answer):
    """How was paid."""

    type: str


class StripeCharge(_Answer):
    """The attempt that succeeded."""

    created: Seconds
    balance_transaction: BalanceTransaction | None = None
    payment_method_details: MethodDetails | None = None

    @field_validator("balance_transaction", "payment_method_details", mode="before")
    @classmethod
    def _only_whole(cls, value: object) -> object:
        """Leave out what came as its id alone."""
        return value if isinstance(value, dict) else None


class PaymentError(_Answer):
    """Why the last attempt failed."""

    code: str | None = None
    decline_code: str | None = None


class Redirect(_Answer):
    """The page on which the customer agrees."""

    url: str


class NextAction(_Answer):
    """What the customer has to do; only what can be done on a page is of use."""

    redirect_to_url: Redirect | None = None


class Intent(_Answer):
    """A PaymentIntent: what is to be paid, and how far that is."""

    id: Identifier
    status: Literal[
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "canceled",
        "succeeded",
    ]
    amount: int
    currency: str
    created: Seconds
    metadata: dict[str, str] = {}
    latest_charge: StripeCharge | None = None
    last_payment_error: PaymentError | None = None
    next_action: NextAction | None = None

    @field_validator("latest_charge", mode="before")
    @classmethod
    def _only_whole(cls, value: object) -> object:
        """Leave out what came as its id alone."""
        return value if isinstance(value, dict) else None

    @property
    def money(self) -> Money:
        """Return how much it is about.

        Raises:
            ValueError: it is no amount.
        """
        return money_of(self.amount, self.currency)

    @property
    def fee(self) -> Money | None:
        """Return what Stripe keeps, where it says so already, and in an amount that there is."""
        booked = self.latest_charge and self.latest_charge.balance_transaction
        try:
            return money_of(booked.fee, booked.currency) if booked else None
        except ValueError:
            return None  # a bad detail must not hide that money came in

    @property
    def method(self) -> PaymentMethod | None:
        """Return how was paid, where it is one of our methods."""
        details = self.latest_charge and self.latest_charge.payment_method_details
        return _METHOD_OF.get(details.type) if details else None

    @property
    def paid_at(self) -> datetime:
        """Return when the money came in, as far as that is known."""
        return moment(self.latest_charge.created if self.latest_charge else self.created)


class GivenBack(_Answer):
    """A refund."""

    id: Identifier
    status: str | None = None
    created: Seconds
    metadata: dict[str, str] = Field(default={})


class Page(_Answer, Generic[AnswerT]):
    """A part of a list, and whether more follows."""

    data: list[AnswerT]
    has_more: bool


def read(model: type[AnswerT], answer: stripe.StripeObject) -> AnswerT:
    """Return what counts of an answer.

    Raises:
        pydantic.ValidationError: it is something else.
    """
    return model.model_validate(answer.to_dict())


def moment(seconds: int) -> datetime:
    """Return a time of Stripe's."""
    return datetime.fromtimestamp(seconds, UTC)
