"""Compares the claims on transactions with the log that they are a cache of; makes lost ones anew."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

import schemas
from schemas.confirmations import PaymentConfirmationReceived
from schemas.orders import PaymentCaptured
from schemas.requests import PaymentMethod
from schemas.surplus import SurplusCaptured
from services.orders.payments.claims.transactions import Claim, restore_claims
from services.runtime.archive.ranges import Archive, open_archive
from services.runtime.log.event_log import StoredEvent
from services.runtime.log.postgres_rows import EVENT_COLUMNS, stored_event
from services.runtime.verify.checks import Check, place
from services.runtime.verify.slices import SLICE, heads_of

_CAPTURED: Final = [PaymentCaptured.wire_type(), SurplusCaptured.wire_type()]
_RECEIVED: Final = PaymentConfirmationReceived.wire_type()
_CAPTURES: Final = (
    "SELECT shard, position, stream_id, body FROM event"
    " WHERE shard = $1 AND position > $2 AND position <= $3 AND type = ANY($4::text[]) ORDER BY position"
)
_OWNERS: Final = (
    "SELECT gateway, gateway_txn_id, stream_id FROM gateway_transaction"
    " JOIN unnest($1::text[], $2::text[]) AS wanted (gateway, gateway_txn_id)"
    " USING (gateway, gateway_txn_id)"
)
_NEXT: Final = (
    "SELECT gateway, gateway_txn_id, stream_id FROM gateway_transaction"
    " WHERE (gateway, gateway_txn_id) > ($1, $2) ORDER BY gateway, gateway_txn_id LIMIT $3"
)
_GROUNDS: Final = (
    "SELECT stream_id, body FROM event WHERE stream_id = ANY($1::text[]) AND type = ANY($2::text[])"
)
_ARCHIVED: Final = "SELECT stream_id, shard FROM archived_stream WHERE stream_id = ANY($1::text[])"
_ALL_CAPTURES: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event"  # noqa: S608 - a constant list of columns
    " WHERE type = ANY($1::text[]) ORDER BY recorded_at, shard, position"
)
_ADVICE: Final = (
    "follow 'Claims that do not fit' in docs/OPERATIONS.md: until then a transaction may pay twice, "
    "or not at all"
)


@dataclass(slots=True)
class _Found:
    archive: Archive
    compared: int = 0
    differing: int = 0
    unread: int = 0
    problem: str | None = None

    def differs(self, problem: str) -> None:
        self.differing += 1
        self.problem = self.problem or problem


async def check_claims(connection: asyncpg.Connection, archive: Archive | None = None) -> Check:
    """See that each captured transaction is claimed by its order, and that each claim has grounds.

    Orders may go on meanwhile: a claim is committed with its capture, or after its confirmation.
    Claims of orders in files that are not read are only counted.
    """
    found = _Found(archive or await open_archive(connection))
    archived = await _archived_grounds(connection, found)
    async for captures in _captures(connection):
        await _compare_captures(connection, captures, found)
    async for claims in _pages(connection):
        await _compare_claims(connection, claims, archived, found)
    problem = found.problem
    if problem is not None and found.differing > 1:
        problem += f"; {found.differing} differ"
    told = f"{found.unread} claims of archived orders" if found.unread else ""
    return Check("claims on transactions", f"{found.compared} claims", problem, _ADVICE, told)


async def _archived_grounds(connection: asyncpg.Connection, found: _Found) -> set[int]:
    """Compare the captures that are read from files; return what grounds claims, as hashes."""
    grounds: set[int] = set()
    for shard in found.archive.ranges:
        async for events in found.archive.slices(shard):
            captures: list[tuple[str, Claim]] = []
            for each in events:
                if each.type not in {*_CAPTURED, _RECEIVED}:
                    continue
                if (claim := _claim(each.stream_id, each.body)) is not None:
                    grounds.add(hash(claim))
                    captures += [(place(each), claim)] if each.type in _CAPTURED else []
            await _compare_captures(connection, captures, found)
    return grounds


async def restore_lost_claims(connection: asyncpg.Connection, archive: Archive) -> int:
    """Claim again what the log captured and no claim covers; return how many. The caller commits.

    What is archived is older, and so claims first; where its files are not read, nothing does.
    """
    restored = 0
    for shard in archive.ranges:
        async for events in archive.slices(shard):
            captured = [each for each in events if each.type in _CAPTURED]
            restored += await _restore(connection, captured)
    captures = await connection.cursor(_ALL_CAPTURES, _CAPTURED)
    while rows := await captures.fetch(SLICE):
        restored += await _restore(connection, [stored_event(row) for row in rows])
    return restored


async def _restore(connection: asyncpg.Connection, captured: Sequence[StoredEvent]) -> int:
    events = ((each.recorded_at, each.stream_id, each.event(schemas.BILLING)) for each in captured)
    return await restore_claims(connection, events)


async def _captures(connection: asyncpg.Connection) -> AsyncIterator[list[tuple[str, Claim]]]:
    """Yield where each capture lies and what it claims, by shard and in order."""
    for shard, head in (await heads_of(connection)).items():
        for first in range(head.archived, head.position, SLICE):
            last = min(first + SLICE, head.position)
            rows = await connection.fetch(_CAPTURES, shard, first, last, _CAPTURED)
            yield [
                (f"shard {shard} position {row['position']}", claim)
                for row in rows
                if (claim := _claim(row["stream_id"], row["body"])) is not None
            ]


async def _compare_captures(
    connection: asyncpg.Connection, captures: Sequence[tuple[str, Claim]], found: _Found
) -> None:
    keys = sorted({claim.key for _, claim in captures})
    if not keys:
        return
    rows = await connection.fetch(_OWNERS, *zip(*keys, strict=True))
    owners = {(row["gateway"], row["gateway_txn_id"]): row["stream_id"] for row in rows}
    for where, claim in captures:
        owner = owners.get(claim.key)
        if owner is None:
            found.differs(f"{_named(claim)}, captured at {where}, is claimed by nobody")
        elif owner != claim.stream_id:
            found.differs(
                f"{_named(claim)}, captured for {claim.stream_id} at {where}, is claimed by {owner}"
            )


async def _pages(connection: asyncpg.Connection) -> AsyncIterator[list[Claim]]:
    last = ("", "")
    while rows := await connection.fetch(_NEXT, *last, SLICE):
        claims = [Claim(*row) for row in rows]
        last = claims[-1].key
        yield claims


async def _compare_claims(
    connection: asyncpg.Connection, claims: Sequence[Claim], archived: set[int], found: _Found
) -> None:
    found.compared += len(claims)
    streams = sorted({claim.stream_id for claim in claims})
    rows = await connection.fetch(_GROUNDS, streams, [*_CAPTURED, _RECEIVED])
    grounds = {_claim(row["stream_id"], row["body"]) for row in rows}
    left = {row["stream_id"]: row["shard"] for row in await connection.fetch(_ARCHIVED, streams)}
    for claim in claims:
        if claim in grounds or hash(claim) in archived:
            continue
        if claim.stream_id in left and not found.archive.is_read(left[claim.stream_id]):
            found.unread += 1
        else:
            found.differs(
                f"{_named(claim)} is claimed by {claim.stream_id}, which neither captured it nor "
                "had it confirmed"
            )


def _claim(stream_id: str, body: bytes) -> Claim | None:
    """Return what an event names; whether the bytes are those that were hashed is another check."""
    try:
        read: dict[str, Any] = json.loads(body)
        named = Claim(str(read["gateway"]), str(read["gateway_txn_id"]), stream_id)
    except (ValueError, KeyError, TypeError):
        return None
    return None if read.get("method") == PaymentMethod.WALLET else named


def _named(claim: Claim) -> str:
    return f"transaction {claim.gateway_txn_id} of {claim.gateway}"
