"""The contacts of customers: the newest by request time, kept outside of the event log, erasable."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from schemas.envelope import Event
from schemas.requests import Contact, CustomerContactChanged, RenewalRequested, TopUpRequested
from schemas.topics import REQUESTS
from services.notifier.contact_check import checked
from services.runtime.log.event_log import StoredEvent, Transaction
from services.runtime.log.postgres_errors import transient_when_unwell
from services.runtime.processor import Incoming, Projection

_FIND: Final = (
    "SELECT account_id, email, phone, name, locale, time_zone FROM contact"
    " WHERE account_id = ANY($1::text[]) AND erased_at IS NULL"
)
_CONTACT: Final = ("email", "phone", "name", "locale", "time_zone")
_STORE: Final = (
    "INSERT INTO contact (account_id, email, phone, name, locale, time_zone, as_of)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
    " $7::timestamptz[])"
    " ON CONFLICT (account_id) DO UPDATE SET email = excluded.email, phone = excluded.phone,"
    " name = excluded.name, locale = excluded.locale, time_zone = excluded.time_zone,"
    " as_of = excluded.as_of, erased_at = NULL WHERE contact.as_of <= excluded.as_of"
)
_ERASE: Final = (
    "WITH kept AS (SELECT account_id FROM contact WHERE account_id = $1 AND erased_at IS NULL)"
    " INSERT INTO contact (account_id, as_of, erased_at)"
    " VALUES ($1, clock_timestamp(), clock_timestamp())"
    " ON CONFLICT (account_id) DO UPDATE SET email = NULL, phone = NULL, name = NULL,"
    " locale = NULL, time_zone = NULL, as_of = excluded.as_of, erased_at = excluded.erased_at"
    " RETURNING EXISTS (SELECT FROM kept)"
)
_BLANK_DEAD_LETTERS: Final = (
    "UPDATE dead_letter SET record_value = NULL, closed_at = coalesce(closed_at, clock_timestamp()),"
    " closed_as = coalesce(closed_as, 'discarded'), closed_note = 'contact erased',"
    " redrive_asked_at = NULL WHERE topic = $1 AND record_value IS NOT NULL"
    " AND (record_key = $2 OR record_headers @> $3::jsonb)"
)


@dataclass(frozen=True, slots=True)
class ContactChange:
    """What a request says about how to reach its customer, and since when."""

    account_id: str
    contact: Contact
    as_of: datetime


def contact_change(event: Event) -> ContactChange | None:
    """Return what `event` says of a contact, or None.

    Raises:
        Poison: the contact is unusable.
    """
    match event:
        case CustomerContactChanged(contact=contact, changed_at=as_of):
            pass
        case RenewalRequested(contact=Contact() as contact, requested_at=as_of):
            pass
        case TopUpRequested(contact=Contact() as contact, requested_at=as_of):
            pass
        case _:
            return None
    return ContactChange(event.account_id, checked(contact), as_of)


def contacts_projection(clock: Callable[[], datetime]) -> Projection:
    """Return the projection that keeps the newest contact of each account."""

    async def project(
        tx: Transaction, _appended: Sequence[StoredEvent], handled: Sequence[Incoming]
    ) -> None:
        found = (contact_change(incoming.event) for incoming in handled)
        newest = newest_by_account([change for change in found if change], clock())
        if newest:
            await tx.connection.execute(_STORE, *_columns(newest))

    return project


def newest_by_account(changes: Sequence[ContactChange], now: datetime) -> list[ContactChange]:
    """Return the newest change of each account, by account.

    A request from the future counts as from `now`: else it would keep out all that follow.
    """
    newest: dict[str, tuple[datetime, ContactChange]] = {}
    for change in changes:
        as_of = min(change.as_of, now)
        if change.account_id not in newest or newest[change.account_id][0] <= as_of:
            newest[change.account_id] = as_of, change
    return [
        ContactChange(account_id, change.contact, as_of)
        for account_id, (as_of, change) in sorted(newest.items())
    ]


class Contacts:
    """The `contact` table, read anew for everyone who asks: an erasure counts at once.

    One query at a time; what is asked for meanwhile goes into the next one.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Work on `pool`, whose search_path begins with the notifier's schema."""
        self._pool = pool
        self._one_query = asyncio.Lock()
        self._asked_for: list[str] = []
        self._next: asyncio.Task[Mapping[str, asyncpg.Record]] | None = None

    async def find(self, account_id: str) -> Contact | None:
        """Return the contact of an account, or None, as the table has it after this was asked.

        Raises:
            Transient: the database is unwell.
        """
        self._asked_for.append(account_id)
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        # Others wait for the same answer: cancelling one of them must not cancel it.
        row = (await asyncio.shield(self._next)).get(account_id)
        return None if row is None else Contact(**{name: row[name] for name in _CONTACT})

    async def _read(self) -> Mapping[str, asyncpg.Record]:
        async with self._one_query:
            account_ids, self._asked_for, self._next = self._asked_for, [], None
            with transient_when_unwell():
                rows = await self._pool.fetch(_FIND, account_ids)
        return {row["account_id"]: row for row in rows}


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was blanked: whether there was a contact, and how many dead letters held requests."""

    contact: bool
    dead_letters: int


async def erase(connection: asyncpg.Connection, account_id: str) -> Erasure:
    """Blank what the notifier's schema holds of a customer; a later request may bring it again.

    Emails about the account that still wait find no contact any more, and are not sent.
    """
    partition_key = ["ce_partitionkey", b64encode(account_id.encode()).decode()]
    with transient_when_unwell():
        async with connection.transaction():
            existed: bool = await connection.fetchval(_ERASE, account_id)
            status: str = await connection.execute(
                _BLANK_DEAD_LETTERS, REQUESTS.name, account_id.encode(), json.dumps([partition_key])
            )
    return Erasure(existed, int(status.rpartition(" ")[2]))


def _columns(changes: Sequence[ContactChange]) -> list[list[Any]]:
    return [
        [change.account_id for change in changes],
        [change.contact.email for change in changes],
        [change.contact.phone for change in changes],
        [change.contact.name for change in changes],
        [change.contact.locale for change in changes],
        [change.contact.time_zone for change in changes],
        [change.as_of for change in changes],
    ]
