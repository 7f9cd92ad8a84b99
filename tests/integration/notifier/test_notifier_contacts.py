"""Contacts, the emails that wait for them, and what survives a crash, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast

import asyncpg
import pytest

from schemas.envelope import AHEAD_MAX
from schemas.notifier import NotificationFailed, NotificationFailureReason, NotificationSent
from services.notifier.contacts.contacts import Contacts
from services.notifier.contacts.erasure import Erasure, erase
from services.notifier.notification.outcomes import DeferralCause, Deferred
from services.runtime.errors import Transient
from tests.controls import T0, dsn_for
from tests.integration.notifier.notifier_database import (
    LEASE_SECONDS,
    Notifier,
    notifier_on,
    recipients,
)

ACCOUNT = "acct-100042"
HELD = [f"contact/{ACCOUNT}"]


@pytest.fixture
async def notifier(fresh_database: str) -> AsyncIterator[Notifier]:
    async with notifier_on(fresh_database) as running:
        yield running


@pytest.fixture
async def connection(fresh_database: str, notifier: Notifier) -> AsyncIterator[asyncpg.Connection]:
    assert await notifier.events() == []
    opened = await asyncpg.connect(
        dsn_for(fresh_database, "perennial_notifier:secret"),
        server_settings={"search_path": "notifier"},
    )
    yield opened
    await opened.close()


async def email_of(notifier: Notifier, account_id: str = ACCOUNT) -> str | None:
    contact = await notifier.contacts.find(account_id)
    return None if contact is None else contact.email


async def test_a_fact_after_the_contact_makes_one_email_and_one_event(notifier: Notifier) -> None:
    outcomes = await notifier.take(notifier.contact_changed("lin@example.org"))
    assert outcomes == {"applied": 1}
    await notifier.take(notifier.record("PlanActivated"))
    (sent,) = await notifier.settle(until=1)
    assert isinstance(sent, NotificationSent)
    assert sent.template == "renewal_confirmed"
    assert recipients(notifier.postbox.mails) == ["lin@example.org"]
    assert await notifier.pool.fetchval("SELECT count(*) FROM effect") == 0


async def test_the_log_and_the_effects_hold_no_contact_data(notifier: Notifier) -> None:
    notifier.postbox.gate = asyncio.Event()
    await notifier.take(
        notifier.contact_changed("lin@example.org", name="Lin Example"),
        notifier.record("PlanActivated"),
    )
    await notifier.postbox.taken.wait()
    rows = await notifier.pool.fetch(
        "SELECT payload::text AS text FROM effect UNION ALL"
        " SELECT convert_from(body, 'UTF8') FROM event"
    )
    assert rows
    notifier.postbox.gate.set()
    (sent,) = await notifier.settle(until=1)
    for text in [*(row["text"] for row in rows), sent.model_dump_json()]:
        assert "lin@example.org" not in text
        assert "Lin Example" not in text


async def test_a_fact_before_the_contact_waits_and_goes_when_the_contact_arrives(
    notifier: Notifier,
) -> None:
    await notifier.take(notifier.record("PlanActivated"))
    await notifier.wait_until_waiting(held=True)
    assert await notifier.held() == HELD
    await notifier.take(notifier.contact_changed("lin@example.org"))
    (sent,) = await notifier.settle(until=1)
    assert isinstance(sent, NotificationSent)
    assert recipients(notifier.postbox.mails) == ["lin@example.org"]


async def test_a_contact_that_arrives_during_the_look_up_is_found_at_the_next_look(
    notifier: Notifier,
) -> None:
    looked_up, may_answer = asyncio.Event(), asyncio.Event()
    find = notifier.contacts.find

    async def slow_find(account_id: str) -> object:
        found = await find(account_id)
        looked_up.set()
        await may_answer.wait()
        return found

    notifier.contacts.find = slow_find  # type: ignore[method-assign, assignment]
    await notifier.take(notifier.record("PlanActivated"))
    await looked_up.wait()
    await notifier.take(notifier.contact_changed("lin@example.org"))
    may_answer.set()
    await notifier.wait_until_waiting(held=True)
    assert notifier.postbox.mails == []
    notifier.now = T0 + timedelta(seconds=10)
    (sent,) = await notifier.settle(until=1)
    assert isinstance(sent, NotificationSent)


async def test_without_a_contact_until_the_deadline_the_customer_is_not_told(
    notifier: Notifier,
) -> None:
    await notifier.take(notifier.record("PlanActivated"))
    await notifier.wait_until_waiting(held=True)
    notifier.now = T0 + timedelta(hours=2)
    (failed,) = await notifier.settle(until=1)
    assert isinstance(failed, NotificationFailed)
    assert failed.reason is NotificationFailureReason.CONTACT_MISSING
    assert failed.template == "renewal_confirmed"
    assert await notifier.held() == []


async def test_a_deferred_email_goes_out_later_to_the_newest_address(notifier: Notifier) -> None:
    notifier.postbox.outcomes = [Deferred(DeferralCause.BUSY, 451)]
    await notifier.take(
        notifier.contact_changed("old@example.org"), notifier.record("PaymentFailed")
    )
    await notifier.wait_until_waiting()
    await notifier.take(notifier.contact_changed("new@example.org"))
    notifier.now = T0 + timedelta(seconds=10)
    (sent,) = await notifier.settle(until=1)
    assert isinstance(sent, NotificationSent)
    assert recipients(notifier.postbox.mails) == ["old@example.org", "new@example.org"]


async def test_a_crash_after_the_dot_ends_as_unknown_and_sends_nothing_again(
    notifier: Notifier,
) -> None:
    notifier.postbox.gate = asyncio.Event()
    await notifier.take(
        notifier.contact_changed("lin@example.org"), notifier.record("PlanActivated")
    )
    await notifier.postbox.taken.wait()
    await notifier.stop()
    notifier.postbox.gate = None
    await asyncio.sleep(LEASE_SECONDS)
    notifier.start()
    (failed,) = await notifier.settle(until=1)
    assert isinstance(failed, NotificationFailed)
    assert failed.reason is NotificationFailureReason.DELIVERY_UNKNOWN
    assert len(notifier.postbox.mails) == 1


async def test_the_newest_request_wins_in_whatever_order_they_arrive(notifier: Notifier) -> None:
    hour = timedelta(hours=1)
    await notifier.take(notifier.contact_changed("second@example.org", at=T0 - hour))
    await notifier.take(notifier.contact_changed("first@example.org", at=T0 - 2 * hour))
    assert await email_of(notifier) == "second@example.org"
    await notifier.take(
        notifier.contact_changed("fourth@example.org", at=T0),
        notifier.contact_changed("third@example.org", at=T0 - hour / 2),
    )
    assert await email_of(notifier) == "fourth@example.org"


async def test_a_request_from_the_future_does_not_keep_out_the_next_one(
    notifier: Notifier,
) -> None:
    never = notifier.contact_changed("never@example.org", at=T0 + timedelta(days=999))
    assert await notifier.take(never) == {"dead_lettered:time_ahead": 1}
    assert await email_of(notifier) is None
    await notifier.take(notifier.contact_changed("future@example.org", at=T0 + AHEAD_MAX))
    assert await email_of(notifier) == "future@example.org"
    notifier.now = T0 + timedelta(minutes=1)
    await notifier.take(notifier.contact_changed("now@example.org"))
    assert await email_of(notifier) == "now@example.org"


async def test_a_contact_with_a_smuggled_header_is_dead_lettered_and_not_kept(
    notifier: Notifier,
) -> None:
    evil = notifier.contact_changed("lin@example.org\r\nBcc: all@example.org")
    assert await notifier.take(evil) == {"dead_lettered:contact_refused": 1}
    assert await email_of(notifier) is None
    detail = await notifier.pool.fetchval("SELECT detail FROM dead_letter")
    assert "example.org" not in detail


async def test_a_refused_contact_is_closed_by_a_later_good_one_of_the_same_account(
    notifier: Notifier,
) -> None:
    other = {"email": "nobody"}
    await notifier.take(
        notifier.contact_changed("lin@example.org\r\nBcc: all@example.org"),
        notifier.contact_changed("no address"),
    )
    await notifier.take(
        notifier.record("CustomerContactChanged", account_id="acct-100043", contact=other)
    )
    await notifier.take(notifier.contact_changed("lin@example.org"))
    letters = await notifier.pool.fetch(
        "SELECT account_id, closed_as FROM dead_letter ORDER BY dead_letter_id"
    )
    assert [tuple(letter) for letter in letters] == [
        *((ACCOUNT, "discarded"), (ACCOUNT, "discarded")),
        ("acct-100043", None),
    ]


async def test_facts_that_need_no_email_are_ignored(notifier: Notifier) -> None:
    outcomes = await notifier.take(
        notifier.record("OrderExpired"), notifier.record("PaymentCaptured")
    )
    assert outcomes == {"ignored:not_handled_here": 2}


async def test_an_erased_contact_is_gone_and_older_requests_do_not_bring_it_back(
    notifier: Notifier, connection: asyncpg.Connection
) -> None:
    await notifier.take(notifier.contact_changed("lin@example.org", name="Lin"))
    await notifier.take(notifier.contact_changed("lin@example.org\n"))
    first, _ = await erase(connection, ACCOUNT)
    assert first == Erasure(contact=True, dead_letters=1)
    again, _ = await erase(connection, ACCOUNT)
    assert again == Erasure(contact=False, dead_letters=0)
    assert await email_of(notifier) is None
    kept = await connection.fetchrow("SELECT * FROM contact")
    assert kept is not None
    known = {name for name, value in kept.items() if value}
    assert known == {"account_id", "as_of", "channels", "erased_at"}
    assert kept["channels"] == "email", "what everybody gets who chose nothing"
    letters = await connection.fetch("SELECT record_value, closed_as FROM dead_letter")
    assert [tuple(letter) for letter in letters] == [(None, "discarded")]
    notifier.now = kept["erased_at"] + timedelta(minutes=1)
    before = kept["erased_at"] - timedelta(seconds=1)
    await notifier.take(notifier.contact_changed("lin@example.org", at=before))
    assert await email_of(notifier) is None


class SlowPool:
    """The pool, with an answer that is late: it holds each one back until the gate is open."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.gate = asyncio.Event()
        self.has_read = asyncio.Event()
        self.asked: list[list[str]] = []

    async def fetch(self, query: str, account_ids: list[str]) -> list[asyncpg.Record]:
        self.asked.append(account_ids)
        rows: list[asyncpg.Record] = await self.pool.fetch(query, account_ids)
        self.has_read.set()
        await self.gate.wait()
        return rows


async def test_who_asks_after_an_erasure_finds_nothing_though_an_older_answer_is_on_its_way(
    notifier: Notifier, connection: asyncpg.Connection
) -> None:
    await notifier.take(notifier.contact_changed("lin@example.org"))
    pool = SlowPool(notifier.pool)
    contacts = Contacts(cast("asyncpg.Pool", pool))
    before = asyncio.create_task(contacts.find(ACCOUNT))
    await pool.has_read.wait()
    await erase(connection, ACCOUNT)
    after = asyncio.create_task(contacts.find(ACCOUNT))
    await asyncio.sleep(0.05)
    pool.gate.set()
    assert await before is not None
    assert await after is None


async def test_contacts_that_are_asked_for_together_are_read_together(notifier: Notifier) -> None:
    accounts = ["acct-1", "acct-2", "acct-3", "acct-2"]
    for account in accounts[:2]:
        contact = {"email": f"{account}@example.org"}
        changed = notifier.record("CustomerContactChanged", account_id=account, contact=contact)
        await notifier.take(changed)
    pool = SlowPool(notifier.pool)
    contacts = Contacts(cast("asyncpg.Pool", pool))
    pool.gate.set()
    found = await asyncio.gather(*map(contacts.find, accounts))
    assert pool.asked == [accounts]
    assert [contact.email if contact else None for contact in found] == [
        *("acct-1@example.org", "acct-2@example.org"),
        *(None, "acct-2@example.org"),
    ]


async def test_one_email_that_is_cancelled_takes_no_other_with_it(notifier: Notifier) -> None:
    await notifier.take(notifier.contact_changed("lin@example.org"))
    pool = SlowPool(notifier.pool)
    contacts = Contacts(cast("asyncpg.Pool", pool))
    cancelled, other = (asyncio.create_task(contacts.find(ACCOUNT)) for _ in range(2))
    await pool.has_read.wait()
    cancelled.cancel()
    await asyncio.sleep(0)
    pool.gate.set()
    assert await other is not None
    assert cancelled.cancelled()


async def test_all_who_asked_hear_that_the_database_is_away_and_the_next_ones_ask_again(
    notifier: Notifier, fresh_database: str
) -> None:
    assert await notifier.events() == []
    role = dsn_for(fresh_database, "perennial_notifier:secret")
    pool = await asyncpg.create_pool(role, server_settings={"search_path": "notifier"})
    contacts = Contacts(pool)
    assert await contacts.find(ACCOUNT) is None
    await pool.close()
    for _ in range(2):
        answers = await asyncio.gather(
            contacts.find(ACCOUNT), contacts.find("acct-2"), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Transient, Transient]


async def test_a_customer_who_comes_back_after_an_erasure_is_written_to_again(
    notifier: Notifier, connection: asyncpg.Connection
) -> None:
    await erase(connection, ACCOUNT)
    erased_at = await connection.fetchval("SELECT erased_at FROM contact")
    notifier.now = erased_at + timedelta(minutes=1)
    await notifier.take(notifier.contact_changed("back@example.org"))
    assert await email_of(notifier) == "back@example.org"


async def test_the_role_of_the_notifier_cannot_delete_the_mark_of_an_erasure(
    connection: asyncpg.Connection,
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM contact")
