"""One message per fact and channel, in Postgres: who is told by which, once, whatever happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import asyncpg
import pytest

from schemas.envelope import Event
from schemas.notifier import (
    NotificationFailed,
    NotificationSent,
    NotificationSuppressed,
)
from services.notifier.channels.sms.channel import (
    NoAnswer,
    NoSuchMessage,
    OutgoingSms,
    Status,
    Underway,
)
from services.notifier.contacts.erasure import erase
from services.notifier.notification.outcomes import Arrived, Delivered, DeliveryOutcome, Unknown
from tests.controls import T0
from tests.integration.notifier.notifier_database import Notifier, notifier_on

PHONE: Final = "+4915112345678"
EMAIL: Final = "lin@example.org"
BOTH: Final = ["email", "sms"]
TABLES: Final = ("event", "effect", "held_mail", "mailbox_limit", "taken_event", "dead_letter")


@dataclass
class Aggregator:
    """Takes messages, keeps them by id, and reports what it is told to."""

    outcome: DeliveryOutcome = field(default_factory=Delivered)
    status: Status = field(default_factory=Underway)
    taken: list[OutgoingSms] = field(default_factory=list)
    gate: asyncio.Event | None = None
    loses_requests: bool = False

    async def send(self, sms: OutgoingSms) -> DeliveryOutcome:
        if not self.loses_requests:
            self.taken.append(sms)
        if self.gate is not None:
            await self.gate.wait()
        return self.outcome

    async def look_up(self, message_id: str) -> Status:
        known = message_id in {sms.message_id for sms in self.taken}
        return self.status if known else NoSuchMessage()

    async def close(self) -> None:
        self.taken.clear()


@pytest.fixture
def aggregator() -> Aggregator:
    return Aggregator()


@pytest.fixture
async def notifier(fresh_database: str, aggregator: Aggregator) -> AsyncIterator[Notifier]:
    async with notifier_on(fresh_database, aggregator) as running:
        yield running


def told(events: list[Event]) -> Counter[tuple[str, str]]:
    return Counter((type(event).__name__, str(getattr(event, "channel", ""))) for event in events)


async def until(notifier: Notifier, **wanted: int) -> list[Event]:
    """Wait until so many events of each name are recorded, and return all."""
    for _ in range(1_500):
        events = await notifier.events()
        found = Counter(type(event).__name__ for event in events)
        if all(found[name] >= count for name, count in wanted.items()):
            return events
        await asyncio.sleep(0.02)
    raise AssertionError(f"{wanted} did not come: {told(await notifier.events())}")


async def all_effects_gone(notifier: Notifier) -> None:
    for _ in range(1_500):
        if not await notifier.pool.fetchval("SELECT count(*) FROM effect"):
            return
        await asyncio.sleep(0.02)
    rows = await notifier.pool.fetch("SELECT kind, due_at, hold_key FROM effect")
    raise AssertionError(f"effects are left: {[tuple(row) for row in rows]}")


async def test_who_wants_both_gets_one_of_each_and_the_report_is_a_fact_once(
    notifier: Notifier, aggregator: Aggregator
) -> None:
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=BOTH))
    await notifier.take(notifier.record("PlanActivated"))
    await until(notifier, NotificationSent=2)
    assert [sms.recipient for sms in aggregator.taken] == [PHONE]
    assert len(notifier.postbox.mails) == 1
    aggregator.status = Arrived(T0)
    notifier.now = T0 + timedelta(minutes=1)
    events = await until(notifier, NotificationDelivered=1)
    await all_effects_gone(notifier)
    assert told(events) == {
        ("NotificationSent", "email"): 1,
        ("NotificationSent", "sms"): 1,
        ("NotificationDelivered", "sms"): 1,
    }
    streams = await notifier.pool.fetch("SELECT stream_id, stream_version FROM event")
    assert {row["stream_id"].rpartition("/")[2] for row in streams} == {"email", "sms"}
    assert len({getattr(event, "notification_id", "") for event in events}) == 2


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(None, {"email"}), (["email"], {"email"}), (["sms"], {"sms"}), (BOTH, {"email", "sms"})],
)
async def test_nobody_is_told_by_a_channel_that_he_does_not_want(
    notifier: Notifier, channels: list[str] | None, expected: set[str]
) -> None:
    more: dict[str, Any] = {"phone": PHONE} | ({"channels": channels} if channels else {})
    await notifier.take(notifier.contact_changed(EMAIL, **more))
    await notifier.take(notifier.record("PlanActivated"))
    events = await notifier.settle(until=len(expected))
    notifier.now = T0 + timedelta(days=4)
    await until(notifier, NotificationUndelivered=int("sms" in expected))
    await all_effects_gone(notifier)
    assert {event.channel for event in events if isinstance(event, NotificationSent)} == expected


async def test_a_fact_before_the_contact_waits_for_it_on_both_channels(
    notifier: Notifier, aggregator: Aggregator
) -> None:
    await notifier.take(notifier.record("PlanActivated"))
    for _ in range(500):
        if len(await notifier.held()) == 2:
            break
        await asyncio.sleep(0.02)
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=["sms"]))
    await until(notifier, NotificationSent=1)
    assert len(aggregator.taken) == 1
    assert notifier.postbox.mails == []


async def test_without_a_contact_the_customer_is_missed_once(notifier: Notifier) -> None:
    await notifier.take(notifier.record("PlanActivated"))
    for hours in range(1, 4):
        notifier.now = T0 + timedelta(hours=hours)
        await asyncio.sleep(0.05)
    await until(notifier, NotificationFailed=1)
    await all_effects_gone(notifier)
    assert told(await notifier.events()) == {("NotificationFailed", "email"): 1}


async def test_the_log_and_the_effects_hold_no_number_at_any_moment(
    notifier: Notifier, aggregator: Aggregator
) -> None:
    aggregator.gate = asyncio.Event()
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=["sms"]))
    await notifier.take(notifier.record("PlanActivated"))
    for _ in range(500):
        if aggregator.taken:
            break
        await asyncio.sleep(0.02)
    await no_number(notifier)
    aggregator.gate.set()
    await until(notifier, NotificationSent=1)
    await no_number(notifier)


async def no_number(notifier: Notifier) -> None:
    for table in TABLES:
        for row in await notifier.pool.fetch(f"SELECT * FROM {table}"):
            assert PHONE.removeprefix("+") not in str(dict(row)), table


async def test_a_killed_process_looks_its_sms_up_and_sends_it_to_nobody_twice(
    notifier: Notifier, aggregator: Aggregator
) -> None:
    aggregator.gate = asyncio.Event()
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=["sms"]))
    await notifier.take(notifier.record("PlanActivated"))
    for _ in range(500):
        if aggregator.taken:
            break
        await asyncio.sleep(0.02)
    await notifier.stop()
    aggregator.gate = None
    await notifier.pool.execute(
        "UPDATE effect SET lease_until = clock_timestamp() - interval '1 h'"
    )
    notifier.start()
    events = await until(notifier, NotificationSent=1)
    assert len(aggregator.taken) == 1
    assert told(events) == {("NotificationSent", "sms"): 1}


async def test_a_request_that_never_arrived_ends_as_unknown_and_is_not_made_again(
    notifier: Notifier, aggregator: Aggregator
) -> None:
    aggregator.outcome, aggregator.loses_requests = Unknown(), True
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=["sms"]))
    await notifier.take(notifier.record("PlanActivated"))
    for minutes in range(0, 40, 4):
        notifier.now = T0 + timedelta(minutes=minutes)
        await asyncio.sleep(0.1)
    (event,) = await until(notifier, NotificationFailed=1)
    assert isinstance(event, NotificationFailed)
    assert (event.channel, event.reason) == ("sms", "delivery_unknown")
    assert aggregator.taken == []


async def test_an_answer_that_was_lost_is_found_and_sent_once(
    notifier: Notifier, aggregator: Aggregator
) -> None:
    aggregator.outcome, aggregator.status = Unknown(), NoAnswer()
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=["sms"]))
    await notifier.take(notifier.record("PlanActivated"))
    for _ in range(500):
        if aggregator.taken:
            break
        await asyncio.sleep(0.02)
    aggregator.status = Underway()
    notifier.now = T0 + timedelta(minutes=5)
    await until(notifier, NotificationSent=1)
    assert len(aggregator.taken) == 1


async def test_one_number_gets_a_few_of_a_kind_and_the_rest_in_one_beside_its_mailbox(
    notifier: Notifier, aggregator: Aggregator
) -> None:
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=BOTH))
    for number in range(7):
        await notifier.take(
            notifier.record("PaymentFailed", renewal_id=f"rnw-{number}", payment_id=f"p-{number}")
        )
    await until(notifier, NotificationSent=10)
    assert (len(aggregator.taken), len(notifier.postbox.mails)) == (5, 5)
    notifier.now = T0 + timedelta(hours=1)
    await until(notifier, NotificationSent=12)
    # What was listed in the one more ends when it asks again.
    notifier.now = T0 + timedelta(hours=1, minutes=10)
    events = await until(notifier, NotificationSuppressed=2)
    assert (len(aggregator.taken), len(notifier.postbox.mails)) == (6, 6)
    suppressed = [event for event in events if isinstance(event, NotificationSuppressed)]
    assert {event.channel for event in suppressed} == {"email", "sms"}
    sent = {e.notification_id: e.channel for e in events if isinstance(e, NotificationSent)}
    assert all(sent[each.digest_notification_id] == each.channel for each in suppressed)


async def test_an_erased_number_gets_nothing_and_leaves_no_trace(
    notifier: Notifier, aggregator: Aggregator, fresh_database: str
) -> None:
    aggregator.outcome = Unknown()
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=["sms"]))
    await notifier.take(notifier.record("PaymentFailed"))
    for _ in range(500):
        if aggregator.taken:
            break
        await asyncio.sleep(0.02)
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("SET search_path TO notifier")
    account = await connection.fetchval("SELECT account_id FROM contact")
    _, known = await erase(connection, account)
    assert known == {EMAIL, PHONE}
    for table in (*TABLES, "contact", "contact_candidate"):
        for row in await connection.fetch(f"SELECT * FROM {table}"):
            assert PHONE.removeprefix("+") not in str(dict(row)), table
    assert await connection.fetchval("SELECT count(*) FROM mailbox_limit") == 0
    await connection.close()
    await notifier.take(notifier.record("PlanActivated"))
    notifier.now = T0 + timedelta(minutes=1)
    await asyncio.sleep(0.3)
    assert len(aggregator.taken) == 1


async def test_a_log_from_before_channels_is_told_of_nothing_again(
    notifier: Notifier, fresh_database: str
) -> None:
    """The version before wrote the events about an email into the stream of its fact."""
    await notifier.take(notifier.contact_changed(EMAIL, phone=PHONE, channels=BOTH))
    record = notifier.record("PlanActivated")
    await notifier.stop()
    await notifier.take(record)
    await notifier.pool.execute(
        "UPDATE effect SET stream_id = replace(stream_id, '/email', '') WHERE kind = 'email'"
    )
    await notifier.pool.execute("DELETE FROM effect WHERE kind = 'sms'")
    notifier.start()
    await notifier.pool.execute("UPDATE effect SET lease_until = NULL, due_at = $1", T0)
    await until(notifier, NotificationSent=1)
    old = await notifier.pool.fetchval("SELECT stream_id FROM event")
    assert old.count("/") == 1
    await notifier.stop()
    notifier.start()
    # The fact is read again, as after a restore to an earlier moment.
    connection = await asyncpg.connect(fresh_database)
    await connection.execute("SET search_path TO notifier")
    await connection.execute("UPDATE cursor SET next_offset = 0")
    await connection.execute("DELETE FROM source_sequence")
    await connection.execute("DELETE FROM taken_event")
    await connection.close()
    outcomes = await notifier.take(record)
    assert outcomes == {"ignored:already_settled": 1}, outcomes
    await asyncio.sleep(0.3)
    assert told(await notifier.events()) == {("NotificationSent", "email"): 1}
    assert len(notifier.postbox.mails) == 1
    assert await notifier.pool.fetchval("SELECT count(*) FROM effect") == 0
