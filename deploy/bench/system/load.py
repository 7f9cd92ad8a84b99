"""Requests in any number: proper renewals, each of another order, over a number of accounts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from schemas.registry import SHARD_COUNT_DEFAULT
from services.runtime.kafka.records.partitions import shard_of

SOURCE: Final = "/upstream/bench"
_LOCALES: Final = ("zh-Hans", "zh-Hant", "en")
_PLANS: Final = (("eu-day-basic", "EUR"), ("jp-month-premium", "USD"), ("jp-month-premium", "JPY"))
_STRIDE: Final = 7_919
"""A prime: neighbours in time are not neighbours in the tables."""
_TIME: Final = "2026-11-20T08:00:00Z"
_NAMESPACE: Final = UUID("3b1f5a3e-2f6e-5a83-8f50-5d3a9c0b7d21")

Message = dict[str, Any]
"""The arguments of a producer's `send`, without the topic."""


def request_id(renewal_id: str) -> UUID:
    """Return the event id of the request for a renewal: what orders answers names it."""
    return uuid5(_NAMESPACE, renewal_id)


@dataclass(frozen=True, slots=True)
class Load:
    """Renewals named `<name>-<number>`. `name` is unique in a run: an order is requested once."""

    name: str
    accounts: int = 10_000
    token: str = "tok_ok"  # noqa: S105 - what the sandbox gateway is to do

    def account(self, number: int) -> str:
        """Return the account of the request."""
        return f"acct-{number * _STRIDE % self.accounts:07d}"

    def message(self, number: int) -> Message:
        """Return request `number` as it goes to the broker."""
        account_id = self.account(number)
        plan, currency = _PLANS[number % len(_PLANS)]
        renewal_id = f"{self.name}-{number}"
        body = {
            "account_id": account_id,
            "renewal_id": renewal_id,
            "iccid": f"8985203{number % 10_000_000:07d}0000",
            "plan_code": plan,
            "payment": {
                "method": "card",
                "mode": "charge",
                "currency": currency,
                "token": self.token,
            },
            "contact": {
                "email": f"{account_id}@example.net",
                "name": "Customer",
                "locale": _LOCALES[number % len(_LOCALES)],
                "time_zone": "Asia/Shanghai",
            },
            "requested_at": _TIME,
        }
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(request_id(renewal_id)),
            "ce_source": SOURCE,
            "ce_type": "billing.RenewalRequested.v1",
            "ce_time": _TIME,
            "content-type": "application/json",
        }
        return {
            "key": account_id.encode(),
            "value": json.dumps(body, separators=(",", ":")).encode(),
            "headers": [(name, value.encode()) for name, value in headers.items()],
            "partition": shard_of(account_id, SHARD_COUNT_DEFAULT),
        }
