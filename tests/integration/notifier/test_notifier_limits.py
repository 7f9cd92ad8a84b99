"""What one mailbox gets of each kind, whoever its accounts are: a few, then one for all the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import cast

import asyncpg
import pytest
import structlog

from schemas.notifier import NotificationFailed, NotificationSent, NotificationSuppressed
from services.notifier.channels.email.channel import OutgoingEmail
from services.notifier.contacts.erasure import erase
from services.notifier.notification.outcomes import DeferralCause, Deferred, Refused
from services.notifier.sweeper import Sweeper, swept
from services.runtime.app.start import open_pool
from services.runtime.processor import Mark
from tests.controls import T0, settings_for
from tests.integration.notifier.crowded_mailbox import (
    AT_ONCE,
    HOUR,
    MINUTE,
    STRANGER,
    all_end,
    all_wait,
    decline,
    outcomes,
    text_of,
)
from tests.integration.notifier.notifier_database import (
    LEASE_SECONDS,
    Notifier,
    Postbox,
    notifier_on,
    recipients,
)


@pytest.fixture
async def notifier(fresh_database: str) -> AsyncIterator[Notifier]:
    async with notifier_on(fresh_database) as running:
        yield running


async def test_declined_renewals_of_many_accounts_put_a_few_mails_and_a_digest_into_one_mailbox(
    notifier: Notifier,
) -> None:
    count = 300
    await decline(notifier, range(count))
    await all_wait(notifier, count - AT_ONCE)
    notifier.now = T0 + HOUR
    await notifier.settle(until=AT_ONCE + 1)
    await all_end(notifier, count)
    events = await notifier.settle(until=count)
    assert recipients(notifier.postbox.mails) == [STRANGER] * (AT_ONCE + 1)
    told = {each.fact_event_id for each in events}  # type: ignore[attr-defined]
    assert len(told) == len(events) == count
    suppressed = [each for each in events if isinstance(each, NotificationSuppressed)]
    assert len(suppressed) == count - AT_ONCE - 1
    digest = text_of(notifier.postbox.mails[-1])
    assert f"Further messages of this kind: {count - AT_ONCE - 1}" in digest
    sent = " ".join(text_of(mail) for mail in notifier.postbox.mails)
    named = sorted({int(number) for number in re.findall(r"rnw-(\d+)\b", sent)})
    assert named == list(range(count))
    (carrier,) = {each.digest_notification_id for each in suppressed}
    assert carrier in {e.notification_id for e in events if isinstance(e, NotificationSent)}
    assert await notifier.pool.fetchval("SELECT count(*) FROM held_mail") == 0


async def test_two_workers_at_once_stay_within_the_limit_of_one_mailbox(
    notifier: Notifier, fresh_database: str
) -> None:
    dsn = settings_for(fresh_database, role="perennial_notifier:secret")
    pool = await open_pool("notifier", dsn)
    other = Notifier(pool, Postbox())
    other.offsets, other.sequences = notifier.offsets, notifier.sequences
    try:
        for begin in range(0, 80, 20):
            await decline(notifier if begin % 40 else other, range(begin, begin + 20))
        await all_wait(notifier, 80 - AT_ONCE)
        assert len(notifier.postbox.mails) + len(other.postbox.mails) == AT_ONCE
        notifier.now = other.now = T0 + HOUR
        await notifier.settle(until=AT_ONCE + 1)
        await all_end(notifier, 80, other)
        assert await outcomes(notifier, until=80) == {
            "NotificationSent": AT_ONCE + 1,
            "NotificationSuppressed": 80 - AT_ONCE - 1,
        }
        assert len(notifier.postbox.mails) + len(other.postbox.mails) == AT_ONCE + 1
    finally:
        await other.stop()
        await pool.close()


async def test_every_spelling_of_a_mailbox_shares_its_limit_and_another_mailbox_does_not(
    notifier: Notifier,
) -> None:
    spellings = ("a.b@gmail.com", "AB@gmail.com", "ab+1@googlemail.com", "a.b+x.y@GMAIL.com")
    await decline(notifier, range(8), lambda n: spellings[n % 4])
    await decline(notifier, range(8, 10))
    await notifier.settle(until=AT_ONCE + 2)
    await all_wait(notifier, 3)
    assert recipients(notifier.postbox.mails).count(STRANGER) == 2
    await notifier.take(notifier.record("PlanActivated", account_id="acct-0"))
    assert (await outcomes(notifier, until=AT_ONCE + 3))["NotificationSent"] == AT_ONCE + 3


async def test_what_a_failed_digest_listed_waits_for_the_next_one(notifier: Notifier) -> None:
    await decline(notifier, range(AT_ONCE + 3))
    await all_wait(notifier, 3)
    notifier.postbox.outcomes = [Refused("recipient")]
    notifier.now = T0 + HOUR
    await notifier.settle(until=AT_ONCE + 1)
    notifier.now = T0 + HOUR + MINUTE
    await all_wait(notifier, 2)
    notifier.now = T0 + 2 * HOUR
    await notifier.settle(until=AT_ONCE + 2)
    await all_end(notifier, AT_ONCE + 3)
    assert await outcomes(notifier, until=AT_ONCE + 3) == {
        "NotificationSent": AT_ONCE + 1,
        "NotificationFailed": 1,
        "NotificationSuppressed": 1,
    }


async def test_a_mail_server_that_is_away_costs_no_second_turn_and_keeps_the_list(
    notifier: Notifier,
) -> None:
    await decline(notifier, range(AT_ONCE + 2))
    await all_wait(notifier, 2)
    notifier.postbox.outcomes = [Deferred(DeferralCause.BUSY, 451)]
    notifier.now = T0 + HOUR
    await all_wait(notifier, 2)
    notifier.now = T0 + HOUR + MINUTE
    await notifier.settle(until=AT_ONCE + 1)
    await all_end(notifier, AT_ONCE + 2)
    assert (await outcomes(notifier, until=AT_ONCE + 2))["NotificationSuppressed"] == 1
    assert [
        text_of(mail).count("Further messages of this kind: 1") for mail in notifier.postbox.mails
    ][-2:] == [1, 1]


async def test_a_crash_between_turn_and_mail_neither_counts_twice_nor_loses(
    notifier: Notifier,
) -> None:
    reached = asyncio.Event()

    async def never(_mail: OutgoingEmail, _mark: Mark) -> None:
        reached.set()
        await asyncio.Event().wait()

    notifier.postbox.send = never  # type: ignore[method-assign, assignment]
    await decline(notifier, [0])
    await reached.wait()
    expected = await notifier.pool.fetchval("SELECT expected_at FROM mailbox_limit")
    await notifier.stop()
    del notifier.postbox.send
    await asyncio.sleep(LEASE_SECONDS)
    notifier.start()
    await notifier.settle(until=1)
    assert await notifier.pool.fetchval("SELECT expected_at FROM mailbox_limit") == expected
    await decline(notifier, range(1, AT_ONCE + 1))
    await notifier.settle(until=AT_ONCE)
    await all_wait(notifier, 1)
    assert len(notifier.postbox.mails) == AT_ONCE


async def test_a_crash_between_hold_and_its_record_holds_once(notifier: Notifier) -> None:
    await decline(notifier, range(AT_ONCE))
    await notifier.settle(until=AT_ONCE)
    await decline(notifier, [AT_ONCE])
    await all_wait(notifier, 1)
    await notifier.pool.execute("UPDATE effect SET interrupted = true, due_at = $1", T0)
    await notifier.settle(until=AT_ONCE)
    await all_wait(notifier, 1)
    assert await notifier.pool.fetchval("SELECT count(*) FROM held_mail") == 1


async def test_a_turn_in_one_mailbox_is_none_in_another(notifier: Notifier) -> None:
    await decline(notifier, range(AT_ONCE))
    await notifier.settle(until=AT_ONCE)
    notifier.postbox.outcomes = [Deferred(DeferralCause.BUSY, 451)]
    await decline(notifier, [7], lambda _: "tarpit@example.net")
    await all_wait(notifier, 1)
    contact = {"email": STRANGER, "locale": "en", "time_zone": "UTC"}
    moved = notifier.record("CustomerContactChanged", account_id="acct-7", contact=contact)
    await notifier.take(moved)
    notifier.now = T0 + MINUTE
    await all_wait(notifier, 1)
    assert recipients(notifier.postbox.mails)[AT_ONCE:] == ["tarpit@example.net"]


async def test_what_no_turn_comes_for_ends_as_not_told(notifier: Notifier) -> None:
    await decline(notifier, range(AT_ONCE + 1))
    await all_wait(notifier, 1)
    await notifier.pool.execute("UPDATE mailbox_limit SET expected_at = $1", T0 + 99 * HOUR)
    notifier.now = T0 + 3 * HOUR + MINUTE
    *_, last = await notifier.settle(until=AT_ONCE + 1)
    assert NotificationFailed in {type(each) for each in await notifier.events()}
    assert last


async def test_an_erasure_forgets_the_limits_of_the_mailbox(notifier: Notifier) -> None:
    await decline(notifier, range(AT_ONCE + 1))
    await all_wait(notifier, 1)
    async with notifier.pool.acquire() as connection:
        await erase(cast("asyncpg.Connection", connection), "acct-0")
    for table in ("mailbox_limit", "held_mail"):
        assert await notifier.pool.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_the_limits_hold_no_address(notifier: Notifier) -> None:
    await decline(notifier, range(AT_ONCE + 1))
    await all_wait(notifier, 1)
    rows = await notifier.pool.fetch(
        "SELECT mailbox_limit::text FROM mailbox_limit UNION ALL"
        " SELECT held_mail::text FROM held_mail UNION ALL SELECT payload::text FROM effect"
    )
    assert len(rows) == 3
    assert all("stranger" not in row[0] for row in rows)


async def test_a_mailbox_that_has_its_turns_back_is_forgotten_though_nothing_arrives(
    notifier: Notifier,
) -> None:
    await decline(notifier, [0])
    await notifier.settle(until=1)
    sweeper = Sweeper(
        notifier.pool,
        clock=lambda: notifier.now,
        logger=structlog.get_logger(),
    )
    await notifier.sweep()
    assert await notifier.pool.fetchval("SELECT count(*) FROM mailbox_limit") == 1
    notifier.now = T0 + HOUR + MINUTE
    async with swept(sweeper):
        for _ in range(200):
            if not await notifier.pool.fetchval("SELECT count(*) FROM mailbox_limit"):
                return
            await asyncio.sleep(0.02)
    pytest.fail("the limits of a quiet mailbox are kept")
