"""What the demo's customers do, phase by phase; the publisher waits between phases.

1: first renewals and top-ups. 2: renewals from the wallet, and requests sent again. 3: what takes
time or goes wrong. 4: what can only come after that. 5: the shop gives back what it took.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from deploy.demo.customers import CUSTOMERS, LOCALES, Customer
from deploy.demo.hostile import send_hostile_records
from deploy.demo.prices import bonus_tiers, fee_of, minimum_top_up, plans_sold_in
from deploy.demo.records import RawRecord, event_record, structured
from deploy.demo.rejections import send_rejected_requests, send_reused_ids
from deploy.demo.shop_refunds import give_back_what_the_shop_took
from deploy.demo.story import Story
from deploy.demo.troubles import send_troubles, send_what_comes_too_late

WITHOUT_CONTACT_AT_FIRST: Final = range(26, 36)
CHANGES_CONTACT: Final = range(1, 26)
_CODES: Final = ("WELCOME10", "SPRING-2026", "JAPAN-DELUXE")


def tell() -> Story:
    """Return the whole story."""
    story = Story()
    for customer in CUSTOMERS:
        _first_requests(story, customer)
    send_rejected_requests(story, phase=1)
    for customer in CUSTOMERS:
        _wallet_renewals(story, customer)
        _second_renewal(story, customer)
    _late_contacts(story)
    _sent_again(story)
    send_reused_ids(story, phase=2)
    send_troubles(story, phase=3)
    _contact_changes(story)
    send_hostile_records(story, phase=3)
    send_what_comes_too_late(story, phase=4)
    _after_contact_changes(story)
    give_back_what_the_shop_took(story, phase=5)
    return story


def plan_for(customer: Customer, turn: int, most: int | None = None) -> str:
    """Return one of the plans that are sold in the customer's currency, the cheapest `most`."""
    plans = plans_sold_in(customer.currency)[:most]
    return plans[(customer.number * 7 + turn * 5) % len(plans)]


def _first_requests(story: Story, customer: Customer) -> None:
    contact = customer.contact()
    more: dict[str, Any] = (
        {} if customer.number in WITHOUT_CONTACT_AT_FIRST else {"contact": contact}
    )
    quantity = 6 if customer.number % 50 == 0 else 1 + customer.number % 3 // 2
    codes = (_CODES[customer.number % 3],) if customer.number % 4 == 0 else ()
    plan = plan_for(customer, 0)
    order = story.renew(customer, 1, plan, quantity=quantity, codes=codes, **more)
    story.captured(order, 1)
    story.activated(order, 1)
    top_up = story.top_up(customer, 1, _top_up_amount(customer))
    story.credited(top_up, 1)
    if customer.number % 5 == 0:
        _confirmed_in_the_app(story, customer)


def _top_up_amount(customer: Customer) -> int:
    steps = [2 * minimum_top_up(customer.currency), *bonus_tiers(customer.currency)]
    return steps[customer.number % len(steps)] + customer.number % 97


def _confirmed_in_the_app(story: Story, customer: Customer) -> None:
    if customer.number % 25:
        order = story.renew(customer, 1, plan_for(customer, 1), mode="await_confirmation")
        fee = fee_of(order.method, order.price.total)
        story.confirm(order, 1, fee=fee)
        story.captured(order, 1)
        story.activated(order, 1)
        return
    method_is_open = customer.currency != "USD"
    amount = minimum_top_up(customer.currency) + customer.number
    if method_is_open:
        top_up = story.top_up(customer, 1, amount, mode="await_confirmation")
        story.confirm(top_up, 1)
        story.credited(top_up, 1, fee=0)


def _wallet_renewals(story: Story, customer: Customer) -> None:
    for turn in range(1 + customer.number % 2):
        plan = plan_for(customer, 2 + turn, most=16)
        order = story.renew(customer, 2, plan, mode="wallet")
        if charge := story.charged_to_wallet(order, 2):
            story.activated(order, 2)
            if charge.low_balance and not story.shown_renewal:
                story.shown_renewal = order.order_id


def _second_renewal(story: Story, customer: Customer) -> None:
    if customer.number % 3:
        return
    order = story.renew(customer, 2, plan_for(customer, 3), method=customer.method(1))
    story.captured(order, 2)
    story.activated(order, 2)
    if customer.number % 24 == 0:
        story.resend_last_as(structured(order.record))


def _late_contacts(story: Story) -> None:
    for customer in CUSTOMERS:
        if customer.number in WITHOUT_CONTACT_AT_FIRST:
            story.change_contact(customer, 2, customer.contact())


def _sent_again(story: Story) -> None:
    """The same record, and the same request as a new event: neither does anything again."""
    firsts = [record for record in story.records if record.phase == 1][60:]
    for record in firsts[:400:10]:
        story.send(replace(record, phase=2))
    for record in firsts[5:200:20]:
        story.send(_as_new_event(record, phase=2))


def _as_new_event(record: RawRecord, phase: int) -> RawRecord:
    """Return the same request under another event id, as a client sends it that lost the answer."""
    value = (record.value or b"").decode()
    again = event_record(phase, "Again", {"account_id": value})
    return replace(record, phase=phase).with_header("ce_id", dict(again.headers)["ce_id"])


def _contact_changes(story: Story) -> None:
    """A new language; then an old request comes again, whose contact is no longer the newest."""
    firsts = {record.key: record for record in reversed(story.records) if record.phase == 1}
    for customer in CUSTOMERS:
        if customer.number in CHANGES_CONTACT:
            other = LOCALES[(customer.number + 1) % len(LOCALES)]
            story.change_contact(customer, 3, customer.contact(other))
            story.send(_as_new_event(firsts[customer.account_id.encode()], phase=3))


def _after_contact_changes(story: Story) -> None:
    for customer in CUSTOMERS:
        if customer.number in CHANGES_CONTACT:
            order = story.renew(customer, 4, plan_for(customer, 4))
            story.captured(order, 4)
            story.activated(order, 4)
