"""A request's contact counts when that very request was accepted, in whichever order they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.notifier import NotificationSent
from services.notifier.contacts.candidates import CANDIDATES_PER_ACCOUNT_MAX
from services.runtime.flow.letters.dead_letters import RedrivenRecord
from tests.controls import T0
from tests.integration.notifier.notifier_database import Notifier, notifier_on, recipients

ACCOUNT = "acct-100042"
LIN = {"email": "lin@example.org"}
EVE = {"email": "eve@example.net"}


@pytest.fixture
async def notifier(fresh_database: str) -> AsyncIterator[Notifier]:
    async with notifier_on(fresh_database) as running:
        yield running


def asked(
    notifier: Notifier,
    cause: UUID,
    *,
    name: str = "Renewal",
    source: str = "/upstream/shop",
    **changes: Any,
) -> RedrivenRecord:
    attributes = {"id": str(cause), "source": source}
    changes = {"contact": LIN} | changes
    return notifier.record(f"{name}Requested", attributes=attributes, **changes)


def answered(
    notifier: Notifier, cause: UUID, answer: str = "RenewalAccepted", **changes: Any
) -> RedrivenRecord:
    attributes = {"id": str(uuid4()), "causationid": str(cause)}
    if answer == "RenewalRejected":
        changes = {"renewal_id": "rnw-2026-000317"} | changes
    return notifier.record(answer, attributes=attributes, **changes)


async def email_of(notifier: Notifier, account_id: str = ACCOUNT) -> str | None:
    contact = await notifier.contacts.find(account_id)
    return None if contact is None else contact.email


async def kept_aside(notifier: Notifier) -> tuple[int, int]:
    row = await notifier.pool.fetchrow(
        "SELECT (SELECT count(*) FROM contact_candidate) AS candidates,"
        " (SELECT count(*) FROM accepted_request) AS accepted"
    )
    assert row is not None
    return row["candidates"], row["accepted"]


async def test_the_contact_of_an_accepted_renewal_or_top_up_counts_and_is_mailed_to(
    notifier: Notifier,
) -> None:
    renewal, top_up = uuid4(), uuid4()
    await notifier.take(asked(notifier, renewal))
    assert await email_of(notifier) is None
    await notifier.take(answered(notifier, renewal), notifier.record("PlanActivated"))
    (sent,) = await notifier.settle(until=1)
    assert isinstance(sent, NotificationSent)
    assert recipients(notifier.postbox.mails) == ["lin@example.org"]
    await notifier.take(asked(notifier, top_up, name="TopUp", account_id="acct-2", contact=EVE))
    await notifier.take(answered(notifier, top_up, "TopUpAccepted", account_id="acct-2"))
    assert await email_of(notifier, "acct-2") == "eve@example.net"
    assert await kept_aside(notifier) == (0, 0)


async def test_an_acceptance_that_is_read_first_waits_for_its_request_and_lets_its_mail_go(
    notifier: Notifier,
) -> None:
    cause = uuid4()
    await notifier.take(answered(notifier, cause), notifier.record("PlanActivated"))
    await notifier.wait_until_waiting(held=True)
    assert await kept_aside(notifier) == (0, 1)
    await notifier.take(asked(notifier, cause))
    (sent,) = await notifier.settle(until=1)
    assert isinstance(sent, NotificationSent)
    assert recipients(notifier.postbox.mails) == ["lin@example.org"]
    assert await kept_aside(notifier) == (0, 0)


async def test_a_refused_request_neither_brings_nor_replaces_a_contact(notifier: Notifier) -> None:
    await notifier.take(notifier.contact_changed("lin@example.org", at=T0 - timedelta(hours=1)))
    cause = uuid4()
    await notifier.take(asked(notifier, cause, contact=EVE, requested_at=T0.isoformat()))
    await notifier.take(answered(notifier, cause, "RenewalRejected"))
    assert await email_of(notifier) == "lin@example.org"
    assert await kept_aside(notifier) == (0, 0)


async def test_a_request_that_another_one_was_accepted_for_brings_nothing(
    notifier: Notifier,
) -> None:
    cause = uuid4()
    await notifier.take(
        asked(notifier, uuid4(), contact=EVE),  # the same order, asked for again
        asked(notifier, cause, contact=EVE, renewal_id="rnw-other"),
    )
    await notifier.take(asked(notifier, cause, account_id="acct-eve", contact=EVE))
    await notifier.take(answered(notifier, cause))
    assert await email_of(notifier) is None
    assert await email_of(notifier, "acct-eve") is None


@pytest.mark.parametrize("together", [True, False])
async def test_one_request_with_two_contacts_brings_neither(
    notifier: Notifier, *, together: bool
) -> None:
    cause = uuid4()
    first = asked(notifier, cause)
    second = asked(notifier, cause, contact=EVE)
    for batch in [(first, second)] if together else [(first,), (second,)]:
        await notifier.take(*batch)
    await notifier.take(answered(notifier, cause))
    assert await email_of(notifier) is None
    assert await kept_aside(notifier) == (0, 0)


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_a_request_of_another_upstream_under_the_same_ids_spoils_no_contact(
    notifier: Notifier, *, in_one_batch: bool
) -> None:
    cause = uuid4()
    first = asked(notifier, cause)
    second = asked(notifier, cause, contact=EVE, source="/upstream/eve")
    for batch in [(first, second)] if in_one_batch else [(first,), (second,)]:
        await notifier.take(*batch)
    await notifier.take(answered(notifier, cause, request_source="/upstream/shop"))
    assert await email_of(notifier) == "lin@example.org"
    await notifier.sweep()
    notifier.now = T0 + timedelta(days=8)
    await notifier.sweep()
    assert await kept_aside(notifier) == (0, 0)


async def test_one_request_that_comes_twice_counts_once(notifier: Notifier) -> None:
    cause = uuid4()
    await notifier.take(asked(notifier, cause), asked(notifier, cause))
    await notifier.take(asked(notifier, cause))
    await notifier.take(answered(notifier, cause))
    assert await email_of(notifier) == "lin@example.org"


async def test_a_flood_of_requests_keeps_the_newest_few_of_an_account(notifier: Notifier) -> None:
    cause = uuid4()
    flood = [asked(notifier, uuid4(), contact=EVE) for _ in range(200)]
    await notifier.take(*flood[:150])
    await notifier.take(*flood[150:], asked(notifier, cause))
    candidates, _ = await kept_aside(notifier)
    assert candidates <= CANDIDATES_PER_ACCOUNT_MAX
    await notifier.take(answered(notifier, cause))
    assert await email_of(notifier) == "lin@example.org"


async def test_what_was_never_answered_is_forgotten_though_nothing_arrives(
    notifier: Notifier,
) -> None:
    await notifier.take(asked(notifier, uuid4()), asked(notifier, uuid4(), name="TopUp"))
    await notifier.take(answered(notifier, uuid4()))
    assert await kept_aside(notifier) == (2, 1)
    await notifier.sweep()
    assert await kept_aside(notifier) == (2, 1)
    notifier.now = T0 + timedelta(days=8)
    await notifier.sweep()
    assert await kept_aside(notifier) == (0, 0)


async def test_contacts_of_renewals_and_top_ups_are_kept_aside(notifier: Notifier) -> None:
    contact = {"email": "lin@example.org"}
    renewal = notifier.record("RenewalRequested", account_id="acct-1", contact=contact)
    top_up = notifier.record("TopUpRequested", account_id="acct-2", contact=contact)
    silent = notifier.record("TopUpRequested", account_id="acct-3", contact=None)
    other = notifier.record("TopUpRequested", account_id="acct-4")
    other_type = ("ce_type", b"billing.PaymentConfirmed.v1")
    other = replace(other, headers=(*(h for h in other.headers if h[0] != "ce_type"), other_type))
    batch = sorted((renewal, top_up, silent, other), key=lambda each: each.offset)
    outcomes = await notifier.take(*batch)
    assert outcomes == {
        "applied": 2,
        "ignored:no_contact_in_request": 1,
        "ignored:not_handled_here": 1,
    }
    assert await email_of(notifier, "acct-1") is None
    kept = await notifier.pool.fetch("SELECT account_id FROM contact_candidate ORDER BY 1")
    assert [row["account_id"] for row in kept] == ["acct-1", "acct-2"]
