"""Confirmations that lie: about whose payment it is, whether there is one, how much it was.

None of them moves money. What the gateway holds decides, and one payment serves one order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deploy.demo.customers import Customer
from deploy.demo.prices import plans_sold_in
from deploy.demo.publish import partition_of
from deploy.demo.records import confirmation_record
from deploy.demo.story import Order, Story
from deploy.demo.timing import TRUSTED
from schemas.topics import SHARD_COUNT_DEFAULT

_UNTRUSTED = "silent-shop"
_EACH = 2


def send_forgeries(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    """Every lie about an order that waits, and about one that is paid."""
    for _ in range(_EACH):
        _somebody_elses_payment(story, phase, customers)
        _no_payment_at_all(story, phase, _waiting(story, phase, next(customers)))
        _another_amount(story, phase, _waiting(story, phase, next(customers)))
        _an_unknown_gateway(story, phase, _waiting(story, phase, next(customers)))
        _a_slip_of_the_bank(story, phase, customers)


def use_slips_again(story: Story, phase: int) -> None:
    """Name a slip that paid one order for another account's, in another shard."""
    for paid, other in zip(story.stolen[::2], story.stolen[1::2], strict=True):
        word = story.word(other, phase, _slip(paid), amount=other.price.total)
        story.say(phase, word | {"gateway": TRUSTED}, None)
        story.expected.event(phase, "PaymentConfirmationRefused", "already_used")


def _somebody_elses_payment(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    """A payment that is another order's: named for one that waits, and for one that is paid."""
    victim = _waiting(story, phase, next(customers))
    story.confirm(victim, phase)
    story.captured(victim, phase, fee=0)
    story.activated(victim, phase)
    txn = f"txn-{victim.order_id}-1"
    waiting = _waiting(story, phase, _in_another_shard(victim, customers))
    _refused(story, phase, waiting, txn, "another_reference", gateway=f"app-{victim.method}")
    _expires(story, phase)
    customer = next(customers)
    paid = story.renew(customer, phase, plans_sold_in(customer.currency)[0])
    story.captured(paid, phase)
    story.activated(paid, phase)
    _refused(story, phase, paid, txn, "another_reference", gateway=f"app-{victim.method}")


def _no_payment_at_all(story: Story, phase: int, order: Order) -> None:
    _refused(story, phase, order, "txn-of-nobody", "unknown_transaction")
    _expires(story, phase)


def _another_amount(story: Story, phase: int, order: Order) -> None:
    """The payment is true and its amount a lie: what the gateway holds counts."""
    true = story.confirm(order, phase)
    lie = story.word(order, phase, f"txn-{order.order_id}-1", amount=9_000_000, fee=1)
    story.resend_last_as(confirmation_record(phase, lie, true.paid))
    story.captured(order, phase, fee=0)
    story.activated(order, phase)


def _an_unknown_gateway(story: Story, phase: int, order: Order) -> None:
    _refused(story, phase, order, "slip-1", "not_checkable", gateway=_UNTRUSTED)
    _expires(story, phase)


def _a_slip_of_the_bank(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    """What a trusted gateway says pays one order; `use_slips_again` tries it for another."""
    order = _waiting(story, phase, next(customers))
    story.say(phase, story.word(order, phase, _slip(order)) | {"gateway": TRUSTED}, None)
    story.captured(order, phase, fee=0)
    story.activated(order, phase)
    other = _waiting(story, phase, _in_another_shard(order, customers))
    _expires(story, phase)
    story.stolen += [order, other]


def _slip(order: Order) -> str:
    return f"slip-{order.order_id}"


def _refused(  # noqa: PLR0913, PLR0917 - what a lie consists of
    story: Story, phase: int, order: Order, txn: str, reason: str, gateway: str | None = None
) -> None:
    word = story.word(order, phase, txn)
    story.say(phase, word | {"gateway": gateway or word["gateway"]}, None)
    story.expected.event(phase, "PaymentConfirmationRefused", reason)


def _expires(story: Story, phase: int) -> None:
    story.expected.event(phase, "OrderExpired")


def _waiting(story: Story, phase: int, customer: Customer) -> Order:
    plan = plans_sold_in(customer.currency)[0]
    return story.renew(customer, phase, plan, mode="await_confirmation")


def _in_another_shard(order: Order, customers: Iterator[Customer]) -> Customer:
    home = partition_of(order.record, SHARD_COUNT_DEFAULT)
    return next(each for each in customers if _shard(order, each) != home)


def _shard(order: Order, customer: Customer) -> int:
    moved = replace(order.record, key=customer.account_id.encode())
    return partition_of(moved, SHARD_COUNT_DEFAULT)
