"""Ids and keyed hashes as pure functions of business facts, so that a retry makes the same ones."""

from __future__ import annotations

import hashlib
import hmac
import json
from functools import lru_cache
from typing import Final, Literal
from uuid import UUID

from schemas.envelope import name_based_uuid
from schemas.requests import RenewalRequested, TopUpRequested

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_NAMESPACE: Final = UUID("2b0f6a52-8a0e-5d55-9b1c-7f6a3f1f5c02")


@lru_cache(maxsize=4096)
def payment_id(account_id: str, stream_id: str) -> str:
    """Return the id of the order's payment; it is also the gateway's idempotency key."""
    return str(name_based_uuid(_NAMESPACE, f"payment/{account_id}/{stream_id}"))


def surplus_payment_id(order_payment_id: str, gateway: str, gateway_txn_id: str) -> str:
    """Return the id of money that came in beside the order's own payment."""
    return str(
        name_based_uuid(_NAMESPACE, f"surplus/{order_payment_id}/{gateway}/{gateway_txn_id}")
    )


@lru_cache(maxsize=4096)
def activation_id(account_id: str, stream_id: str) -> str:
    """Return the id of the order's activation; it is also our reference at the provider."""
    return str(name_based_uuid(_NAMESPACE, f"activation/{account_id}/{stream_id}"))


def refund_id(payment: str) -> str:
    """Return the id of the refund of a payment; it is also the gateway's idempotency key."""
    return str(name_based_uuid(_NAMESPACE, f"refund/{payment}"))


def lot_id(payment: str, kind: Literal["paid", "bonus"]) -> str:
    """Return the id of the wallet lot that a payment makes."""
    return str(name_based_uuid(_NAMESPACE, f"lot/{payment}/{kind}"))


def esim_hash(iccid: str, salt: str) -> str:
    """Return the hash under which an ICCID may leave this service."""
    return hashlib.sha256((salt + iccid).encode()).hexdigest()


def request_digest(request: RenewalRequested | TopUpRequested, salt: str) -> str:
    """Return the digest that tells a repeated request from a reused id.

    It covers every field but `contact`, which is not ours to keep, and `requested_at`, which a
    client that sends again may stamp anew. It is keyed: without a key, an ICCID could be found
    by trying all of them against the published digest.
    """
    content = request.model_dump(
        mode="json", exclude={"contact", "requested_at"}, exclude_none=True
    )
    return hmac.digest(salt.encode(), _CANONICAL(content).encode(), "sha256").hex()
