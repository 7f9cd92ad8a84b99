"""Events that upstreams publish to `billing.requests.v1`: the only ones with contact data."""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, model_validator

from schemas.envelope import Event, HappenedAt, Iccid, Identifier, Part, ShortText, UtcDatetime
from schemas.money import CurrencyCode, Money

_ONE_ORDER_SCHEMA: Final[dict[str, JsonValue]] = {
    "oneOf": [{"required": ["renewal_id"]}, {"required": ["topup_id"]}]
}
"""JSON Schema for "exactly one of the ids is set", beside the validator that checks it here."""

_TOKEN_SCHEMA: Final[dict[str, JsonValue]] = {
    "allOf": [
        {
            "if": {"properties": {"mode": {"const": "charge"}}},
            "then": {"required": ["token"]},
            "else": {"not": {"required": ["token"]}},
        },
        {
            "if": {"properties": {"mode": {"const": "wallet"}}},
            "then": {"properties": {"method": {"const": "wallet"}}},
            "else": {"not": {"properties": {"method": {"const": "wallet"}}}},
        },
    ]
}


QUANTITY_MAX: Final = 24
"""The most periods of one renewal."""
PROMOTION_CODES_MAX: Final = 8
_WORD_BEFORE: Final = re.compile(r"^[A-Za-z]+[_-]")
_CARD_DIGITS: Final = range(12, 20)
"""ISO/IEC 7812: a card number has at most 19 digits, and none in use fewer than 12."""


class PaymentMethod(StrEnum):
    """How the customer pays."""

    CARD = "card"
    PAYPAL = "paypal"
    ALIPAY = "alipay"
    WECHAT = "wechat"
    WALLET = "wallet"


class PaymentMode(StrEnum):
    """Who moves the money: we charge a token, the customer confirms, or the wallet pays."""

    CHARGE = "charge"
    AWAIT_CONFIRMATION = "await_confirmation"
    WALLET = "wallet"


CountryCode = Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""


def _looks_like_a_card(token: str) -> bool:
    """Say whether `token`, but for a word before it, begins with a card's digits in their groups.

    What follows may be its expiry or its code: the groups of digits are taken one by one.
    """
    groups = re.split("[-_]+", _WORD_BEFORE.sub("", token))
    if not all(group.isdecimal() for group in groups if group):
        return False
    return any(map(_passes_luhn, accumulate(groups)))


def _passes_luhn(digits: str) -> bool:
    if len(digits) not in _CARD_DIGITS:
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


class PaymentInstruction(Part):
    """How to pay one request. `token` is the gateway's reference, never a card number.

    `country` is that of the card or the account, where it is known: it may choose the gateway.
    """

    model_config = ConfigDict(json_schema_extra=_TOKEN_SCHEMA)

    method: PaymentMethod
    mode: PaymentMode
    currency: CurrencyCode
    country: CountryCode | None = None
    token: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None

    @model_validator(mode="after")
    def _token_belongs_to_charge(self) -> Self:
        if self.token is not None and _looks_like_a_card(self.token):
            message = "the token looks like a card number: send the gateway's token instead"
            raise ValueError(message)
        if (self.mode is PaymentMode.CHARGE) != (self.token is not None):
            message = "send `token` with mode charge, and with no other mode"
            raise ValueError(message)
        if (self.mode is PaymentMode.WALLET) != (self.method is PaymentMethod.WALLET):
            message = "method wallet goes with mode wallet, and with no other"
            raise ValueError(message)
        return self


class Channel(StrEnum):
    """A way to reach the customer."""

    EMAIL = "email"
    SMS = "sms"


class Contact(Part):
    """Where and in which language to reach the customer. Checked in depth by the notifier alone.

    A customer gets one message of each of the `channels`; sms needs a `phone` in the form of E.164,
    `+` and up to 15 digits.
    """

    email: Annotated[str, StringConstraints(min_length=3, max_length=320)]
    phone: Annotated[str, StringConstraints(max_length=32)] | None = None
    name: ShortText | None = None
    locale: Annotated[str, StringConstraints(min_length=2, max_length=35)] = "en"
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "UTC"
    channels: list[Channel] = Field(default=[Channel.EMAIL], min_length=1, max_length=8)


class OfOneOrder(Event):
    """About a renewal or a top-up: exactly one of the ids is set."""

    model_config = ConfigDict(json_schema_extra=_ONE_ORDER_SCHEMA)

    renewal_id: Identifier | None = None
    topup_id: Identifier | None = None

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        if (self.renewal_id is None) == (self.topup_id is None):
            message = "set exactly one of renewal_id and topup_id"
            raise ValueError(message)
        return self


class RenewalRequested(Event):
    """A customer asks for `quantity` consecutive periods of a plan on one eSIM."""

    renewal_id: Identifier
    iccid: Iccid
    plan_code: Identifier
    quantity: int = Field(default=1, ge=1, le=QUANTITY_MAX)
    expected_total: Money | None = None
    quote_expires_at: UtcDatetime | None = None
    payment: PaymentInstruction
    promotion_codes: list[Identifier] = Field(default=[], max_length=PROMOTION_CODES_MAX)
    contact: Contact | None = None
    requested_at: HappenedAt


class TopUpRequested(Event):
    """A customer adds `amount` to the wallet."""

    topup_id: Identifier
    amount: Money
    payment: PaymentInstruction
    contact: Contact | None = None
    requested_at: HappenedAt


class CustomerContactChanged(Event):
    """The customer has a new address, language or choice of channels; it replaces the stored contact."""

    contact: Contact
    changed_at: HappenedAt
