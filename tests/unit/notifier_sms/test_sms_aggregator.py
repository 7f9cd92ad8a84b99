"""What an aggregator answers, over HTTP and in the sandbox, and what that means for the message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from schemas.notifier import UndeliveredReason
from services.notifier.channels.sms.channel import (
    NoAnswer,
    NoSuchMessage,
    OutgoingSms,
    Status,
    Underway,
)
from services.notifier.channels.sms.http import HttpSms
from services.notifier.channels.sms.sandbox import SandboxSms
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
from tests.unit.notifier.builders import NOW

PHONE: Final = "+4915112345678"
SMS_OF: Final = OutgoingSms("m-1", "Shop", PHONE, "Hello", "gsm7", 1)


def http_sms(reply: Any) -> HttpSms:
    transport = httpx.MockTransport(reply)
    client = httpx.AsyncClient(transport=transport, base_url="https://sms.example.com/v1")
    return HttpSms(client)


def answering(status: int, body: Any) -> HttpSms:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http_sms(lambda _request: httpx.Response(status, stream=httpx.ByteStream(content)))


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {"outcome": "accepted"}, Delivered()),
        (202, {"outcome": "accepted", "price": "0.04"}, Delivered()),
        (422, {"outcome": "refused", "what": "recipient"}, Refused("recipient")),
        (400, {"outcome": "refused", "what": "message"}, Refused("message")),
        (401, b"", Deferred(DeferralCause.LOGIN_REFUSED, 401)),
        (403, {"outcome": "accepted"}, Deferred(DeferralCause.LOGIN_REFUSED, 403)),
        (429, b"slow down", Deferred(DeferralCause.BUSY, 429)),
        (503, {"outcome": "busy"}, Deferred(DeferralCause.BUSY, 503)),
        (500, {"outcome": "accepted"}, Unknown()),
        (302, {"outcome": "accepted"}, Unknown()),
        (200, {"outcome": "refused", "what": "recipient"}, Unknown()),
        (500, {"outcome": "refused", "what": "recipient"}, Unknown()),
        (422, {"outcome": "refused", "what": "anything"}, Unknown()),
        (200, {"outcome": "busy"}, Unknown()),
        (503, b"<html>bad gateway</html>", Unknown()),
        (409, {"outcome": "conflict"}, Unknown()),
        (200, b"", Unknown()),
        (200, b"{" * 200_000, Unknown()),
    ],
)
async def test_an_answer_is_believed_only_where_status_and_body_agree(
    status: int, body: Any, outcome: DeliveryOutcome
) -> None:
    assert await answering(status, body).send(SMS_OF) == outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError("x"), Deferred(DeferralCause.UNREACHABLE)),
        (httpx.ConnectTimeout("x"), Deferred(DeferralCause.UNREACHABLE)),
        (httpx.ReadTimeout("x"), Unknown()),
        (httpx.WriteError("x"), Unknown()),
        (httpx.RemoteProtocolError("x"), Unknown()),
    ],
)
async def test_what_was_surely_not_sent_may_be_sent_again_and_nothing_else(
    error: Exception, outcome: DeliveryOutcome
) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    assert await http_sms(fail).send(SMS_OF) == outcome
    assert await http_sms(fail).look_up("m-1") == NoAnswer()


async def test_the_id_of_a_message_is_its_place_and_its_idempotency_key() -> None:
    seen: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b'{"outcome":"accepted"}'))

    await http_sms(reply).send(SMS_OF)
    (request,) = seen
    assert (request.method, str(request.url)) == ("PUT", "https://sms.example.com/v1/messages/m-1")
    assert request.headers["idempotency-key"] == "m-1"
    assert json.loads(request.content) == {
        "to": PHONE,
        "from": "Shop",
        "text": "Hello",
        "encoding": "gsm7",
        "segments": 1,
    }


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, {"outcome": "accepted"}, Underway()),
        (200, {"outcome": "underway"}, Underway()),
        (200, {"outcome": "delivered", "at": "2026-11-20T09:00:00Z"}, Arrived(NOW)),
        (
            200,
            {"outcome": "undelivered", "reason": "expired", "at": "2026-11-20T09:00:00Z"},
            Lost(UndeliveredReason.EXPIRED, NOW),
        ),
        (404, {"outcome": "not_found"}, NoSuchMessage()),
        (404, b"", NoAnswer()),
        (500, {"outcome": "not_found"}, NoAnswer()),
        (500, {"outcome": "delivered", "at": "2026-11-20T09:00:00Z"}, NoAnswer()),
        (200, {"outcome": "delivered"}, NoAnswer()),
        (200, {"outcome": "delivered", "at": "soon"}, NoAnswer()),
        (
            200,
            {"outcome": "undelivered", "reason": PHONE, "at": "2026-11-20T09:00:00Z"},
            NoAnswer(),
        ),
    ],
)
async def test_a_status_is_one_of_the_contract_or_no_answer(
    status: int, body: Any, found: Status
) -> None:
    assert await answering(status, body).look_up("m-1") == found


async def test_the_sandbox_writes_one_file_for_each_message(tmp_path: Path) -> None:
    box = SandboxSms(tmp_path / "sms", lambda: NOW)
    assert await box.look_up("m-1") == NoSuchMessage()
    for _ in range(2):
        assert await box.send(SMS_OF) == Delivered()
    (file,) = (tmp_path / "sms").iterdir()
    assert json.loads(file.read_text("utf-8"))["text"] == "Hello"
    assert await box.look_up("m-1") == Arrived(NOW)


@pytest.mark.parametrize(
    ("ending", "outcome", "status"),
    [
        ("9001", Refused("recipient"), NoSuchMessage()),
        ("9002", Delivered(), Lost(UndeliveredReason.UNDELIVERABLE, NOW)),
        ("9003", Unknown(), Arrived(NOW)),
    ],
)
async def test_the_end_of_a_number_says_what_becomes_of_it_in_the_sandbox(
    tmp_path: Path, ending: str, outcome: DeliveryOutcome, status: Status
) -> None:
    box = SandboxSms(tmp_path, lambda: NOW)
    sms = OutgoingSms("m-2", "Shop", f"+491511234{ending}", "Hello", "gsm7", 1)
    assert await box.send(sms) == outcome
    assert await box.look_up("m-2") == status
