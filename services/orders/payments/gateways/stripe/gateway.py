"""Charges, looks up and gives back at Stripe. What it did not say for sure is `OutcomeUnknown`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import httpx
import stripe

from schemas.orders import DeclineReason, UnknownCause
from services.orders.payments.gateways.gateway import (
    ActionRequired,
    Captured,
    Charge,
    ChargeLookUp,
    ChargeOutcome,
    ChargeReference,
    Declined,
    Found,
    NotFound,
    NotRefundable,
    NotSupported,
    OutcomeUnknown,
    Refund,
    Refunded,
    RefundLookUp,
    RefundOutcome,
    TransactionLookUp,
    Unavailable,
)
from services.orders.payments.gateways.stripe.amounts import units_of
from services.orders.payments.gateways.stripe.answers import (
    GivenBack,
    Intent,
    Page,
    moment,
    read,
)
from services.orders.payments.gateways.stripe.capability import CHARGES, GATEWAY, METHODS
from services.orders.payments.gateways.stripe.declines import reason_of

PAGE: Final = 100
PAGES_MAX: Final = 200
CLOCKS_MAX: Final = timedelta(minutes=5)
"""By how much the clocks of Stripe and of ours may differ, and how long a request may be under way."""
_WITH_FEE: Final = ["latest_charge.balance_transaction"]
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOTHING_DONE: Final = (stripe.RateLimitError, stripe.AuthenticationError, stripe.PermissionError)
_FOREIGN_REFUND: Final = frozenset({"charge_already_refunded", "charge_disputed"})
"""Somebody else gave it back, or the customer's bank took it: asking again changes nothing."""
_NOT_AGREED: Final = Declined(reason=DeclineReason.AUTHENTICATION_REQUIRED)
_GONE: Final = frozenset({"failed", "canceled"})


@dataclass(frozen=True, slots=True)
class StripeGateway:
    """`PaymentGateway` over the SDK. A token is `pm_...`, or `cus_...-pm_...` for a saved one."""

    client: stripe.StripeClient
    return_url: str | None = None
    """Where a customer returns to after agreeing; without it no customer is asked to agree."""

    async def charge(self, charge: Charge) -> ChargeOutcome:
        """Create and confirm a PaymentIntent, under the payment's id as idempotency key."""
        units = units_of(charge.amount)
        if charge.method not in CHARGES or units is None:
            return NotSupported()
        customer, _, method = charge.token.rpartition("-")
        params: stripe.params.PaymentIntentCreateParams = {
            "amount": units,
            "currency": charge.amount.currency.lower(),
            "payment_method": method,
            "allowed_payment_method_types": [METHODS[charge.method]],
            "confirm": True,
            "off_session": True,
            "metadata": {"payment_id": charge.payment_id},
            "expand": _WITH_FEE,
        }
        if customer:
            params["customer"] = customer
        if self.return_url:
            params["return_url"] = self.return_url
        try:
            answer = await self.client.v1.payment_intents.create_async(
                params, {"idempotency_key": charge.payment_id}
            )
            return _charged(read(Intent, answer)) or _unclear()
        except stripe.CardError as error:
            declined = _not_charged(error)
            intent_id = _intent_of(error)
            if self.return_url is None or declined != _NOT_AGREED or intent_id is None:
                return declined
            return await self._ask_customer(charge, intent_id, self.return_url)
        except stripe.StripeError as error:
            return _not_charged(error)
        except ValueError:
            return _unclear()

    async def _ask_customer(self, charge: Charge, intent_id: str, return_url: str) -> ChargeOutcome:
        """Confirm once more, with the customer there: Stripe then says on which page to agree."""
        method = charge.token.rpartition("-")[2]
        try:
            answer = await self.client.v1.payment_intents.confirm_async(
                intent_id,
                {"payment_method": method, "return_url": return_url, "expand": _WITH_FEE},
                {"idempotency_key": f"{charge.payment_id}/agree"},
            )
            return _charged(read(Intent, answer)) or _unclear()
        except stripe.StripeError as error:
            return _not_charged(error)
        except ValueError:
            return _unclear()

    async def look_up_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Find the PaymentIntent among those that were created when it was asked for.

        Not by Stripe's search: that may be an hour behind, and a charge that is not found is
        written off.
        """
        try:
            if reference.gateway_txn_id is not None:
                return _charged(await self._intent(reference.gateway_txn_id)) or Unavailable()
            async for intent in self._intents(reference):
                if intent.metadata.get("payment_id") == reference.payment_id:
                    return _charged(await self._intent(intent.id)) or Unavailable()
        except (stripe.StripeError, ValueError, _TooMany):
            return Unavailable()
        return NotFound()

    async def cancel_charge(self, reference: ChargeReference) -> ChargeLookUp:
        """Cancel the PaymentIntent, so that it can no longer be agreed to."""
        if reference.gateway_txn_id is None:
            return Unavailable()
        try:
            answer = await self.client.v1.payment_intents.cancel_async(
                reference.gateway_txn_id, {"cancellation_reason": "abandoned"}
            )
            return _charged(read(Intent, answer)) or Unavailable()
        except stripe.InvalidRequestError:
            return await self.look_up_charge(reference)  # it was paid, or is cancelled already
        except (stripe.StripeError, ValueError):
            return Unavailable()

    async def look_up_transaction(self, gateway: str, gateway_txn_id: str) -> TransactionLookUp:
        """Read a PaymentIntent of the shop, whose metadata has the order as `reference`."""
        if gateway != GATEWAY:
            return NotSupported()
        if not gateway_txn_id.startswith("pi_"):
            return NotFound()
        try:
            return _found(await self._intent(gateway_txn_id))
        except stripe.InvalidRequestError as error:
            return NotFound() if error.http_status == httpx.codes.NOT_FOUND else Unavailable()
        except (stripe.StripeError, ValueError):
            return Unavailable()

    async def refund(self, refund: Refund) -> RefundOutcome:
        """Give a PaymentIntent back, under the refund's id as idempotency key."""
        units = units_of(refund.amount)
        if units is None:
            return NotRefundable()
        try:
            answer = await self.client.v1.refunds.create_async(
                {
                    "payment_intent": refund.gateway_txn_id,
                    "amount": units,
                    "metadata": {"refund_id": refund.refund_id, "payment_id": refund.payment_id},
                },
                {"idempotency_key": refund.refund_id},
            )
            return _refunded(read(GivenBack, answer))
        except stripe.InvalidRequestError as error:
            return NotRefundable() if error.code in _FOREIGN_REFUND else Unavailable()
        except stripe.StripeError as error:
            return _unanswered(error)
        except ValueError:
            return _unclear()

    async def look_up_refund(self, refund: Refund) -> RefundLookUp:
        """Find the refund among those of its PaymentIntent."""
        try:
            answer = await self.client.v1.refunds.list_async(
                {"payment_intent": refund.gateway_txn_id, "limit": PAGE}
            )
            page = read(Page[GivenBack], answer)
            for each in page.data:
                if each.metadata.get("refund_id") == refund.refund_id:
                    return _refunded(each)
        except (stripe.StripeError, ValueError):
            return Unavailable()
        return NotFound() if not page.has_more else Unavailable()

    async def _intent(self, intent_id: str) -> Intent:
        answer = await self.client.v1.payment_intents.retrieve_async(
            intent_id, {"expand": _WITH_FEE}
        )
        return read(Intent, answer)

    async def _intents(self, reference: ChargeReference) -> AsyncIterator[Intent]:
        """Yield what was created while the charge may have been asked for.

        Raises:
            _TooMany: it cannot be gone through in a bounded time.
        """
        created: stripe.params.PaymentIntentListParamsCreated = {}
        if reference.since is not None:
            created["gte"] = int((reference.since - CLOCKS_MAX).timestamp())
        if reference.until is not None:
            created["lte"] = int((reference.until + CLOCKS_MAX).timestamp())
        params: stripe.params.PaymentIntentListParams = {"created": created, "limit": PAGE}
        for _ in range(PAGES_MAX):
            answer = await self.client.v1.payment_intents.list_async(params)
            page = read(Page[Intent], answer)
            for each in page.data:
                yield each
            if not page.has_more or not page.data:
                return
            params["starting_after"] = page.data[-1].id
        raise _TooMany


class _TooMany(Exception):
    pass


def _charged(intent: Intent) -> Captured | ActionRequired | Declined | None:
    """Return how a charge ended, or what the customer has to do; None: neither."""
    match intent.status:
        case "succeeded":
            return Captured(
                gateway=GATEWAY,
                gateway_txn_id=intent.id,
                amount=intent.money,
                fee=intent.fee,
                captured_at=intent.paid_at,
            )
        case "requires_payment_method" | "canceled":
            why = intent.last_payment_error
            codes = (why.decline_code, why.code) if why else (None, None)
            return Declined(reason=reason_of(*codes))
        case "requires_action" if intent.next_action and intent.next_action.redirect_to_url:
            link = intent.next_action.redirect_to_url.url
            return ActionRequired(gateway=GATEWAY, gateway_txn_id=intent.id, pay_link=link)
        case _:
            return None


def _intent_of(error: stripe.CardError) -> str | None:
    intent = error.error.payment_intent if error.error else None
    return intent.id if intent else None


def _not_charged(error: stripe.StripeError) -> Declined | Unavailable | OutcomeUnknown:
    match error:
        case stripe.CardError(error=said) if said is not None:
            return Declined(reason=reason_of(said.decline_code, said.code))
        case stripe.CardError(code=code) | stripe.InvalidRequestError(code=code):
            return Declined(reason=reason_of(None, code))
        case _:
            return _unanswered(error)


def _unanswered(error: stripe.StripeError) -> Unavailable | OutcomeUnknown:
    """Say whether anything can have been done where Stripe gave no answer to what was asked."""
    match error:
        case stripe.APIConnectionError(__cause__=cause) if isinstance(cause, _NOT_SENT):
            return Unavailable()
        case stripe.APIConnectionError(__cause__=httpx.TimeoutException()):
            return OutcomeUnknown(cause=UnknownCause.TIMEOUT)
        case stripe.APIConnectionError():
            return OutcomeUnknown(cause=UnknownCause.CONNECTION_LOST)
        case _ if isinstance(error, _NOTHING_DONE):
            return Unavailable()
        case _:
            return _unclear()


def _unclear() -> OutcomeUnknown:
    return OutcomeUnknown(cause=UnknownCause.GATEWAY_ERROR)


def _found(intent: Intent) -> Found:
    status: Final = {"succeeded": "captured", "canceled": "not_captured"}
    return Found.model_validate(
        {
            "gateway": GATEWAY,
            "gateway_txn_id": intent.id,
            "reference": intent.metadata.get("reference", intent.metadata.get("payment_id", "")),
            "status": status.get(intent.status, "pending"),
            "amount": intent.money,
            "method": intent.method,
            "fee": intent.fee,
            "captured_at": intent.paid_at,
        }
    )


def _refunded(refund: GivenBack) -> Refunded | NotRefundable | Unavailable:
    """Return what became of a refund; one that is pending is asked about again."""
    if refund.status == "succeeded":
        return Refunded(
            gateway=GATEWAY, gateway_refund_ref=refund.id, refunded_at=moment(refund.created)
        )
    return NotRefundable() if refund.status in _GONE else Unavailable()
