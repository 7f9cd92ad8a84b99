"""Facts, contacts and moments that the tests of the notifier start from."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from schemas import EVENT_TYPES
from schemas.envelope import Envelope, Event
from schemas.requests import Contact
from services.notifier.channels.email.message import Letterhead
from services.notifier.notification.facts import Fact
from services.notifier.notification.policy import Policy
from services.runtime.processor import Incoming

NOW: Final = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
EXAMPLES: Final = Path(__file__).parents[3] / "schemas" / "examples"
CONTACT: Final = Contact(
    email="lin@example.org", name="林小雨", locale="zh-Hans", time_zone="Asia/Shanghai"
)
LETTERHEAD: Final = Letterhead(
    from_address="plans@shop.example.com",
    from_name="旅行卡 Plans",
    reply_to="help@shop.example.com",
    message_id_domain="mail.example.com",
)
POLICY: Final = Policy(
    contact_deadline=timedelta(hours=2),
    send_deadline=timedelta(hours=1),
    retry_first=timedelta(seconds=10),
    retry_longest=timedelta(minutes=5),
)


def incoming(name: str, **changes: Any) -> Incoming:
    """Return the example of an event as it arrives, with fields of its body changed."""
    example = json.loads((EXAMPLES / name / "v1.json").read_text(encoding="utf-8"))
    body = json.dumps(example.pop("data") | changes).encode()
    envelope = Envelope.model_validate(example)
    event: Event = EVENT_TYPES[envelope.type].parse(body)
    return Incoming(envelope, event, body)


def fact_of(name: str = "PlanActivated") -> Fact:
    """Return the example of an event as a fact to tell of."""
    found = incoming(name)
    return Fact.of(found.envelope, found.event, contact_by=NOW + POLICY.contact_deadline)
