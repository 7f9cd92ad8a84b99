"""The port to whoever moves the money. Every answer is a value; nothing raises for a bad day.

`Unavailable` promises that nothing was done. `OutcomeUnknown` promises nothing at all: only
a look-up may follow it, or the same call under the same key.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Protocol

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from schemas.confirmations import PayLink
from schemas.envelope import Identifier, Part, UtcDatetime
from schemas.money import Money
from schemas.orders import DeclineReason, UnknownCause
from schemas.requests import PaymentMethod

ALL_METHODS: Final = frozenset(PaymentMethod) - {PaymentMethod.WALLET}
"""What can be paid by a token at all: each gateway says which of them it charges."""


class Charge(Part):
    """Take `amount` by `token` at `gateway`; `payment_id` is the idempotency key."""

    payment_id: Identifier
    token: str = Field(repr=False)
    method: PaymentMethod
    amount: Money
    gateway: Identifier | None = Field(default=None, exclude=True)


class ChargeReference(Part):
    """A charge that `gateway` was asked for, at some time between `since` and `until`.

    `gateway_txn_id` is its name at the gateway, where that is known.
    """

    payment_id: Identifier
    gateway: Identifier | None = None
    since: UtcDatetime | None = None
    until: UtcDatetime | None = None
    gateway_txn_id: Identifier | None = None


class Refund(Part):
    """Give `amount` of one captured payment back; `refund_id` is the idempotency key.

    `gateway` and `gateway_txn_id` name the payment as it was reported. `through` is the gateway that
    was told to charge it; None: a customer paid it in the app.
    """

    refund_id: Identifier
    payment_id: Identifier
    gateway: Identifier
    gateway_txn_id: Identifier
    method: PaymentMethod
    amount: Money
    through: Identifier | None = Field(default=None, exclude=True)


class Captured(Part):
    """The money is ours."""

    outcome: Literal["captured"] = "captured"
    gateway: Identifier
    gateway_txn_id: Identifier
    amount: Money
    fee: Money | None = None
    captured_at: UtcDatetime

    @field_validator("fee", mode="wrap")
    @classmethod
    def _readable_or_none(cls, value: object, read: ValidatorFunctionWrapHandler) -> Money | None:
        """Leave out a fee that is no amount: a bad detail must not hide that money came in."""
        try:
            fee: Money | None = read(value)
        except ValidationError:
            return None
        return fee


class ActionRequired(Part):
    """Nothing was charged yet: the customer has to agree on the page `pay_link`."""

    outcome: Literal["action_required"] = "action_required"
    gateway: Identifier
    gateway_txn_id: Identifier
    pay_link: PayLink


class Declined(Part):
    """Nothing was charged, for good."""

    outcome: Literal["declined"] = "declined"
    reason: DeclineReason


class Refunded(Part):
    """The money went back."""

    outcome: Literal["refunded"] = "refunded"
    gateway: Identifier
    gateway_refund_ref: Identifier
    refunded_at: UtcDatetime


class NotFound(Part):
    """The gateway has no record under this key, yet."""

    outcome: Literal["not_found"] = "not_found"


class Found(Part):
    """The gateway holds this transaction: its word about money, currency and whose it is.

    `reference` is the merchant reference that the payment was made under. For an order it is the
    order's stream: `order/<renewal_id>` or `topup/<topup_id>`, the `ce_subject` of its events.
    """

    outcome: Literal["found"] = "found"
    gateway: Identifier
    gateway_txn_id: Identifier
    reference: Annotated[str, Field(max_length=256)]
    status: Literal["captured", "pending", "not_captured"]
    amount: Money
    method: PaymentMethod | None = None
    fee: Money | None = None
    captured_at: UtcDatetime

    @property
    def holds_money(self) -> bool:
        """Say whether money came in: nothing was captured of a payment of nothing."""
        return self.status == "captured" and self.amount.amount_minor > 0


class NotSupported(Part):
    """This gateway cannot do what it was asked for, such as to say what it knows of transactions."""

    outcome: Literal["not_supported"] = "not_supported"


class NotRefundable(Part):
    """The gateway does not give this back, now or later: a person has to."""

    outcome: Literal["not_refundable"] = "not_refundable"


class Unavailable(Part):
    """The gateway did nothing and says so, or was never reached."""

    outcome: Literal["unavailable"] = "unavailable"


class OutcomeUnknown(Part):
    """It may have happened or not."""

    outcome: Literal["outcome_unknown"] = "outcome_unknown"
    cause: UnknownCause


ChargeOutcome = Annotated[
    Captured | ActionRequired | Declined | NotSupported | Unavailable | OutcomeUnknown,
    Field(discriminator="outcome"),
]
ChargeLookUp = Annotated[
    Captured | ActionRequired | Declined | NotFound | Unavailable, Field(discriminator="outcome")
]
RefundOutcome = Annotated[
    Refunded | NotRefundable | Unavailable | OutcomeUnknown, Field(discriminator="outcome")
]
RefundLookUp = Annotated[
    Refunded | NotRefundable | NotFound | Unavailable, Field(discriminator="outcome")
]
TransactionLookUp = Annotated[
    Found | NotFound | Unavailable | NotSupported, Field(discriminator="outcome")
]


class PaymentGateway(Protocol):
    """What orders asks of a payment gateway."""

    async def charge(self, charge: Charge) -> ChargeOutcome:
        """Charge once per `payment_id`, however often it is asked."""

    async def look_up_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Say what became of a charge."""

    async def cancel_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """End a charge that waits for the customer, and say how it ended: it may be paid by now."""

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> TransactionLookUp:
        """Say what is known of a payment that the customer made at `gateway` without us.

        `Found` names the transaction as the gateway itself does; another spelling is `NotFound`.
        """

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Refund once per `refund_id`, however often it is asked."""

    async def look_up_refund(self, refund: Refund) -> RefundLookUp:
        """Say what became of a refund; ask for none."""
