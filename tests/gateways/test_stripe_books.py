"""The books reconcile two gateways that both charge cards with what each of them really holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from schemas.envelope import TIME_MIN
from services.ledger.reports.gateway_report import GatewayReport, gateway_report
from services.ledger.reports.scope import Scope
from services.ledger.rules.postings import Transfers, post
from services.ledger.rules.rule_file import load_rules
from services.orders.order.routing import Route, Routing
from services.orders.renewals.commands import AcceptRenewal
from services.orders.topups.commands import AcceptTopUp
from tests.gateways.stripe_proxy import Trouble
from tests.gateways.stripe_world import StripeOrders, orders_with_stripe
from tests.unit.orders.builders import ICCID, by_token, renewal, top_up, usd

DECEMBER: Final = datetime(2026, 12, 1, tzinfo=UTC)
"""From when on the books keep gateways apart."""
CHANGE: Final = DECEMBER + timedelta(days=1)
BY_DATE: Final = Routing(
    default="sandbox",
    routes=[
        Route(valid_from=TIME_MIN, valid_until=CHANGE, gateways={"stripe": 1}),
        Route(valid_from=CHANGE, gateways={"sandbox": 1}),
    ],
)
RULES: Final = load_rules()
REFUSED: Final = ICCID[:-4] + "9001"


@pytest.fixture
def orders(tmp_path: Path, localstripe_url: str) -> Iterator[StripeOrders]:
    with orders_with_stripe(tmp_path, localstripe_url, BY_DATE) as running:
        running.world.now = DECEMBER
        yield running


def renew(orders: StripeOrders, renewal_id: str, token: str, iccid: str = ICCID) -> None:
    wanted = renewal(
        renewal_id=renewal_id,
        iccid=iccid,
        payment=by_token(token),
        account_id=f"acct-{renewal_id}",
        requested_at=orders.world.now,
    )
    orders.world.tell(f"order/{renewal_id}", lambda now: AcceptRenewal(wanted, now))


def fill_up(orders: StripeOrders, topup_id: str, token: str) -> None:
    wanted = top_up(topup_id=topup_id, payment=by_token(token), requested_at=orders.world.now)
    orders.world.tell(f"topup/{topup_id}", lambda now: AcceptTopUp(wanted, now))


def books(orders: StripeOrders) -> GatewayReport:
    """Book what orders says by the rules of December."""
    transfers: Transfers = defaultdict(int)
    for event in orders.world.events:
        postings = post(event, DECEMBER, RULES).postings
        for debit, credit in zip(postings[::2], postings[1::2], strict=True):
            assert debit.amount_minor == -credit.amount_minor > 0
            key = (0, debit.account, credit.account, debit.currency)
            transfers[key] += debit.amount_minor
    return gateway_report(transfers, Scope({0: len(orders.world.events)}), RULES)


def held_by_stripe(orders: StripeOrders) -> tuple[int, int]:
    """Return what Stripe says that it took and gave back."""
    taken = sum(
        each["amount"]
        for each in orders.proxy.held("payment_intents")
        if each["status"] == "succeeded"
    )
    return taken, sum(each["amount"] for each in orders.proxy.held("refunds"))


def held_by_sandbox(orders: StripeOrders) -> tuple[int, int, int]:
    """Return what the sandbox's own journal says that it took, kept and gave back."""
    journal = orders.sandbox.gateway.journal
    with journal.locked():
        charges, refunds = list(journal.all("charge")), list(journal.all("refund"))
    return (
        sum(each["amount_minor"] for each in charges),
        sum(each["fee_minor"] for each in charges),
        sum(each["amount_minor"] for each in refunds),
    )


def test_two_gateways_of_cards_reconcile_apart_though_the_route_changed_before_a_refund(
    orders: StripeOrders,
) -> None:
    world = orders.world
    orders.proxy.troubles.extend([Trouble.CUT_AFTER, None, Trouble.TWICE])
    orders.proxy.refuses_refunds_as = "rate_limit"
    renew(orders, "kept", orders.token())
    renew(orders, "given-back", orders.token(), REFUSED)
    fill_up(orders, "filled", orders.token())
    world.run_until(DECEMBER + timedelta(hours=6))
    assert held_by_stripe(orders) == (2120 + 2120 + 5000, 0)
    assert world.names().count("ActivationFailed") == 1

    world.now = CHANGE
    orders.proxy.refuses_refunds_as = None
    orders.proxy.troubles.extend([Trouble.CUT_AFTER, Trouble.TWICE])
    renew(orders, "elsewhere", "tok_ok")
    renew(orders, "back-elsewhere", "tok_ok", REFUSED)
    fill_up(orders, "filled-elsewhere", "tok_ok")
    world.run_until(CHANGE + timedelta(days=1))

    assert world.names().count("RefundCompleted") == 2
    by_gateway = {line.gateway: line for line in books(orders).lines}
    assert by_gateway.keys() == {"stripe", "sandbox"}
    stripe, sandbox = by_gateway["stripe"], by_gateway["sandbox"]
    assert (stripe.method, sandbox.method) == ("Card", "Card")
    assert (stripe.captured_minor, stripe.returned_minor) == held_by_stripe(orders)
    assert held_by_stripe(orders) == (2120 + 2120 + 5000, 2120)
    amounts = (sandbox.captured_minor, sandbox.fees_minor, sandbox.returned_minor)
    assert amounts == held_by_sandbox(orders)
    assert (amounts[0], amounts[2]) == (2120 + 2120 + 5000, 2120)
    assert books(orders).totals == {
        (line.gateway, "USD"): line.to_pay_out_minor for line in (sandbox, stripe)
    }


def test_money_that_a_person_gives_back_elsewhere_is_owed_there_and_still_by_who_took_it(
    orders: StripeOrders,
) -> None:
    renew(orders, "given-back", orders.token(), REFUSED)
    orders.world.run_until(DECEMBER + timedelta(hours=6))
    by_bank = orders.world.events[-1].model_copy(update={"gateway": "bank", "settled_by": "anna"})
    orders.world.events[-1] = by_bank
    assert {
        (line.account, line.captured_minor, line.returned_minor) for line in books(orders).lines
    } == {("Assets:Gateway:Card:stripe", 2120, 0), ("Assets:Gateway:Card:bank", 0, 2120)}
    assert usd(2120) == getattr(by_bank, "amount", None)
