"""Sees at the start that every gateway is there that a payment under way still needs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import asyncpg
from pydantic import ValidationError

from schemas.orders import RenewalAccepted
from services.orders.effects import EFFECTS
from services.orders.payments.effects.confirm import CONFIRM
from services.orders.renewals.effects.activate import ACTIVATE
from services.runtime.errors import ConfigurationError
from services.runtime.log.tables.effects import OF_KINDS, wanted_of_kind

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

_PAID: Final = (
    # A paid order whose plan is not active yet may have to be given back.
    "SELECT stream_id, body FROM event WHERE type = $1"  # noqa: S608 - a parameter
    f" AND stream_id IN ({wanted_of_kind('$2')})"
)
_GATEWAYS: Final = {each.kind: (each.read, each.waits_for) for each in EFFECTS if each.waits_for}
"""Of each kind of effect that needs a gateway: how its payload is read, and says which one."""


async def check_open_payments(
    pool: asyncpg.Pool, opened: Collection[str], known: Collection[str]
) -> None:
    """Compare what payments need with the gateways that are `opened`, of all that are `known`.

    Raises:
        ConfigurationError: one is missing.
    """
    orders: dict[str, set[str]] = defaultdict(set)
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        async for gateway, stream_id in _needed(connection, known):
            if gateway not in opened:
                orders[gateway].add(stream_id)
    if not orders:
        return
    needed = ", ".join(
        f"{name} ({len(orders[name])}, such as {min(orders[name])})" for name in sorted(orders)
    )
    message = (
        f"payments are under way at {needed}: leave it in PERENNIAL_ORDERS_GATEWAY, take it out of "
        "the routes of PERENNIAL_ORDERS_ROUTING, so that it gets no new ones, and remove it when no "
        "payment needs it (docs/OPERATIONS.md, Gateways)"
    )
    raise ConfigurationError(message)


async def _needed(
    connection: PoolConnectionProxy, known: Collection[str]
) -> AsyncIterator[tuple[str, str]]:
    """Yield the gateway and the stream of each payment under way."""
    async for kind, stream_id, payload in connection.cursor(OF_KINDS, list(_GATEWAYS)):
        gateway = _waits_for(kind, payload)
        # What a customer paid at a gateway of the shop is not ours to open.
        if gateway is not None and (kind != CONFIRM.kind or gateway in known):
            yield gateway, stream_id
    async for stream_id, body in connection.cursor(
        _PAID, RenewalAccepted.wire_type(), ACTIVATE.kind
    ):
        accepted = RenewalAccepted.parse(body)
        if accepted.gateway is not None:
            yield accepted.gateway, stream_id


def _waits_for(kind: str, payload: str) -> str | None:
    read, waits_for = _GATEWAYS[kind]
    # A payload that cannot be read stops its effect, which is told there.
    with suppress(ValidationError):
        return waits_for(read(json.loads(payload)))
    return None
