"""Contacts of requests that orders has not accepted yet, kept aside until it does, or a week."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from schemas.envelope import Envelope, Event
from schemas.orders import RenewalAccepted, RenewalRejected, TopUpAccepted, TopUpRejected
from schemas.requests import Contact, RenewalRequested, TopUpRequested
from services.notifier.contacts.contact_check import checked
from services.notifier.contacts.rows import columns_of, contact_of
from services.runtime.processor import Incoming

CANDIDATES_PER_ACCOUNT_MAX: Final = 64
"""Of more, the newest stay: orders answers within a moment, whoever floods an account."""
_KEPT_FOR: Final = timedelta(days=7)
_KEY: Final = ("account_id", "order_id", "event_id")
"""What an answer names of a request; an older one no upstream."""
_SAME_SOURCE: Final = "({0}.source IS NULL OR {0}.source = {1}.source)"
"""An answer that names the upstream answers no other one's request, though it bears the same id."""
_SAME: Final = " AND ".join(f"{{0}}.{name} = {{1}}.{name}" for name in _KEY)

# One that was accepted before it was read is handed back at once. The same request of the same
# upstream with another contact is contested: which of the two was accepted cannot be known, so
# neither counts.
_KEEP: Final = (
    "WITH asked AS (SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[],"  # noqa: S608
    " $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::timestamptz[],"
    " $12::boolean[]) AS asked(account_id, order_id, event_id, source, email, phone, name, locale,"
    " time_zone, channels, as_of, contested)),"
    " met AS (DELETE FROM accepted_request USING asked"
    f" WHERE {_SAME.format('accepted_request', 'asked')}"
    f" AND {_SAME_SOURCE.format('accepted_request', 'asked')} RETURNING asked.*),"
    " kept AS (INSERT INTO contact_candidate (account_id, order_id, event_id, source, email, phone,"
    " name, locale, time_zone, channels, as_of, contested, expires_at)"
    " SELECT asked.*, $13 FROM asked"
    f" WHERE NOT EXISTS (SELECT FROM met WHERE {_SAME.format('met', 'asked')})"
    " AND NOT EXISTS (SELECT FROM contact WHERE contact.account_id = asked.account_id"
    " AND contact.erased_at IS NOT NULL AND contact.as_of > asked.as_of)"
    " ON CONFLICT (account_id, order_id, event_id, source) DO UPDATE SET contested ="
    " contact_candidate.contested OR excluded.contested OR"
    " (contact_candidate.email, contact_candidate.phone,"
    " contact_candidate.name, contact_candidate.locale, contact_candidate.time_zone,"
    " contact_candidate.channels) IS DISTINCT FROM (excluded.email, excluded.phone, excluded.name,"
    " excluded.locale, excluded.time_zone, excluded.channels)"
    " RETURNING account_id, (SELECT count(*) FROM contact_candidate AS own"
    " WHERE own.account_id = contact_candidate.account_id) AS others)"
    " SELECT account_id, email, phone, name, locale, time_zone, channels, as_of, false AS crowded"
    " FROM met WHERE NOT contested UNION ALL SELECT DISTINCT account_id, '', NULL, NULL, '', '', '',"
    f" clock_timestamp(), true FROM kept WHERE others >= {CANDIDATES_PER_ACCOUNT_MAX}"
)
_PRUNE: Final = (
    "DELETE FROM contact_candidate USING (SELECT account_id, order_id, event_id, source,"  # noqa: S608
    " row_number() OVER (PARTITION BY account_id ORDER BY kept_at DESC, order_id, event_id, source)"
    " AS place FROM contact_candidate WHERE account_id = ANY($1::text[])) AS ranked"
    f" WHERE {_SAME.format('contact_candidate', 'ranked')}"
    " AND contact_candidate.source = ranked.source"
    f" AND place > {CANDIDATES_PER_ACCOUNT_MAX}"
)
_TAKE: Final = (
    "WITH answered AS (SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::boolean[],"  # noqa: S608
    " $5::text[]) AS answered(account_id, order_id, event_id, accepted, source)),"
    " taken AS (DELETE FROM contact_candidate USING answered"
    f" WHERE {_SAME.format('contact_candidate', 'answered')}"
    f" AND {_SAME_SOURCE.format('answered', 'contact_candidate')}"
    " RETURNING contact_candidate.*, accepted),"
    # An answer that names no upstream may mean the request of any that asked.
    " alone AS (SELECT account_id, order_id, event_id FROM taken"
    " GROUP BY account_id, order_id, event_id HAVING count(*) = 1),"
    " noted AS (INSERT INTO accepted_request (account_id, order_id, event_id, source, expires_at)"
    " SELECT account_id, order_id, event_id, source, $6 FROM answered WHERE accepted"
    f" AND NOT EXISTS (SELECT FROM taken WHERE {_SAME.format('taken', 'answered')})"
    " ON CONFLICT DO NOTHING)"
    " SELECT account_id, email, phone, name, locale, time_zone, channels, as_of"
    " FROM taken JOIN alone USING (account_id, order_id, event_id)"
    " WHERE accepted AND NOT contested"
)


@dataclass(frozen=True, slots=True)
class ContactChange:
    """What is known of how to reach a customer, and since when."""

    account_id: str
    contact: Contact
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """The contact of one request: it counts when that very request is accepted."""

    account_id: str
    order_id: str
    event_id: UUID
    source: str
    contact: Contact
    as_of: datetime
    contested: bool = False

    @property
    def key(self) -> tuple[str, str, UUID, str]:
        """Return what tells the request from every other."""
        return self.account_id, self.order_id, self.event_id, self.source


@dataclass(frozen=True, slots=True)
class OrderAnswer:
    """What orders said of one request; `source` is the upstream that asked, if it is told."""

    account_id: str
    order_id: str
    event_id: UUID
    accepted: bool
    source: str | None = None


def candidate_of(envelope: Envelope, event: Event) -> Candidate | None:
    """Return the contact that a renewal or a top-up brings, or None.

    Raises:
        Poison: the contact is unusable.
    """
    match event:
        case RenewalRequested(contact=Contact() as contact):
            order_id = f"order/{event.renewal_id}"
        case TopUpRequested(contact=Contact() as contact):
            order_id = f"topup/{event.topup_id}"
        case _:
            return None
    return Candidate(
        event.account_id,
        order_id,
        envelope.id,
        envelope.source,
        checked(contact),
        event.requested_at,
    )


def answer_of(incoming: Incoming) -> OrderAnswer | None:
    """Return what an event of orders says of the request that caused it, or None."""
    event, cause = incoming.event, incoming.envelope.causationid
    order_id, accepted = _order_of(event)
    if order_id is None or cause is None:
        return None
    source = getattr(event, "request_source", None)
    return OrderAnswer(event.account_id, order_id, cause, accepted, source)


def _order_of(event: Event) -> tuple[str | None, bool]:
    match event:
        case RenewalAccepted():
            return f"order/{event.renewal_id}", True
        case RenewalRejected():
            return f"order/{event.renewal_id}", False
        case TopUpAccepted():
            return f"topup/{event.topup_id}", True
        case TopUpRejected():
            return f"topup/{event.topup_id}", False
        case _:
            return None, False


def one_of_each(candidates: Iterable[Candidate], now: datetime) -> list[Candidate]:
    """Return one candidate for each request, contested where they differ, none from the future."""
    found: dict[tuple[str, str, UUID, str], Candidate] = {}
    for each in candidates:
        first = found.get(each.key)
        same = first is None or first.contact == each.contact
        found[each.key] = Candidate(
            *each.key,
            each.contact if first is None else first.contact,
            min(each.as_of, now) if first is None else first.as_of,
            contested=not same or (first is not None and first.contested),
        )
    return list(found.values())


async def keep(
    connection: asyncpg.Connection, candidates: Sequence[Candidate], now: datetime
) -> list[ContactChange]:
    """Keep candidates aside; return those whose requests were accepted before they came."""
    rows = await connection.fetch(
        _KEEP,
        *([getattr(each, name) for each in candidates] for name in (*_KEY, "source")),
        *columns_of(each.contact for each in candidates),
        [each.as_of for each in candidates],
        [each.contested for each in candidates],
        now + _KEPT_FOR,
    )
    if crowded := [row["account_id"] for row in rows if row["crowded"]]:
        await connection.execute(_PRUNE, crowded)
    return [_change(row) for row in rows if not row["crowded"]]


async def take(
    connection: asyncpg.Connection, answers: Sequence[OrderAnswer], remember_until: datetime
) -> list[ContactChange]:
    """Return the contacts of accepted requests, and forget those of refused ones.

    What was accepted and not read here yet is remembered until `remember_until`.
    """
    rows = await connection.fetch(
        _TAKE,
        *([getattr(each, name) for each in answers] for name in (*_KEY, "accepted", "source")),
        remember_until,
    )
    return [_change(row) for row in rows]


def _change(row: Any) -> ContactChange:  # noqa: ANN401 - an asyncpg record
    return ContactChange(row["account_id"], contact_of(row), row["as_of"])
