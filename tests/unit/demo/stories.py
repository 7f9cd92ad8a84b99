"""Stories of a few customers, as rows of the oracle, for properties.

What the oracle does at once the services do later, so what one wallet does twice lies in two phases:
1: everything but the wallet. 2: what it pays. 3: what it pays and gets back. 4: what comes too late.
"""

from __future__ import annotations

import tomllib
from typing import Any, Final
from uuid import UUID

from hypothesis import strategies as st

from deploy.demo.expected.prices import SERVICES, WORLD
from deploy.demo.expected.scenarios import CUSTOMERS, Customer, Row, tell

Told = list[tuple[int, Row]]
_CATALOGUE: Final = SERVICES / "orders" / "catalogue" / "catalogue.toml"
_PLANS: Final = tomllib.loads(_CATALOGUE.read_text(encoding="utf-8"))["plan"]
_BUYERS: Final = [CUSTOMERS[f"acct-{number:04d}"] for number in (1, 4, 7, 10, 13)]
"""One for each currency."""
_TOKENS: Final = ["tok_nobody_knows", *WORLD["token"]]
_SIMS: Final = ["0000", *WORLD["sim"]]
_AWAITS: Final = {"mode": "await_confirmation"}
_PAID: Final = st.sampled_from([{}, {}, {"amount": 1}, {"fee": 1}])
"""What is agreed, another amount, or what is agreed with a fee."""


@st.composite
def stories(draw: st.DrawFn) -> Told:
    """Return rows of phases 1 to 4."""
    told: Told = []
    late: Told = []
    for number in range(draw(st.integers(1, 8))):
        buyer = draw(st.sampled_from(_BUYERS))
        row = draw(st.one_of(_renewals(buyer.currency), _TOP_UPS)) | {"by": buyer.account_id}
        row["id"] = f"{'top' if 'amount' in row else 'rnw'}-{number}"
        told.append((1, row))
        payments = [
            {"sends": "payment", "of": row["id"], "id": f"{turn}-{number}", **draw(_PAID)}
            for turn in range(draw(st.integers(0, 3)))
        ]
        in_time = draw(st.integers(0, 2)) if "token" not in row else 0
        told += [(1, payment) for payment in payments[:in_time]]
        late += [(4, payment) for payment in payments[in_time:]]
        if draw(st.booleans()):
            again = [["header", "ce_id", str(UUID(int=number))]]
            told.append((1, {"sends": "again", "id": row["id"], "spoilt": again}))
    return told + draw(_by_wallet(2, ["0000"])) + draw(_by_wallet(3, _SIMS)) + late


def with_returns(told: Told) -> Told:
    """Return the rows, and those of the shop giving back what it was asked to."""
    returns = []
    expected = tell(told).expected
    for (gateway, txn), (order, _) in expected.owed.items():
        amount = expected.held[gateway, txn].amount
        data = {
            "account_id": order.account_id,
            "renewal_id": order.order_id,
            "gateway": gateway,
            "gateway_txn_id": txn,
            "gateway_refund_ref": f"back-{txn}",
            "amount": {"amount_minor": amount, "currency": order.price.currency},
            "refunded_at": "2026-11-20T08:05:00Z",
        }
        returns.append((5, {"sends": "RefundConfirmed", "data": data}))
    return told + returns


def _renewals(currency: str) -> st.SearchStrategy[Row]:
    plans = sorted({plan["code"] for plan in _PLANS if currency in plan["price"]})
    common = {
        "sends": st.just("renewal"),
        "plan": st.sampled_from(plans),
        "quantity": st.integers(1, 6),
        "contact": st.booleans(),
    }
    charged = {"token": st.sampled_from(_TOKENS), "sim": st.sampled_from(_SIMS)}
    return st.fixed_dictionaries(common | charged) | st.fixed_dictionaries(common).map(_awaiting)


def _awaiting(row: Row) -> Row:
    return row | _AWAITS


_AMOUNTS: Final = {"sends": st.just("top-up"), "amount": st.integers(30_000, 300_000)}
_TOP_UPS: Final = st.fixed_dictionaries(
    _AMOUNTS | {"token": st.sampled_from(_TOKENS)}
) | st.fixed_dictionaries(_AMOUNTS).map(_awaiting)


def _account_of(customer: Customer) -> str:
    return customer.account_id


@st.composite
def _by_wallet(draw: st.DrawFn, phase: int, sims: list[str]) -> Told:
    """Return at most one renewal of each customer."""
    told: Told = []
    for buyer in draw(st.lists(st.sampled_from(_BUYERS), unique_by=_account_of)):
        row: dict[str, Any] = draw(_renewals(buyer.currency))
        row |= {"mode": "wallet", "by": buyer.account_id, "id": f"rnw-{phase}-{buyer.account_id}"}
        row.pop("token", None)
        told.append((phase, row | {"sim": draw(st.sampled_from(sims)), "quantity": 1}))
    return told


STORIES: Final = stories()
