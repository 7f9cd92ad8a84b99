"""One transaction of a gateway serves one order, in the whole system: the first that claims it.

Shards share nothing else. A claim is one indexed row: for a confirmation it is taken before the
result is recorded, for every other capture it is written with it, or the capture is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from schemas.envelope import Event
from schemas.orders import PaymentCaptured
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured
from services.runtime.errors import Poison
from services.runtime.log.event_log import Transaction
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.processor import Filed, Incoming

MIGRATIONS: Final = Path(__file__).parents[2] / "migrations"
_CLAIM: Final = (
    "INSERT INTO gateway_transaction (gateway, gateway_txn_id, stream_id) VALUES ($1, $2, $3)"
    " ON CONFLICT DO NOTHING"
)
_OWNER: Final = (
    "SELECT stream_id FROM gateway_transaction WHERE gateway = $1 AND gateway_txn_id = $2"
)
_CLAIM_ALL: Final = (
    "INSERT INTO gateway_transaction (gateway, gateway_txn_id, stream_id)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING"
)
_OF_ANOTHER: Final = (
    "SELECT held.gateway, held.gateway_txn_id, held.stream_id FROM gateway_transaction AS held"
    " JOIN unnest($1::text[], $2::text[], $3::text[]) AS claimed (gateway, gateway_txn_id, stream_id)"
    " USING (gateway, gateway_txn_id) WHERE held.stream_id <> claimed.stream_id LIMIT 1"
)


class Claim(NamedTuple):
    """A gateway's transaction, and the order that it serves."""

    gateway: str
    gateway_txn_id: str
    stream_id: str

    @property
    def key(self) -> tuple[str, str]:
        return self.gateway, self.gateway_txn_id


def claim_of(stream_id: str, event: Event) -> Claim | None:
    """Return what an event claims: a payment from the wallet has no gateway."""
    if (
        isinstance(event, PaymentCaptured | SurplusCaptured)
        and event.method is not PaymentMethod.WALLET
    ):
        return Claim(event.gateway, event.gateway_txn_id, stream_id)
    return None


class MemoryClaims:
    """Claims of one process, lost at its exit: for specifications."""

    def __init__(self) -> None:
        self.owners: dict[tuple[str, str], str] = {}

    async def claim(self, gateway: str, gateway_txn_id: str, stream_id: str) -> str:
        """Return the first that claimed it."""
        return self.owners.setdefault((gateway, gateway_txn_id), stream_id)

    def record(self, events: Iterable[tuple[str, Event]]) -> None:
        """Claim what is being recorded, all of it or nothing.

        Raises:
            Poison: a transaction serves another order.
        """
        claims = _claims(events)
        owners = dict(self.owners)
        for claim in claims:
            if owners.setdefault(claim.key, claim.stream_id) != claim.stream_id:
                raise _already_serves(Claim(*claim.key, owners[claim.key]))
        self.owners = owners

    def restore(self, events: Iterable[tuple[datetime, str, Event]]) -> None:
        """Claim what a log captured: the order that recorded a transaction first has it."""
        for claim in _oldest_first(events):
            self.owners.setdefault(claim.key, claim.stream_id)


class PostgresClaims:
    """Claims in the schema of orders, for every shard and every process."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def claim(self, gateway: str, gateway_txn_id: str, stream_id: str) -> str:
        """Insert, then read whose it is: the one that is there was first, and never changes."""
        with transient_when_unwell():
            async with self._pool.acquire() as connection:
                await connection.execute(_CLAIM, gateway, gateway_txn_id, stream_id)
                owner: str = await connection.fetchval(_OWNER, gateway, gateway_txn_id)
        return owner


async def claim_captured(
    tx: Transaction, filed: Sequence[Filed], _handled: Sequence[Incoming]
) -> None:
    """Claim, in the transaction that records them, what gateways captured.

    Raises:
        Poison: a transaction serves another order.
    """
    await record_claims(tx.connection, ((each.stored.stream_id, each.event) for each in filed))


async def record_claims(
    connection: asyncpg.Connection, events: Iterable[tuple[str, Event]]
) -> None:
    """Claim what is being recorded, given with its streams; the caller's transaction has it all.

    Raises:
        Poison: a transaction serves another order.
    """
    # In sorted order, so that no two writers wait for each other in a circle.
    claims = sorted(set(_claims(events)))
    if not claims or await _insert(connection, claims) == len(claims):
        return
    # A statement of its own: it sees what the insert waited for.
    if other := await connection.fetchrow(_OF_ANOTHER, *zip(*claims, strict=True)):
        raise _already_serves(Claim(*other))


async def restore_claims(
    connection: asyncpg.Connection, events: Iterable[tuple[datetime, str, Event]]
) -> int:
    """Claim what a log captured, given with when it was recorded; return how many were missing.

    What is claimed stays claimed. Of two orders with one transaction, the older one gets it.
    """
    owners: dict[tuple[str, str], Claim] = {}
    for claim in _oldest_first(events):
        owners.setdefault(claim.key, claim)
    return await _insert(connection, sorted(owners.values())) if owners else 0


async def _insert(connection: asyncpg.Connection, claims: Sequence[Claim]) -> int:
    done: str = await connection.execute(_CLAIM_ALL, *zip(*claims, strict=True))
    return int(done.rpartition(" ")[2])


def _claims(events: Iterable[tuple[str, Event]]) -> list[Claim]:
    return [claim for each in events if (claim := claim_of(*each)) is not None]


def _oldest_first(events: Iterable[tuple[datetime, str, Event]]) -> list[Claim]:
    return _claims((stream_id, event) for _, stream_id, event in sorted(events, key=_recorded_at))


def _recorded_at(event: tuple[datetime, str, Event]) -> datetime:
    return event[0]


def _already_serves(owner: Claim) -> Poison:
    message = (
        f"transaction {owner.gateway_txn_id} of {owner.gateway} serves {owner.stream_id} already: "
        "ask the gateway's people whose payment it is"
    )
    return Poison("transaction_already_used", message)
