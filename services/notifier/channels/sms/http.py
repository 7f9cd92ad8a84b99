"""An SMS aggregator behind HTTP. What the wire did not say for sure is `Unknown`."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schemas.envelope import UtcDatetime
from schemas.notifier import UndeliveredReason
from services.notifier.channels.sms.channel import (
    NoAnswer,
    NoSuchMessage,
    OutgoingSms,
    Status,
    Underway,
)
from services.notifier.notification.outcomes import (
    Arrived,
    DeferralCause,
    Deferred,
    Delivered,
    DeliveryOutcome,
    Lost,
    Refused,
    Unknown,
)
from services.runtime.http_access import HttpAnswer, exchange, send

_LOGIN_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Accepted(_Said):
    outcome: Literal["accepted"]


class _Refused(_Said):
    outcome: Literal["refused"]
    what: Literal["recipient", "message"]


class _Busy(_Said):
    outcome: Literal["busy"]


class _Sent(_Said):
    outcome: Literal["accepted", "underway"]


class _Delivered(_Said):
    outcome: Literal["delivered"]
    at: UtcDatetime


class _Undelivered(_Said):
    outcome: Literal["undelivered"]
    reason: Literal["undeliverable", "expired", "rejected"]
    at: UtcDatetime


class _NotFound(_Said):
    outcome: Literal["not_found"]


_ANSWER: Final[TypeAdapter[_Accepted | _Refused | _Busy]] = TypeAdapter(
    Annotated[_Accepted | _Refused | _Busy, Field(discriminator="outcome")]
)
_STATUS: Final[TypeAdapter[_Sent | _Delivered | _Undelivered | _NotFound]] = TypeAdapter(
    Annotated[_Sent | _Delivered | _Undelivered | _NotFound, Field(discriminator="outcome")]
)


@dataclass(frozen=True, slots=True)
class HttpSms:
    """`SmsChannel` over a client that knows the address, the login and the time-outs."""

    client: httpx.AsyncClient

    async def send(self, sms: OutgoingSms) -> DeliveryOutcome:
        """Put the message under its id, which is the key that it is sent once by."""
        request = self.client.build_request(
            "PUT",
            _path(sms.message_id),
            json={
                "to": sms.recipient,
                "from": sms.sender,
                "text": sms.text,
                "encoding": sms.encoding,
                "segments": sms.segments,
            },
            headers={"idempotency-key": sms.message_id},
        )
        try:
            answer = await send(self.client, request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Deferred(DeferralCause.UNREACHABLE)  # no connection, so nothing was sent
        except httpx.RequestError:
            return Unknown()
        return _outcome(answer)

    async def look_up(self, message_id: str) -> Status:
        """Read the message."""
        try:
            answer = await exchange(self.client, "GET", _path(message_id))
            said = _STATUS.validate_json(answer.body)
        except (httpx.RequestError, ValidationError):
            return NoAnswer()
        if isinstance(said, _NotFound):
            return NoSuchMessage() if answer.reports_answer else NoAnswer()
        if not answer.reports_success:
            return NoAnswer()
        if isinstance(said, _Delivered):
            return Arrived(said.at)
        if isinstance(said, _Undelivered):
            return Lost(UndeliveredReason(said.reason), said.at)
        return Underway()

    async def close(self) -> None:
        """Give up connections."""
        await self.client.aclose()


def _path(message_id: str) -> str:
    return f"/messages/{message_id}"


def _outcome(answer: HttpAnswer) -> DeliveryOutcome:
    if answer.status in _LOGIN_REFUSED:
        return Deferred(DeferralCause.LOGIN_REFUSED, answer.status)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Deferred(DeferralCause.BUSY, answer.status)
    try:
        said = _ANSWER.validate_json(answer.body)
    except ValidationError:
        return Unknown()
    if isinstance(said, _Accepted) and answer.reports_success:
        return Delivered()
    if isinstance(said, _Refused) and answer.reports_answer and not answer.reports_success:
        return Refused(said.what)
    if isinstance(said, _Busy) and not answer.reports_success:
        return Deferred(DeferralCause.BUSY, answer.status)
    return Unknown()
