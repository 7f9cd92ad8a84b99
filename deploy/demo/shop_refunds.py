"""The shop gives back what its own gateway took, and says so with references of its own."""

from __future__ import annotations

from deploy.demo.records import gateway_record, moment
from deploy.demo.story import Instructed, Story


def give_back_what_the_shop_took(story: Story, phase: int) -> None:
    """Do everything that the shop was instructed to."""
    for instructed in story.instructed:
        _give_back(story, instructed, phase)


def _give_back(story: Story, instructed: Instructed, phase: int) -> None:
    """Give a payment back and say so: it went in and out, whole and untaxed."""
    order, held = instructed.order, instructed.paid.paid or {}
    data = {
        "account_id": order.customer.account_id,
        "renewal_id": order.order_id,
        "gateway": held["gateway"],
        "gateway_txn_id": held["txn"],
        "gateway_refund_ref": f"back-{held['txn']}",
        "amount": {"amount_minor": held["amount_minor"], "currency": held["currency"]},
        "refunded_at": moment(phase),
    }
    story.send(gateway_record(phase, "RefundConfirmed", data))
    if instructed.surplus:
        story.told(order.customer, phase, "SurplusReturned", instructed.surplus)
    else:
        story.told(order.customer, phase, "RefundCompleted", order.method)
    story.expected.books.returned(order.method, held["currency"], held["amount_minor"])
