"""The contacts of customers: the newest by request time, kept outside of the event log, erasable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from schemas.envelope import Event
from schemas.requests import Contact, CustomerContactChanged
from services.notifier.contacts.candidates import (
    ContactChange,
    answer_of,
    candidate_of,
    keep,
    one_of_each,
    take,
)
from services.notifier.contacts.contact_check import checked
from services.notifier.contacts.rows import columns_of, contact_of
from services.notifier.gathering import Gathered
from services.notifier.notification.identities import hold_key
from services.runtime.log.event_log import Transaction
from services.runtime.log.tables.dead_letters import superseded
from services.runtime.log.tables.effects import LET_GO
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.processor import Filed, Incoming, Projection

_FIND: Final = (
    "SELECT account_id, email, phone, name, locale, time_zone, channels FROM contact"
    " WHERE account_id = ANY($1::text[]) AND erased_at IS NULL"
)
_STORE: Final = (
    # What could not be used before needs nobody's attention any more.
    f"WITH mended AS ({superseded('$1', 'contact_refused', 'a later contact took its place')})"  # noqa: S608 - constants
    " INSERT INTO contact (account_id, email, phone, name, locale, time_zone, channels, as_of)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
    " $7::text[], $8::timestamptz[])"
    " ON CONFLICT (account_id) DO UPDATE SET email = excluded.email, phone = excluded.phone,"
    " name = excluded.name, locale = excluded.locale, time_zone = excluded.time_zone,"
    " channels = excluded.channels, as_of = excluded.as_of, erased_at = NULL"
    " WHERE contact.as_of <= excluded.as_of"
)


def changed_contact(event: Event) -> ContactChange | None:
    """Return the contact that the customer has from now on, when `event` says so by itself.

    Raises:
        Poison: the contact is unusable.
    """
    if not isinstance(event, CustomerContactChanged):
        return None
    return ContactChange(event.account_id, checked(event.contact), event.changed_at)


def contacts_projection(
    clock: Callable[[], datetime], *, accepted_kept: timedelta = timedelta(days=1)
) -> Projection:
    """Return the projection that keeps the newest contact of each account.

    A request's counts once orders accepted it; an acceptance waits `accepted_kept` for its request.
    """

    async def project(
        tx: Transaction, _appended: Sequence[Filed], handled: Sequence[Incoming]
    ) -> None:
        now = clock()
        changes = [change for each in handled if (change := changed_contact(each.event))]
        late: list[ContactChange] = []
        if brought := [
            found for each in handled if (found := candidate_of(each.envelope, each.event))
        ]:
            late = await keep(tx.connection, one_of_each(brought, now), now)
        if answers := {answer for each in handled if (answer := answer_of(each))}:
            changes += await take(tx.connection, list(answers), now + accepted_kept)
        if newest := newest_by_account([*changes, *late], now):
            await tx.connection.execute(_STORE, *_columns(newest))
        if late:
            # Their facts may wait already; nothing else lets them go before they are due.
            keys = [hold_key(change.account_id) for change in late]
            await tx.connection.execute(LET_GO, list(tx.heads), keys, now)

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

    Whoever asks meanwhile is answered by the next query.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Work on `pool`, whose search_path begins with the notifier's schema."""
        self._pool = pool
        self._gathered: Gathered[str, Contact | None] = Gathered(self._read)

    async def find(self, account_id: str) -> Contact | None:
        """Return the contact of an account, or None, as the table has it after this was asked.

        Raises:
            Transient: the database is unwell.
        """
        return await self._gathered.ask(account_id)

    async def _read(self, account_ids: Sequence[str]) -> list[Contact | None]:
        with transient_when_unwell():
            rows = await self._pool.fetch(_FIND, account_ids)
        found = {row["account_id"]: contact_of(row) for row in rows}
        return [found.get(account_id) for account_id in account_ids]


def _columns(changes: Sequence[ContactChange]) -> list[list[Any]]:
    return [
        [change.account_id for change in changes],
        *columns_of(change.contact for change in changes),
        [change.as_of for change in changes],
    ]
