"""How many messages of a kind a recipient gets over all accounts, and which one tells of the rest.

A message asks for its turn just before it is sent. What gets none is kept in `held_mail` and asks
again later; the first that then gets one lists the others, and they end when its message was accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from schemas.notifier import NotificationFailed, NotificationSent, NotificationSuppressed
from services.notifier.gathering import Gathered
from services.notifier.limits.recipients import recipient_hash, recipient_key
from services.notifier.notification.identities import key_of
from services.notifier.notification.rate_limit import Limit
from services.runtime.effect import EffectRun, RunKey
from services.runtime.errors import Transient
from services.runtime.log.event_log import Transaction
from services.runtime.log.tables.effects import MARK
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.processor import Filed, Incoming

DIGEST_FACTS_MAX: Final = 500
"""So many references fit into a message that mail clients show whole; more wait for the next."""
_MARK: Final = "admitted/"
"""The checkpoint of a message that had its turn, followed by the recipient."""
Place = tuple[bytes, str]
"""A recipient and a template. A mailbox and a phone never have the same hash."""

# A new row is written as if nobody else asked. The rows of a round stay locked until its end.
_LOCK: Final = (
    "INSERT INTO mailbox_limit (mailbox, template, expected_at)"
    " SELECT * FROM unnest($1::bytea[], $2::text[], $3::timestamptz[])"
    " ON CONFLICT (mailbox, template) DO UPDATE SET expected_at = mailbox_limit.expected_at"
    " RETURNING mailbox, template, expected_at, xmax = 0 AS is_new"
)
_KNOWN: Final = (
    "SELECT fact_key, mailbox, digest, told FROM held_mail WHERE fact_key = ANY($1::uuid[])"
    " UNION ALL SELECT NULL, place.mailbox, NULL, false FROM unnest($2::bytea[], $3::text[])"
    " AS place(mailbox, template) WHERE EXISTS (SELECT FROM held_mail WHERE digest IS NULL"
    " AND held_mail.mailbox = place.mailbox AND held_mail.template = place.template)"
)
_LISTED: Final = "SELECT digest, reference FROM held_mail WHERE digest = ANY($1::uuid[])"
_LIST: Final = (
    "WITH others AS (SELECT fact_key FROM held_mail WHERE mailbox = $1 AND template = $2"  # noqa: S608
    " AND digest IS NULL AND fact_key <> $3 ORDER BY held_at, fact_key"
    f" LIMIT {DIGEST_FACTS_MAX} FOR UPDATE SKIP LOCKED)"
    " UPDATE held_mail SET digest = $3 FROM others WHERE held_mail.fact_key = others.fact_key"
    " RETURNING held_mail.fact_key, mailbox, digest, told, reference"
)
_HOLD: Final = (
    "INSERT INTO held_mail (fact_key, mailbox, template, reference) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (fact_key) DO NOTHING"
)
_LET_GO: Final = "DELETE FROM held_mail WHERE fact_key = $1"
# What is listed and not told waits anew: that of the recipient whom it no more goes to, and what
# a run that lost its lease took.
_UNLIST: Final = (
    "UPDATE held_mail SET digest = NULL WHERE digest = $1 AND mailbox <> $2 AND NOT told"
)
_GIVE_BACK: Final = (
    "UPDATE held_mail SET digest = NULL WHERE fact_key = ANY($1::uuid[]) AND NOT told"
)
_EXPECT: Final = (
    "UPDATE mailbox_limit SET expected_at = found.expected_at"
    " FROM unnest($1::bytea[], $2::text[], $3::timestamptz[])"
    " AS found(mailbox, template, expected_at)"
    " WHERE mailbox_limit.mailbox = found.mailbox AND mailbox_limit.template = found.template"
)


_SETTLE: Final = (
    "WITH told AS (UPDATE held_mail SET told = digest = ANY($2::uuid[]),"
    " digest = CASE WHEN digest = ANY($2::uuid[]) THEN digest END"
    " WHERE digest = ANY($1::uuid[]) AND NOT told AND fact_key <> ALL($1::uuid[]))"
    " DELETE FROM held_mail WHERE fact_key = ANY($1::uuid[])"
)


class Admitted(NamedTuple):
    """The message may go to `recipient`; `listed` are the orders of what it tells of besides."""

    recipient: str
    listed: tuple[str, ...] = ()


class Postponed(NamedTuple):
    """The recipient had too many: ask again at `until`; None: soon, another message tells of it."""

    until: datetime | None


class InDigest(NamedTuple):
    """The message of the notification with the key `digest` told of this one too."""

    digest: UUID


TurnGiven = Admitted | Postponed | InDigest


class TurnWanted(NamedTuple):
    """A message that is about to be sent, by the `key` of its notification.

    `reference` is the order that it is about, "" when it is about none. `recipient` is the one
    spelling of the address; it is not kept. `admitted` is the recipient in whose name it had its
    turn before, as hex.
    """

    key: UUID
    template: str
    reference: str
    limit: Limit
    recipient: str
    admitted: str | None


class Turns(Protocol):
    """The limits that say whether a message may be sent."""

    async def ask(self, run: EffectRun, wanted: TurnWanted) -> TurnGiven:
        """Return what is to be done with it; a turn that was given is not counted again."""


class TurnRequest(NamedTuple):
    """One message that is about to be sent. `admitted`: it had its turn for this recipient before.

    `moved`: it had its turn for another recipient, and may have told others there.
    """

    run: RunKey
    key: UUID
    reference: str
    place: Place
    limit: Limit
    admitted: bool
    moved: bool


class RecipientLimits:
    """The turns of all recipients, in the notifier's schema: what every process agrees on."""

    def __init__(self, pool: asyncpg.Pool, *, clock: Callable[[], datetime]) -> None:
        """Give turns on `pool`, whose search_path begins with the notifier's schema."""
        self._pool = pool
        self._clock = clock
        self._key: bytes | None = None
        self._gathered: Gathered[TurnRequest, TurnGiven | None] = Gathered(self._answer)

    async def ask(self, run: EffectRun, wanted: TurnWanted) -> TurnGiven:
        """Return what is to be done with a message; a turn that was given is not counted again.

        Raises:
            Transient: the database is unwell, or another worker has the message.
        """
        if self._key is None:
            with transient_when_unwell():
                self._key = await recipient_key(self._pool)
        recipient = recipient_hash(wanted.recipient, self._key)
        before = {wanted.admitted, _recipient_of(run.checkpoint)} - {None}
        request = TurnRequest(
            run.key,
            wanted.key,
            wanted.reference,
            (recipient, wanted.template),
            wanted.limit,
            admitted=recipient.hex() in before,
            moved=bool(before - {recipient.hex()}),
        )
        turn = await self._gathered.ask(request)
        if turn is None:
            message = f"attempt {run.attempt} of {run.effect_id} lost its lease: another goes on"
            raise Transient(message)
        return turn

    async def _answer(self, requests: Sequence[TurnRequest]) -> list[TurnGiven | None]:
        with transient_when_unwell():
            async with self._pool.acquire() as connection, connection.transaction():
                # Nothing goes before the mark of its last step is on the disk, and this with it.
                await connection.execute("SET LOCAL synchronous_commit = off")
                return await _Round(connection, self._clock()).give(requests)


async def settle_held_back(
    tx: Transaction, appended: Sequence[Filed], _handled: Sequence[Incoming]
) -> None:
    """Project outcomes: what an accepted message listed is told, what a failed one did waits anew."""
    ended, sent = [], []
    for _, event in appended:
        if isinstance(event, NotificationSent | NotificationFailed | NotificationSuppressed):
            ended.append(key_of(event.notification_id))
            if isinstance(event, NotificationSent):
                sent.append(ended[-1])
    if ended:
        await tx.connection.execute(_SETTLE, ended, sent)


class _Held(NamedTuple):
    recipient: bytes
    digest: UUID | None
    told: bool


class _Round:
    """Turns given in one transaction, which holds the rows of all recipients that it is about."""

    def __init__(self, connection: PoolConnectionProxy, now: datetime) -> None:
        self._connection = connection
        self._now = now
        self._stored: dict[Place, datetime] = {}
        self._expected: dict[Place, datetime] = {}
        self._held: dict[UUID, _Held] = {}
        self._crowded: set[bytes] = set()
        self._listed: dict[UUID, list[str]] = {}
        self._taken: dict[RunKey, list[UUID]] = {}
        self._to_hold: list[tuple[UUID, bytes, str, str]] = []

    async def give(self, requests: Sequence[TurnRequest]) -> list[TurnGiven | None]:
        await self._lock(requests)
        for each in requests:
            if each.moved:
                await self._connection.execute(_UNLIST, each.key, each.place[0])
        await self._read(requests)
        turns = [await self._turn(each) for each in requests]
        kept = await self._write(requests, turns)
        await self._give_back(each for each in requests if each.run not in kept)
        return [
            turn if not isinstance(turn, Admitted) or each.run in kept else None
            for each, turn in zip(requests, turns, strict=True)
        ]

    async def _lock(self, requests: Sequence[TurnRequest]) -> None:
        limits = {each.place: each.limit for each in requests}
        asking = Counter(dict.fromkeys(limits, 0))
        asking.update(each.place for each in requests if not each.admitted)
        places = sorted(asking)
        alone = [self._expected_alone(limits[place], asking[place]) for place in places]
        for row in await self._connection.fetch(_LOCK, *_columns(places), alone):
            place = (row["mailbox"], row["template"])
            self._stored[place] = row["expected_at"]
            self._expected[place] = self._now if row["is_new"] else row["expected_at"]

    def _expected_alone(self, limit: Limit, asking: int) -> datetime:
        return self._now + limit.interval * min(asking, limit.burst)

    async def _read(self, requests: Sequence[TurnRequest]) -> None:
        keys = [each.key for each in requests]
        for row in await self._connection.fetch(_KNOWN, keys, *_columns(list(self._expected))):
            if row["fact_key"] is None:
                self._crowded.add(row["mailbox"])
            else:
                self._held[row["fact_key"]] = _Held(row["mailbox"], row["digest"], row["told"])
        if again := [each.key for each in requests if each.admitted]:
            for row in await self._connection.fetch(_LISTED, again):
                self._listed.setdefault(row["digest"], []).append(row["reference"])

    async def _turn(self, request: TurnRequest) -> TurnGiven:
        recipient, _ = request.place
        held = self._held.get(request.key)
        if held is not None and held.recipient != recipient:
            await self._let_go(request)  # nobody told of it, or will, where it belongs now
            held = None
        if held is not None and held.digest is not None:
            return InDigest(held.digest) if held.told else Postponed(None)
        if not request.admitted:
            turn = request.limit.take(self._expected[request.place], self._now)
            self._expected[request.place] = turn.expected_at
            if not turn.admitted:
                if held is None:
                    self._to_hold.append((request.key, *request.place, request.reference))
                return Postponed(turn.at)
        if held is not None:
            await self._let_go(request)  # before another one of this round lists it
        if not request.admitted and recipient in self._crowded:
            await self._list_others(request)
        return Admitted(recipient.hex(), tuple(self._listed.get(request.key, ())))

    async def _let_go(self, request: TurnRequest) -> None:
        await self._connection.execute(_LET_GO, request.key)
        del self._held[request.key]

    async def _list_others(self, request: TurnRequest) -> None:
        rows = await self._connection.fetch(_LIST, *request.place, request.key)
        for row in rows:
            self._held[row["fact_key"]] = _Held(row["mailbox"], row["digest"], row["told"])
        self._listed[request.key] = [row["reference"] for row in rows]
        self._taken[request.run] = [row["fact_key"] for row in rows]

    async def _give_back(self, requests: Iterable[TurnRequest]) -> None:
        """Have what was listed for runs that lost their lease wait anew: others send those messages."""
        taken = [key for each in requests for key in self._taken.get(each.run, ())]
        if taken:
            await self._connection.execute(_GIVE_BACK, taken)

    async def _write(
        self, requests: Sequence[TurnRequest], turns: Sequence[TurnGiven]
    ) -> set[RunKey]:
        """Keep what was decided; return the admitted runs that still hold their lease."""
        if self._to_hold:
            await self._connection.executemany(_HOLD, self._to_hold)
        if moved := [each for each, at in self._expected.items() if at != self._stored[each]]:
            times = [self._expected[place] for place in moved]
            await self._connection.execute(_EXPECT, *_columns(moved), times)
        admitted = [
            (each, turn.recipient)
            for each, turn in zip(requests, turns, strict=True)
            if isinstance(turn, Admitted)
        ]
        if not admitted:
            return set()
        runs = [list(column) for column in zip(*(each.run for each, _ in admitted), strict=True)]
        marks = [f"{_MARK}{recipient}" for _, recipient in admitted]
        return {tuple(row) for row in await self._connection.fetch(MARK, *runs, marks)}


def _recipient_of(checkpoint: str | None) -> str | None:
    """Return the recipient of a run's mark, as hex; None when it had no turn yet."""
    if checkpoint is None or not checkpoint.startswith(_MARK):
        return None
    return checkpoint.removeprefix(_MARK)


def _columns(places: Sequence[Place]) -> list[list[bytes] | list[str]]:
    return [[mailbox for mailbox, _ in places], [template for _, template in places]]
