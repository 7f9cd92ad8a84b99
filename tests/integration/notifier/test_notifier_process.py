"""The notifier as a process: from a fact on Kafka to a message at a mail server, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from schemas.topics import NOTIFICATIONS, ORDERS
from tests.infrastructure.system import System

EXAMPLES: Final = Path(__file__).parents[3] / "schemas" / "examples"
ACCOUNT: Final = "acct-100042"
CONTACT: Final = {
    "account_id": ACCOUNT,
    "contact": {"email": "lin@example.org", "locale": "zh-HK", "time_zone": "Asia/Hong_Kong"},
    "changed_at": "2026-11-20T07:00:00Z",
}


def publish_fact(system: System, name: str, sequence: int) -> None:
    """Publish the example of an event of orders as its `sequence`-th."""
    example: dict[str, Any] = json.loads((EXAMPLES / name / "v1.json").read_text("utf-8"))
    body = json.dumps(example.pop("data")).encode()
    example["sequence"] = f"{sequence:020d}"
    headers = [(f"ce_{key}", str(value).encode()) for key, value in example.items()]
    headers.append(("content-type", b"application/json"))
    system.publish_signed((ACCOUNT.encode(), body, headers), topic=ORDERS.name)


def told(system: System) -> list[tuple[str, str]]:
    """Return (event, template) of everything the notifier has published."""
    published = system.published(NOTIFICATIONS.name)
    return [(name, data["template"]) for name, data in published]


def test_an_email_survives_a_mail_server_that_is_away_and_goes_out_once(system: System) -> None:
    system.start("notifier", RETRY_SECONDS=1, RETRY_SECONDS_MAX=1)
    system.publish("CustomerContactChanged", CONTACT)
    publish_fact(system, "PlanActivated", 1)
    deferred = "SELECT 1 FROM effect WHERE attempt >= 1 AND lease_until IS NULL"
    system.wait_for("a deferred email", lambda: system.query("notifier", deferred))
    system.start_mail_sink()
    system.wait_for("the event", lambda: told(system))
    publish_fact(system, "PaymentFailed", 2)
    system.wait_for("the second event", lambda: len(told(system)) == 2)
    assert told(system) == [
        ("NotificationSent", "renewal_confirmed"),
        ("NotificationSent", "payment_failed"),
    ]
    mails = system.mails()
    assert [mail["To"] for mail in mails] == ["lin@example.org", "lin@example.org"]
    assert {mail["Content-Language"] for mail in mails} == {"zh-Hant"}
    assert len({mail["Message-ID"] for mail in mails}) == 2
    assert system.dead_letters("notifier") == []
