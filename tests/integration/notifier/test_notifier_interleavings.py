"""In whichever order requests and answers are read, only the contact of what was accepted counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from services.runtime.flow.letters.dead_letters import RedrivenRecord
from tests.controls import T0
from tests.integration.notifier.notifier_database import Notifier, notifier_on

OLD: Final = "old@example.org"
LIN: Final = "lin@example.org"
EVE: Final = "eve@example.net"
APP: Final = "/upstream/shop"
Step = Callable[[str], RedrivenRecord]
"""Makes the record of an account when it is its turn: offsets are given in the order of arrival."""


@pytest.fixture
async def notifier(fresh_database: str) -> AsyncIterator[Notifier]:
    async with notifier_on(fresh_database) as running:
        yield running


def asks(notifier: Notifier, cause: UUID, order: str, email: str, *, source: str = APP) -> Step:
    """Return a renewal that is asked for; Eve's requests are the newest."""

    def step(account_id: str) -> RedrivenRecord:
        return notifier.record(
            "RenewalRequested",
            attributes={"id": str(cause), "source": source},
            account_id=account_id,
            renewal_id=order,
            contact={"email": email, "locale": "en", "time_zone": "UTC"},
            requested_at=(T0 + timedelta(minutes=email == EVE)).isoformat(),
        )

    return step


def answers(
    notifier: Notifier, cause: UUID, order: str, answer: str = "RenewalAccepted", **more: Any
) -> Step:
    def step(account_id: str) -> RedrivenRecord:
        attributes = {"id": str(uuid4()), "causationid": str(cause)}
        return notifier.record(
            answer, attributes=attributes, account_id=account_id, renewal_id=order, **more
        )

    return step


async def play(notifier: Notifier, steps: Sequence[Step], *, at_once: int) -> set[frozenset[str]]:
    """Play every order of arrival, each for an account of its own, `at_once` records to a batch.

    Return which contacts each account had in the course of it, the first one not counted.
    """
    orders = {f"acct-{n}": order for n, order in enumerate(permutations(steps))}
    had: dict[str, set[str]] = {account_id: set() for account_id in orders}
    for begin in range(0, len(steps), at_once):
        batch = [
            step(account_id)
            for account_id, order in orders.items()
            for step in order[begin : begin + at_once]
        ]
        await notifier.take(*batch)
        for row in await notifier.pool.fetch("SELECT account_id, email FROM contact"):
            had[row["account_id"]].add(row["email"])
    return {frozenset(emails - {OLD}) for emails in had.values()}


async def store_old_contacts(notifier: Notifier, count: int) -> None:
    contact = {"email": OLD, "locale": "en", "time_zone": "UTC"}
    at = (T0 - timedelta(hours=1)).isoformat()
    changes = [
        notifier.record(
            "CustomerContactChanged", account_id=f"acct-{n}", contact=contact, changed_at=at
        )
        for n in range(count)
    ]
    await notifier.take(*changes)


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("told", [APP, None])
async def test_two_refused_requests_never_change_a_contact_in_any_order_with_an_accepted_one(
    notifier: Notifier, at_once: int, told: str | None
) -> None:
    """Also while answers are read that an older version of orders gave, without the source."""
    await store_old_contacts(notifier, 720)
    good, first, second = uuid4(), uuid4(), uuid4()
    steps = [
        asks(notifier, good, "rnw-1", LIN),
        answers(notifier, good, "rnw-1", request_source=told),
        # One bears the id of the accepted order, one an order of its own; both are newer.
        asks(notifier, first, "rnw-1", EVE),
        answers(notifier, first, "rnw-1", "RenewalRejected", request_source=told),
        asks(notifier, second, "rnw-2", EVE),
        answers(notifier, second, "rnw-2", "RenewalRejected", request_source=told),
    ]
    assert await play(notifier, steps, at_once=at_once) == {frozenset({LIN})}
    assert await notifier.pool.fetchval("SELECT count(*) FROM accepted_request") == 0


@pytest.mark.parametrize("at_once", [1, 2])
async def test_refused_requests_alone_leave_the_stored_contact(
    notifier: Notifier, at_once: int
) -> None:
    await store_old_contacts(notifier, 24)
    first, second = uuid4(), uuid4()
    steps = [
        asks(notifier, first, "rnw-1", EVE),
        answers(notifier, first, "rnw-1", "RenewalRejected"),
        asks(notifier, second, "rnw-1", EVE),
        answers(notifier, second, "rnw-1", "RenewalRejected"),
    ]
    assert await play(notifier, steps, at_once=at_once) == {frozenset()}


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_two_upstreams_with_one_request_id_and_order_never_give_each_other_their_contact(
    notifier: Notifier, at_once: int
) -> None:
    await store_old_contacts(notifier, 6)
    cause = uuid4()
    steps = [
        asks(notifier, cause, "rnw-1", LIN),
        asks(notifier, cause, "rnw-1", EVE, source="/upstream/eve"),
        answers(notifier, cause, "rnw-1", request_source=APP),
    ]
    found = await play(notifier, steps, at_once=at_once)
    assert found <= {frozenset(), frozenset({LIN})}
    if at_once == 1:
        assert frozenset({LIN}) in found
