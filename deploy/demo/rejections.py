"""Requests that orders must refuse before any money moves: every reason, and ids used twice."""

from __future__ import annotations

from typing import Any, Final

from deploy.demo.customers import ACCOUNT_COUNT, CUSTOMERS, Customer
from deploy.demo.prices import maximum_amount, minimum_top_up, plans_sold_in, price_of
from deploy.demo.records import event_record, moment
from deploy.demo.story import CHARGED, Story

BLOCKED: Final = tuple(Customer(ACCOUNT_COUNT + number) for number in (1, 2, 3))
"""Those of blocked_accounts.txt."""

_REPEATS: Final = 3
_FIRST: Final = 40
_NOT_SOLD_IN_JPY: Final = "eu-day-premium"
_FOREIGN_ICCID: Final = "8901410000000000000"
_LONG_AGO: Final = "2020-01-01T00:00:00Z"
_NOT_OFFERED: Final = "GBP"


def send_rejected_requests(story: Story, phase: int) -> None:
    """Every reason of a refusal, for several customers each."""
    for turn in range(_REPEATS):
        for step, reason in enumerate(_RENEWALS):
            customer = CUSTOMERS[_FIRST + turn * 20 + step]
            _refused_renewal(story, phase, customer, reason)
        _refused_top_ups(story, phase, CUSTOMERS[_FIRST + turn * 20 + 10])
    for customer in BLOCKED:
        _refused_renewal(story, phase, customer, "account_blocked")
        amount = minimum_top_up(customer.currency)
        _refuse_top_up(story, phase, customer, "account_blocked", amount)


def send_reused_ids(story: Story, phase: int) -> None:
    """Ids of phase 1 with other content: by the customer, and by somebody else."""
    for number in (101, 102, 103, 104, 106, 107):
        owner, other = CUSTOMERS[number - 1], CUSTOMERS[number + 99]
        dearest = plans_sold_in(owner.currency)[-1]
        for _ in range(2):  # the second time it is known to have been refused
            _ask(story, phase, owner, dearest, renewal_id=f"rnw-{number:04d}-1")
        story.expected.event(phase, "RenewalRejected", "renewal_id_reused")
        plan = plans_sold_in(other.currency)[0]
        _ask(story, phase, other, plan, renewal_id=f"rnw-{number:04d}-1")
        story.expected.event(phase, "RenewalRejected", "renewal_id_reused")
        data = _top_up(owner, phase, f"top-{number:04d}-2", 9 * minimum_top_up(owner.currency) + 1)
        story.send(event_record(phase, "TopUpRequested", data))
        story.expected.event(phase, "TopUpRejected", "topup_id_reused")
    for customer, renewal_id in story.refused[:_REPEATS]:
        plan = plans_sold_in(customer.currency)[1]
        _ask(story, phase, customer, plan, renewal_id=renewal_id)
        story.expected.event(phase, "RenewalRejected", "renewal_id_reused")


_RENEWALS: Final[dict[str, dict[str, Any]]] = {
    "unknown_plan": {"plan_code": "moon-month-basic"},
    "esim_not_renewable": {"iccid": _FOREIGN_ICCID},
    "plan_not_sold_in_currency": {
        "plan_code": _NOT_SOLD_IN_JPY,
        "payment": {"method": "card", "mode": "charge", "currency": "JPY", "token": CHARGED},
    },
    "payment_method_not_accepted": {
        "plan_code": "eu-day-basic",
        "payment": {"method": "wechat", "mode": "charge", "currency": "EUR", "token": CHARGED},
    },
    "quote_expired": {"quote_expires_at": _LONG_AGO},
    "price_changed": {},
    "promotion_not_applicable": {"promotion_codes": ["NO-SUCH-CODE"]},
}
"""By reason, what the request says that a good one would not."""


def _refused_renewal(story: Story, phase: int, customer: Customer, reason: str) -> None:
    plan = plans_sold_in(customer.currency)[0]
    changed = dict(_RENEWALS.get(reason, {}))
    if reason == "price_changed":
        shown = price_of(plan, customer.currency).total - 1
        changed["expected_total"] = {"amount_minor": shown, "currency": customer.currency}
    renewal_id = _ask(story, phase, customer, plan, **changed)
    story.refused.append((customer, renewal_id))
    story.expected.event(phase, "RenewalRejected", reason)


def _ask(story: Story, phase: int, customer: Customer, plan: str, **more: Any) -> str:  # noqa: ANN401 - further fields of the request
    payment = {"method": "card", "mode": "charge", "token": CHARGED}
    renewal_id, _ = story.ask_renewal(customer, phase, plan, **{"payment": payment, **more})
    return renewal_id


def _refused_top_ups(story: Story, phase: int, customer: Customer) -> None:
    enough = minimum_top_up(customer.currency)
    _refuse_top_up(story, phase, customer, "below_minimum_top_up", enough - 1)
    most = maximum_amount(customer.currency)
    _refuse_top_up(story, phase, customer, "above_maximum", most + 1)
    by_wallet = {"method": "wallet", "mode": "wallet", "currency": customer.currency}
    _refuse_top_up(story, phase, customer, "payment_method_not_accepted", enough, payment=by_wallet)
    in_pounds = {"method": "card", "mode": "charge", "currency": _NOT_OFFERED, "token": CHARGED}
    _refuse_top_up(story, phase, customer, "currency_not_supported", enough, payment=in_pounds)


def _refuse_top_up(  # noqa: PLR0913 - what varies between refusals
    story: Story,
    phase: int,
    customer: Customer,
    reason: str,
    amount: int,
    *,
    payment: dict[str, str] | None = None,
) -> None:
    data = _top_up(customer, phase, story.next_id(customer, "top"), amount)
    if payment:
        data["payment"] = payment
    story.send(event_record(phase, "TopUpRequested", data))
    story.expected.event(phase, "TopUpRejected", reason)


def _top_up(customer: Customer, phase: int, topup_id: str, amount: int) -> dict[str, Any]:
    currency = customer.currency
    return {
        "account_id": customer.account_id,
        "topup_id": topup_id,
        "amount": {"amount_minor": amount, "currency": currency},
        "payment": {"method": "card", "mode": "charge", "currency": currency, "token": CHARGED},
        "requested_at": moment(phase),
    }
