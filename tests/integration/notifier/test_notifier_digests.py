"""What a mail tells of beside its own fact: each held fact once, in the mailbox that it belongs to."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from services.notifier.limits.turns import Admitted, RecipientLimits, TurnWanted
from services.notifier.notification.facts import Fact
from services.notifier.notification.outcomes import DeferralCause, Deferred
from services.notifier.notification.policy import Limits
from services.notifier.notification.templates import order_of
from services.runtime.errors import Transient
from tests.controls import T0
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
    Notifier,
    notifier_on,
    recipients,
)


@pytest.fixture
async def notifier(fresh_database: str) -> AsyncIterator[Notifier]:
    async with notifier_on(fresh_database) as running:
        yield running


async def move(notifier: Notifier, account: int, address: str) -> None:
    contact = {"email": address, "locale": "en", "time_zone": "UTC"}
    account_id = f"acct-{account}"
    changed_at = (notifier.now + MINUTE).isoformat()
    await notifier.take(
        notifier.record(
            "CustomerContactChanged", account_id=account_id, contact=contact, changed_at=changed_at
        )
    )


async def leader(notifier: Notifier) -> int:
    """Return the account of the mail that lists others."""
    row = await notifier.pool.fetchval(
        "SELECT payload->>'account_id' FROM effect WHERE EXISTS"
        " (SELECT FROM held_mail WHERE digest::text = payload->>'key')"
    )
    return int(row.removeprefix("acct-"))


async def test_what_a_mail_listed_that_moved_to_another_mailbox_is_told_by_the_next_one(
    notifier: Notifier,
) -> None:
    await decline(notifier, range(AT_ONCE + 3))
    await all_wait(notifier, 3)
    notifier.postbox.outcomes = [Deferred(DeferralCause.BUSY, 451)]
    notifier.now = T0 + HOUR
    await all_wait(notifier, 3)
    await move(notifier, await leader(notifier), "elsewhere@example.net")
    notifier.now = T0 + HOUR + MINUTE
    await notifier.settle(until=AT_ONCE + 1)
    assert recipients(notifier.postbox.mails)[-1] == "elsewhere@example.net"
    assert "Further messages" not in text_of(notifier.postbox.mails[-1])
    await all_wait(notifier, 2)
    notifier.now = T0 + 2 * HOUR
    await all_end(notifier, AT_ONCE + 3)
    told = " ".join(text_of(mail) for mail in notifier.postbox.mails)
    assert {int(number) for number in re.findall(r"rnw-(\d+)\b", told)} == set(range(AT_ONCE + 3))
    assert (await outcomes(notifier, until=AT_ONCE + 3))["NotificationSuppressed"] == 1


def wanted(fact: Fact, reference: str) -> TurnWanted:
    limit = Limits().of("payment_failed")
    return TurnWanted(fact.key, "payment_failed", reference, limit, STRANGER, fact.admitted)


async def test_what_a_run_listed_that_had_lost_its_lease_waits_for_another_mail(
    notifier: Notifier,
) -> None:
    await decline(notifier, range(AT_ONCE + 3))
    await all_wait(notifier, 3)
    await notifier.stop()
    now = notifier.now = T0 + HOUR
    leases = await notifier.log.lease_due_effects(now=now, limit=1)
    [stale] = [lease.run for lease in leases]
    await notifier.pool.execute("UPDATE effect SET attempt = attempt + 1")
    limits = RecipientLimits(notifier.pool, clock=lambda: now)
    with pytest.raises(Transient, match="lost its lease"):
        await limits.ask(stale, wanted(Fact.from_payload(stale.payload), "order/x"))
    listed = "SELECT count(*) FROM held_mail WHERE digest IS NOT NULL"
    assert await notifier.pool.fetchval(listed) == 0


async def test_what_waits_in_a_mailbox_that_its_account_left_is_told_in_the_new_one(
    notifier: Notifier,
) -> None:
    await decline(notifier, range(AT_ONCE + 3))
    await all_wait(notifier, 3)
    account_id = await notifier.pool.fetchval("SELECT max(payload->>'account_id') FROM effect")
    await move(notifier, int(account_id.removeprefix("acct-")), "elsewhere@example.net")
    await notifier.pool.execute(
        "UPDATE effect SET due_at = due_at + interval '1 minute' WHERE payload->>'account_id' = $1",
        account_id,
    )
    notifier.now = T0 + HOUR
    await notifier.settle(until=AT_ONCE + 1)
    notifier.now = T0 + HOUR + MINUTE
    await all_end(notifier, AT_ONCE + 3)
    assert Counter(recipients(notifier.postbox.mails)) == {
        STRANGER: AT_ONCE + 1,
        "elsewhere@example.net": 1,
    }
    assert (await outcomes(notifier, until=AT_ONCE + 3))["NotificationSuppressed"] == 1


async def test_a_mail_that_waited_and_gets_its_turn_is_listed_by_no_other_of_its_round(
    notifier: Notifier,
) -> None:
    await decline(notifier, range(AT_ONCE + 3))
    await all_wait(notifier, 3)
    await notifier.stop()
    await decline(notifier, [AT_ONCE + 3])
    await notifier.pool.execute("UPDATE effect SET lease_until = NULL")
    now = notifier.now = T0 + HOUR * AT_ONCE
    limits = RecipientLimits(notifier.pool, clock=lambda: now)
    runs = [lease.run for lease in await notifier.log.lease_due_effects(now=now, limit=9)]
    runs.sort(key=lambda run: run.account_id == f"acct-{AT_ONCE + 3}")
    facts = [Fact.from_payload(run.payload) for run in runs]
    references = [order_of(fact.event()) for fact in facts]
    turns = await asyncio.gather(
        *(
            limits.ask(run, wanted(fact, reference))
            for run, fact, reference in zip(runs, facts, references, strict=True)
        )
    )
    told = [
        name
        for turn, reference in zip(turns, references, strict=True)
        if isinstance(turn, Admitted)
        for name in (reference, *turn.listed)
    ]
    assert sorted(told) == sorted(references)
