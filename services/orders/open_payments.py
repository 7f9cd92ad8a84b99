"""Sees at the start that every gateway is there that a payment under way still needs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import asyncpg

from schemas.orders import RenewalAccepted
from services.orders.payments.effects.charge import CHARGE
from services.orders.payments.effects.confirm import CONFIRM
from services.orders.payments.effects.refund import REFUND
from services.orders.renewals.effects.activate import ACTIVATE
from services.runtime.errors import ConfigurationError

_NEEDED: Final = """
    SELECT gateway, count(DISTINCT stream_id), min(stream_id)
    FROM (
        SELECT payload ->> 'gateway' AS gateway, stream_id FROM effect WHERE kind = $1
        UNION ALL
        SELECT payload ->> 'through', stream_id FROM effect WHERE kind = $2
        UNION ALL
        SELECT payload ->> 'gateway', stream_id FROM effect
        WHERE kind = $3 AND payload ->> 'gateway' = ANY($4)
        UNION ALL
        SELECT convert_from(body, 'UTF8')::jsonb ->> 'gateway', stream_id FROM event
        WHERE type = $5 AND stream_id IN (
            SELECT stream_id FROM effect WHERE kind = $6 AND hold_key IS NULL
        )
    ) AS needed
    WHERE gateway <> ALL($7)
    GROUP BY gateway ORDER BY gateway
"""
"""Charges, refunds, confirmations of payments at a gateway of ours, and orders that are paid.

A paid order whose plan is not active yet may have to be given back.
"""


async def check_open_payments(
    pool: asyncpg.Pool, opened: Collection[str], known: Collection[str]
) -> None:
    """Compare what payments need with the gateways that are `opened`, of all that are `known`.

    Raises:
        ConfigurationError: one is missing.
    """
    kinds = CHARGE.kind, REFUND.kind, CONFIRM.kind
    accepted = RenewalAccepted.wire_type()
    rows = await pool.fetch(_NEEDED, *kinds, list(known), accepted, ACTIVATE.kind, list(opened))
    if not rows:
        return
    needed = ", ".join(f"{name} ({count}, such as {order})" for name, count, order in rows)
    message = (
        f"payments are under way at {needed}: leave it in PERENNIAL_ORDERS_GATEWAY, take it out of "
        "the routes of PERENNIAL_ORDERS_ROUTING, so that it gets no new ones, and remove it when no "
        "payment needs it (docs/OPERATIONS.md, Gateways)"
    )
    raise ConfigurationError(message)
