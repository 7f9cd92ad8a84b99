"""The port to whoever runs the eSIMs. Every answer is a value; nothing raises for a bad day.

`Unavailable` promises that nothing was done. `OutcomeUnknown` promises nothing at all: look up
by our reference, then ask again under the same reference.
"""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import Field

from schemas.envelope import Iccid, Identifier, Part, TimeZoneName, UtcDatetime
from schemas.orders import ActivationFailureReason, UnknownCause


class PlanOrder(Part):
    """Put `quantity` periods of a plan on an eSIM; `reference` is ours and the idempotency key.

    With a `time_zone`, its days are the calendar's there, that of the activation the first.
    """

    reference: Identifier
    iccid: Iccid = Field(repr=False)
    plan_code: Identifier
    quantity: int = Field(ge=1)
    validity_days: int = Field(ge=1)
    time_zone: TimeZoneName | None = None


class Activated(Part):
    """The plan is on the eSIM."""

    outcome: Literal["activated"] = "activated"
    provider: Identifier
    provider_order_ref: Identifier
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    activated_at: UtcDatetime


class Refused(Part):
    """The plan will never be on this eSIM."""

    outcome: Literal["refused"] = "refused"
    reason: Literal[
        ActivationFailureReason.ESIM_NOT_FOUND, ActivationFailureReason.ESIM_NOT_ELIGIBLE
    ]


class NotFound(Part):
    """The provider has no order under this reference, yet."""

    outcome: Literal["not_found"] = "not_found"


class Unavailable(Part):
    """The provider did nothing and says so, or was never reached."""

    outcome: Literal["unavailable"] = "unavailable"


class OutcomeUnknown(Part):
    """It may have happened or not."""

    outcome: Literal["outcome_unknown"] = "outcome_unknown"
    cause: UnknownCause


ActivationOutcome = Annotated[
    Activated | Refused | Unavailable | OutcomeUnknown, Field(discriminator="outcome")
]
ActivationLookUp = Annotated[Activated | NotFound | Unavailable, Field(discriminator="outcome")]


class EsimProvider(Protocol):
    """What orders asks of an eSIM provider."""

    async def top_up(self, order: PlanOrder) -> ActivationOutcome:
        """Activate once per `reference`, however often it is asked."""

    async def look_up(self, reference: str) -> ActivationLookUp:
        """Say what became of an order."""
