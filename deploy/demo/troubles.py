"""Payments, activations and refunds that go wrong or take time, and what comes too late for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from deploy.demo.books import WalletCharge
from deploy.demo.customers import CUSTOMERS, Customer
from deploy.demo.forgeries import send_forgeries, use_slips_again
from deploy.demo.prices import minimum_top_up, plans_sold_in, price_of
from deploy.demo.story import CHARGED, Order, Story
from deploy.demo.timing import PROVIDER_DOWN_SECONDS

_FIRST: Final = 100
_LAST: Final = 400
_EACH: Final = 3
"""Neighbours among the customers have different languages: three of a kind cover all."""

_DECLINED: Final = {
    "tok_insufficient_funds": "insufficient_funds",
    "tok_bank_limit": "bank_limit",
    "tok_network": "network_interruption",
    "tok_risk_declined": "risk_declined",
    "tok_authentication_required": "authentication_required",
    "tok_expired": "expired",
    "tok_cancelled": "cancelled_by_customer",
    "tok_unknown": "unknown",
    "tok_the_sandbox_never_heard_of": "unknown",
}
_UNKNOWN_THEN_CHARGED: Final = {"tok_timeout_after": "timeout", "tok_error_after": "gateway_error"}
_UNKNOWN_THEN_NOT: Final = {
    "tok_timeout_before": ("not_charged", "network_interruption"),
    "tok_timeout_declined": ("declined", "insufficient_funds"),
}
_CHARGED_IN_THE_END: Final = ("tok_slow", "tok_duplicate", "tok_down_1", "tok_down_2")
_ALWAYS_DOWN: Final = "tok_down_99"

_NEVER: Final = {"9001": "esim_not_found", "9002": "esim_not_eligible"}
_ACTIVATED_IN_TIME: Final = ("9003", "9004", "9005", "9006", "9101")
_ACTIVATED_LATE: Final = f"92{PROVIDER_DOWN_SECONDS:02d}"
_PROVIDER_GONE: Final = "9007"


def send_troubles(story: Story, phase: int) -> None:
    """Everything that ends otherwise than in an activation at once; one per customer."""
    customers = iter(CUSTOMERS[_FIRST:_LAST])
    _declines(story, phase, customers)
    _unknown_outcomes(story, phase, customers)
    _activations(story, phase, customers)
    _refunds(story, phase, customers)
    _wallet_troubles(story, phase, customers)
    _never_confirmed(story, phase, customers)
    _confirmed_otherwise(story, phase, customers)
    send_forgeries(story, phase, customers)


def send_what_comes_too_late(story: Story, phase: int) -> None:
    """Payments for expired orders, and customers who try again after a failure."""
    for order in story.expired[::2]:
        paid = story.confirm(order, phase)
        if order.order_id.startswith("top"):
            story.credited(order, phase, fee=0, surplus="order_expired")
        else:
            story.owed_by_shop(order, phase, paid, "order_expired")
    use_slips_again(story, phase)
    for order in story.failed_orders[1::4]:
        paid = story.confirm(order, phase)
        story.owed_by_shop(order, phase, paid, "payment_failed")
    for order in story.paid_in_app:
        paid = story.confirm(order, phase, txn="2")
        story.owed_by_shop(order, phase, paid, "paid_twice")
    for order in story.failed_orders[::4]:
        again = story.renew(order.customer, phase, _cheapest(order.customer))
        story.captured(again, phase)
        story.activated(again, phase)


def _declines(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    for token, reason in _DECLINED.items():
        for _ in range(_EACH):
            order = _renew(story, phase, next(customers), token=token)
            story.failed(order, phase, reason)
            story.failed_orders.append(order)
        for _ in range(_EACH):
            story.failed(_top_up(story, phase, next(customers), token), phase, reason)


def _unknown_outcomes(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    expected = story.expected
    for token, cause in _UNKNOWN_THEN_CHARGED.items():
        for order in _three_of_both(story, phase, customers, token):
            expected.event(phase, "PaymentOutcomeUnknown", cause)
            expected.event(phase, "PaymentOutcomeResolved", "captured")
            _goes_well(story, phase, order)
    for token, (outcome, reason) in _UNKNOWN_THEN_NOT.items():
        for order in _three_of_both(story, phase, customers, token):
            expected.event(phase, "PaymentOutcomeUnknown", "timeout")
            expected.event(phase, "PaymentOutcomeResolved", outcome)
            story.failed(order, phase, reason)
    for token in _CHARGED_IN_THE_END:
        for order in _three_of_both(story, phase, customers, token):
            _goes_well(story, phase, order)
    for order in _three_of_both(story, phase, customers, _ALWAYS_DOWN):
        story.failed(order, phase, "network_interruption")


def _activations(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    for ending in (*_ACTIVATED_IN_TIME, _ACTIVATED_LATE, _PROVIDER_GONE, *_NEVER):
        for _ in range(_EACH):
            order = _renew(story, phase, next(customers), ending=ending)
            story.captured(order, phase)
            _activation(story, phase, order, ending, lambda o, r: story.refunded(o, phase, r))


def _activation(
    story: Story, phase: int, order: Order, ending: str, refund: Callable[[Order, str], None]
) -> None:
    if ending in _NEVER:
        refund(order, _NEVER[ending])
        return
    if ending in {_ACTIVATED_LATE, _PROVIDER_GONE}:
        story.told(order.customer, phase, "ActivationDelayed")
    if ending == _PROVIDER_GONE:
        refund(order, "deadline_passed")
    else:
        story.activated(order, phase)


def _refunds(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    """Refunds that need several attempts: one refund comes of them all the same."""
    for token in ("tok_refund_down", "tok_refund_lost"):
        for ending, reason in _NEVER.items():
            for _ in range(_EACH):
                order = _renew(story, phase, next(customers), token=token, ending=ending)
                story.captured(order, phase)
                story.refunded(order, phase, reason)


def _wallet_troubles(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    """Plans that the wallet paid and that never work; and wallets that cannot pay at all."""
    for ending in (*_NEVER, _PROVIDER_GONE, _ACTIVATED_LATE):
        for _ in range(_EACH):
            customer = next(each for each in customers if _can_pay(story, each))
            order = _renew(story, phase, customer, mode="wallet", ending=ending)
            charge = story.charged_to_wallet(order, phase)
            if charge is None:
                message = f"{customer.account_id} was to be able to pay: see _can_pay"
                raise ValueError(message)

            def refund(owed: Order, reason: str, paid: WalletCharge = charge) -> None:
                story.refunded_to_wallet(owed, phase, reason, paid)

            _activation(story, phase, order, ending, refund)
    for _ in range(_EACH):
        customer = next(each for each in customers if not _can_pay(story, each, dearest=True))
        dearest = plans_sold_in(customer.currency)[-1]
        story.charged_to_wallet(story.renew(customer, phase, dearest, mode="wallet"), phase)


def _never_confirmed(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    for turn in range(2 * _EACH):
        order = _renew(story, phase, next(customers), mode="await_confirmation")
        story.expected.event(phase, "OrderExpired")
        story.expired.append(order)
        if turn % 2:
            customer = next(each for each in customers if each.currency == "HKD")
            top_up = story.top_up(
                customer, phase, 3 * minimum_top_up("HKD"), mode="await_confirmation"
            )
            story.expected.event(phase, "OrderExpired")
            story.expired.append(top_up)


def _confirmed_otherwise(story: Story, phase: int, customers: Iterator[Customer]) -> None:
    """Too little, too much, in time to be paid twice; top-ups that are credited as they were paid."""
    for difference in (-1, 1, 500):
        order = _renew(story, phase, next(customers), mode="await_confirmation")
        amount = order.price.total + difference
        paid = story.confirm(order, phase, amount=amount)
        story.owed_by_shop(order, phase, paid)
    for _ in range(_EACH):
        order = _renew(story, phase, next(customers), mode="await_confirmation")
        story.send(story.confirm(order, phase))
        story.captured(order, phase, fee=0)
        story.activated(order, phase)
        story.paid_in_app.append(order)
        customer = next(customers)
        top_up = story.top_up(
            customer, phase, minimum_top_up(customer.currency), mode="await_confirmation"
        )
        for txn, surplus in (("1", None), ("2", "paid_twice")):
            story.confirm(top_up, phase, txn=txn)
            story.credited(top_up, phase, fee=0, surplus=surplus)
    for difference in (-7, 7):
        customer = next(each for each in customers if each.currency == "CNY")
        order = story.top_up(customer, phase, 10_100, mode="await_confirmation")
        amount = order.price.total + difference
        story.confirm(order, phase, amount=amount)
        story.credited(order, phase, fee=0, amount=amount)


def _goes_well(story: Story, phase: int, order: Order) -> None:
    if order.order_id.startswith("top"):
        story.credited(order, phase)
    else:
        story.captured(order, phase)
        story.activated(order, phase)


def _three_of_both(
    story: Story, phase: int, customers: Iterator[Customer], token: str
) -> list[Order]:
    renewals = [_renew(story, phase, next(customers), token=token) for _ in range(_EACH)]
    return renewals + [_top_up(story, phase, next(customers), token) for _ in range(_EACH)]


def _renew(  # noqa: PLR0913 - what varies between renewals
    story: Story,
    phase: int,
    customer: Customer,
    *,
    mode: str = "charge",
    token: str = CHARGED,
    ending: str = "0000",
) -> Order:
    return story.renew(customer, phase, _cheapest(customer), mode=mode, token=token, ending=ending)


def _top_up(story: Story, phase: int, customer: Customer, token: str) -> Order:
    amount = minimum_top_up(customer.currency) + customer.number % 89
    return story.top_up(customer, phase, amount, token=token)


def _cheapest(customer: Customer) -> str:
    return plans_sold_in(customer.currency)[0]


def _can_pay(story: Story, customer: Customer, *, dearest: bool = False) -> bool:
    plan = plans_sold_in(customer.currency)[-1 if dearest else 0]
    wallet = story.expected.books.wallets.get(customer.account_id)
    return wallet is not None and wallet.total >= price_of(plan, customer.currency).total
