"""A mailbox that many accounts have, and waiting for what becomes of its mails."""

from __future__ import annotations

import asyncio
import email
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from email.policy import SMTP
from uuid import uuid4

from services.notifier.channels.email.channel import OutgoingEmail
from tests.integration.notifier.notifier_database import Notifier

STRANGER = "stranger@example.org"
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
AT_ONCE = 5


async def decline(
    notifier: Notifier, accounts: Iterable[int], spelling: Callable[[int], str] = lambda _: STRANGER
) -> None:
    """Have one renewal of each account declined; its contact is the stranger's address."""
    records = []
    for number in accounts:
        account_id, address = f"acct-{number}", spelling(number)
        contact = {"email": address, "locale": "en", "time_zone": "UTC"}
        records += [
            notifier.record("CustomerContactChanged", account_id=account_id, contact=contact),
            notifier.record(
                "PaymentFailed",
                attributes={"id": str(uuid4())},
                account_id=account_id,
                renewal_id=f"rnw-{number}",
            ),
        ]
    for topic in ("billing.requests.v1", "billing.orders.v1"):
        await notifier.take(*(each for each in records if each.topic == topic))


async def all_wait(notifier: Notifier, count: int) -> None:
    """Wait until so many mails are left, all of them put off beyond now."""
    query = (
        "SELECT count(*), count(*) FILTER (WHERE lease_until IS NULL AND due_at > $1) FROM effect"
    )
    for _ in range(1_500):
        row = await notifier.pool.fetchrow(query, notifier.now)
        if row is not None and tuple(row) == (count, count):
            return
        await asyncio.sleep(0.02)
    message = f"{tuple(row or ())} mails wait, not {count}"
    raise AssertionError(message)


async def all_end(notifier: Notifier, count: int, *others: Notifier) -> None:
    """Let time pass, half a minute at a time, until there are so many outcomes."""
    for _ in range(100):
        if await notifier.pool.fetchval("SELECT count(*) FROM event") >= count:
            return
        for each in (notifier, *others):
            each.now += MINUTE / 2
        await asyncio.sleep(0.3)
    message = "mails of the mailbox are left"
    raise AssertionError(message)


async def outcomes(notifier: Notifier, until: int) -> Counter[str]:
    return Counter(type(each).__name__ for each in await notifier.settle(until=until))


def text_of(mail: OutgoingEmail) -> str:
    body = email.message_from_bytes(mail.content, policy=SMTP).get_body(("plain",))
    assert body is not None
    text: str = body.get_content()
    return text
