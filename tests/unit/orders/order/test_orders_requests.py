"""Which renewals and top-ups are accepted, at which price, and why others are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas.money import Money
from schemas.orders import (
    RejectionReason,
    RenewalAccepted,
    RenewalRejected,
    TopUpAccepted,
    TopUpRejected,
    TopUpRejectionReason,
    WalletChargeRequested,
)
from schemas.requests import PaymentInstruction, PaymentMethod, PaymentMode
from services.orders.decider import decide
from services.orders.order.evolution import evolve, initial_state
from services.orders.order.identities import request_digest
from services.orders.order.rules import IgnoredReason
from services.orders.order.state import OrderState
from services.orders.renewals.commands import AcceptRenewal
from services.orders.topups.commands import AcceptTopUp
from services.runtime.effect import Start
from services.runtime.processor import Decision, Ignored
from tests.given_when_then import Decider
from tests.unit.orders.builders import (
    CONTACT,
    ICCID,
    NOW,
    POLICY,
    RULES,
    by_token,
    from_wallet,
    in_app,
    renewal,
    top_up,
    usd,
)

ORDERS: Decider[OrderState] = Decider(
    initial_state, evolve, lambda command, state: decide(command, state, RULES)
)


def asked(**changes: Any) -> Decision:
    decision = ORDERS.when(AcceptRenewal(renewal(**changes), NOW))
    assert isinstance(decision, Decision)
    return decision


def asked_top_up(**changes: Any) -> Decision:
    decision = ORDERS.when(AcceptTopUp(top_up(**changes), NOW))
    assert isinstance(decision, Decision)
    return decision


def method(name: PaymentMethod, currency: str) -> PaymentInstruction:
    return PaymentInstruction(
        method=name, mode=PaymentMode.CHARGE, currency=currency, token="tok_ok"
    )


def test_accepted_renewal_locks_price_tax_and_title() -> None:
    (accepted,) = asked().events
    assert isinstance(accepted, RenewalAccepted)
    quote = accepted.quote
    assert (quote.net, quote.tax, quote.total) == (usd(2000), usd(120), usd(2120))
    assert (quote.plan_version, quote.tax_jurisdiction, quote.tax_rate) == ("2026-2", "US", "0.06")
    assert set(accepted.plan_title) == {"zh-Hans", "zh-Hant", "en"}


def test_plan_version_of_the_moment_sets_the_price() -> None:
    before = NOW.replace(month=6)
    decision = ORDERS.when(AcceptRenewal(renewal(), before))
    assert isinstance(decision, Decision)
    (accepted,) = decision.events
    assert isinstance(accepted, RenewalAccepted)
    assert (accepted.quote.plan_version, accepted.quote.net) == ("2025-1", usd(1900))


@pytest.mark.parametrize(
    ("changes", "promotions", "net_minor"),
    [
        ({"plan_code": "eu-year-basic"}, ["LONG-PLAN"], 17955),
        ({"quantity": 6}, ["HALF-YEAR"], 11100),
        ({"quantity": 6, "promotion_codes": ["WELCOME10"]}, ["WELCOME10"], 10800),
        ({"plan_code": "jp-month-deluxe", "promotion_codes": ["JAPAN-DELUXE"]},
         ["JAPAN-DELUXE"], 4287),
    ],
)  # fmt: skip
def test_best_promotion_in_force_lowers_the_price(
    changes: dict[str, Any], promotions: list[str], net_minor: int
) -> None:
    (accepted,) = asked(**changes).events
    assert isinstance(accepted, RenewalAccepted)
    assert accepted.quote.promotions == promotions
    assert accepted.quote.net == usd(net_minor)
    assert accepted.quote.list_price == accepted.quote.net + accepted.quote.discount
    assert accepted.promotions_not_applied is None


IDLE = [["NO-SUCH-CODE"], ["SPRING-2026"], ["JAPAN-DELUXE"], ["WELCOME10", "NO-SUCH-CODE"]]


@pytest.mark.parametrize("codes", IDLE)
def test_code_that_lowers_nothing_is_refused_by_name_where_no_price_was_shown(
    codes: list[str],
) -> None:
    decision = asked(promotion_codes=codes)
    (rejected,) = decision.events
    assert isinstance(rejected, RenewalRejected)
    assert rejected.reason is RejectionReason.PROMOTION_NOT_APPLICABLE
    assert rejected.promotions_not_applied == codes[-1:]
    assert rejected.current_total == usd(2120 if len(codes) == 1 else 1908)
    assert decision.effects == ()


@pytest.mark.parametrize("codes", IDLE)
def test_code_that_lowers_nothing_is_named_where_the_customer_saw_the_price(
    codes: list[str],
) -> None:
    total = usd(2120 if len(codes) == 1 else 1908)
    (accepted,) = asked(promotion_codes=codes, expected_total=total).events
    assert isinstance(accepted, RenewalAccepted)
    assert accepted.promotions_not_applied == codes[-1:]
    assert accepted.quote.total == total
    (rejected,) = asked(promotion_codes=codes, expected_total=usd(1)).events
    assert isinstance(rejected, RenewalRejected)
    assert rejected.reason is RejectionReason.PRICE_CHANGED
    assert (rejected.promotions_not_applied, rejected.current_total) == (codes[-1:], total)


def test_code_beaten_by_a_better_promotion_is_no_mistake() -> None:
    (accepted,) = asked(
        plan_code="jp-month-deluxe", promotion_codes=["WELCOME10", "JAPAN-DELUXE"]
    ).events
    assert isinstance(accepted, RenewalAccepted)
    assert accepted.quote.promotions == ["JAPAN-DELUXE"]
    assert accepted.promotions_not_applied is None


WHAT_TO_DO = {
    "account_blocked": "this account may not buy: contact support",
    "unknown_plan": "no plan with this code is on sale: read the catalogue again",
    "esim_not_renewable": "this eSIM is not one of ours: check the ICCID",
    "plan_not_sold_in_currency": "choose another currency for this plan",
    "payment_method_not_accepted": "method, mode and currency do not go together",
    "quote_expired": "ask for a new quote and send it under a new renewal_id",
    "price_changed": "show the customer current_total and send a new renewal_id",
    "promotion_not_applicable": (
        "a code of promotions_not_applied lowers nothing: leave it out, or send current_total as "
        "expected_total, under a new renewal_id"
    ),
    "renewal_id_reused": "this renewal_id is taken: send a new one for a new order",
}
WHAT_TO_DO_ABOUT_TOP_UPS = {
    "account_blocked": "this account may not buy: contact support",
    "currency_not_supported": "top up and pay in one offered currency",
    "payment_method_not_accepted": "method, mode and currency do not go together",
    "below_minimum_top_up": "send at least `minimum` under a new topup_id",
    "above_maximum": "send at most `maximum` under a new topup_id",
    "topup_id_reused": "this topup_id is taken: send a new one for a new top-up",
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"account_id": "acct-blocked"}, RejectionReason.ACCOUNT_BLOCKED),
        ({"promotion_codes": ["NONE"]}, RejectionReason.PROMOTION_NOT_APPLICABLE),
        ({"plan_code": "no-such-plan"}, RejectionReason.UNKNOWN_PLAN),
        ({"iccid": "8900000000000000001"}, RejectionReason.ESIM_NOT_RENEWABLE),
        ({"plan_code": "jp-day-basic", "payment": by_token(currency="EUR")},
         RejectionReason.PLAN_NOT_SOLD_IN_CURRENCY),
        ({"payment": by_token(currency="BHD")}, RejectionReason.PLAN_NOT_SOLD_IN_CURRENCY),
        ({"payment": method(PaymentMethod.ALIPAY, "USD")},
         RejectionReason.PAYMENT_METHOD_NOT_ACCEPTED),
        ({"quote_expires_at": NOW - timedelta(microseconds=1)}, RejectionReason.QUOTE_EXPIRED),
        ({"expected_total": usd(2119)}, RejectionReason.PRICE_CHANGED),
        ({"expected_total": Money(amount_minor=2120, currency="EUR")},
         RejectionReason.PRICE_CHANGED),
    ],
)  # fmt: skip
def test_renewal_is_refused_with_its_reason_and_without_effects(
    changes: dict[str, Any], reason: RejectionReason
) -> None:
    decision = asked(**changes)
    (rejected,) = decision.events
    assert isinstance(rejected, RenewalRejected)
    assert rejected.reason is reason
    assert rejected.detail == WHAT_TO_DO[reason]
    told = {RejectionReason.PRICE_CHANGED, RejectionReason.PROMOTION_NOT_APPLICABLE}
    assert (rejected.current_total == usd(2120)) == (reason in told)
    assert decision.effects == ()


def test_right_expected_total_and_open_quote_are_accepted() -> None:
    (accepted,) = asked(expected_total=usd(2120), quote_expires_at=NOW).events
    assert isinstance(accepted, RenewalAccepted)


def test_charge_order_starts_the_charge_and_holds_the_activation() -> None:
    activate, charge = asked().effects
    assert isinstance(activate, Start)
    assert isinstance(charge, Start)
    assert (activate.kind, activate.hold_key) == ("activate", "order/ren-1")
    assert (charge.kind, charge.hold_key) == ("charge", None)
    assert charge.payload["amount"] == {"amount_minor": 2120, "currency": "USD"}


def test_await_confirmation_order_expires_at_confirm_by() -> None:
    decision = asked(payment=in_app())
    (accepted,) = decision.events
    assert isinstance(accepted, RenewalAccepted)
    assert accepted.confirm_by == NOW + POLICY.confirmation_window
    kinds = {each.kind: each.due_at for each in decision.effects if isinstance(each, Start)}
    assert kinds == {"activate": None, "expire": accepted.confirm_by}


def test_wallet_order_asks_the_ledger() -> None:
    _, wanted = asked(payment=from_wallet()).events
    assert isinstance(wanted, WalletChargeRequested)
    assert (wanted.amount, wanted.net, wanted.tax) == (usd(2120), usd(2000), usd(120))


def test_no_event_holds_contact_iccid_or_token() -> None:
    for decision in (asked(), asked(payment=from_wallet()), asked_top_up()):
        for event in decision.events:
            body = event.body().decode()
            assert ICCID not in body
            assert "tok_ok" not in body
            assert CONTACT.email not in body


def test_commands_do_not_show_iccid_or_token_when_printed() -> None:
    shown = repr(AcceptRenewal(renewal(), NOW)) + repr(AcceptTopUp(top_up(), NOW)) + repr(RULES)
    assert ICCID not in shown
    assert "tok_ok" not in shown
    assert POLICY.esim_hash_salt not in shown


@pytest.mark.parametrize(
    "changes", [{"contact": None}, {"requested_at": NOW + timedelta(seconds=9)}]
)
def test_same_request_again_is_a_duplicate(changes: dict[str, Any]) -> None:
    again = AcceptRenewal(renewal(**changes), NOW + timedelta(days=1))
    assert ORDERS.when(again, given=asked().events) == Ignored(IgnoredReason.DUPLICATE_REQUEST)


def test_refused_request_again_is_a_duplicate() -> None:
    refused = asked(plan_code="no-such-plan").events
    again = AcceptRenewal(renewal(plan_code="no-such-plan"), NOW)
    assert ORDERS.when(again, given=refused) == Ignored(IgnoredReason.DUPLICATE_REQUEST)


@pytest.mark.parametrize("changes", [{"quantity": 2}, {"account_id": "acct-2"}])
def test_reused_id_is_refused_once_and_leaves_the_order_alone(changes: dict[str, Any]) -> None:
    accepted = asked().events
    other = AcceptRenewal(renewal(**changes), NOW)
    decision = ORDERS.when(other, given=accepted)
    assert isinstance(decision, Decision)
    (rejected,) = decision.events
    assert isinstance(rejected, RenewalRejected)
    assert rejected.reason is RejectionReason.RENEWAL_ID_REUSED
    assert rejected.account_id == other.request.account_id
    assert rejected.detail == WHAT_TO_DO["renewal_id_reused"]
    assert decision.apart
    after = (*accepted, rejected)
    assert ORDERS.when(other, given=after) == Ignored(IgnoredReason.DUPLICATE_REFUSED_REQUEST)
    original = AcceptRenewal(renewal(), NOW)
    assert ORDERS.when(original, given=after) == Ignored(IgnoredReason.DUPLICATE_REQUEST)


def test_id_of_a_refused_request_cannot_be_used_for_another() -> None:
    refused = asked(plan_code="no-such-plan").events
    decision = ORDERS.when(AcceptRenewal(renewal(), NOW), given=refused)
    assert isinstance(decision, Decision)
    (rejected,) = decision.events
    assert isinstance(rejected, RenewalRejected)
    assert rejected.reason is RejectionReason.RENEWAL_ID_REUSED


def test_remembered_refused_requests_are_bounded() -> None:
    state = ORDERS.given(*asked().events)
    for quantity in range(2, 25):
        decision = decide(AcceptRenewal(renewal(quantity=quantity), NOW), state, RULES)
        assert isinstance(decision, Decision)
        state = evolve(state, decision.events[0])
    assert len(state.refused_digests) == 16  # type: ignore[union-attr]


def test_request_digest_depends_on_the_key() -> None:
    assert request_digest(renewal(), "one key") != request_digest(renewal(), "another key")


def test_accepted_top_up_locks_its_bonus() -> None:
    (accepted,) = asked_top_up().events
    assert isinstance(accepted, TopUpAccepted)
    assert (accepted.amount, accepted.bonus) == (usd(5000), usd(500))


@pytest.mark.parametrize(
    ("amount_minor", "bonus_minor"),
    [(500, 0), (1999, 0), (2000, 60), (4999, 150), (5000, 500), (20000, 3000)],
)
def test_top_up_bonus_follows_the_tiers(amount_minor: int, bonus_minor: int) -> None:
    (accepted,) = asked_top_up(amount=usd(amount_minor)).events
    assert isinstance(accepted, TopUpAccepted)
    assert accepted.bonus == usd(bonus_minor)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"account_id": "acct-blocked"}, TopUpRejectionReason.ACCOUNT_BLOCKED),
        ({"amount": usd(499)}, TopUpRejectionReason.BELOW_MINIMUM_TOP_UP),
        ({"amount": usd(100_000_000)}, TopUpRejectionReason.ABOVE_MAXIMUM),
        ({"amount": Money(amount_minor=5000, currency="BHD"),
          "payment": by_token(currency="BHD")}, TopUpRejectionReason.CURRENCY_NOT_SUPPORTED),
        ({"payment": by_token(currency="EUR")}, TopUpRejectionReason.CURRENCY_NOT_SUPPORTED),
        ({"payment": from_wallet()}, TopUpRejectionReason.PAYMENT_METHOD_NOT_ACCEPTED),
        ({"payment": method(PaymentMethod.WECHAT, "USD")},
         TopUpRejectionReason.PAYMENT_METHOD_NOT_ACCEPTED),
    ],
)  # fmt: skip
def test_top_up_is_refused_with_its_reason_and_without_effects(
    changes: dict[str, Any], reason: TopUpRejectionReason
) -> None:
    decision = asked_top_up(**changes)
    (rejected,) = decision.events
    assert isinstance(rejected, TopUpRejected)
    assert rejected.reason is reason
    assert rejected.detail == WHAT_TO_DO_ABOUT_TOP_UPS[reason]
    assert (rejected.minimum == usd(500)) == (reason is TopUpRejectionReason.BELOW_MINIMUM_TOP_UP)
    assert decision.effects == ()


def test_reused_topup_id_is_refused() -> None:
    other = AcceptTopUp(top_up(amount=usd(6000)), NOW)
    decision = ORDERS.when(other, given=asked_top_up().events)
    assert isinstance(decision, Decision)
    (rejected,) = decision.events
    assert isinstance(rejected, TopUpRejected)
    assert rejected.reason is TopUpRejectionReason.TOPUP_ID_REUSED
    assert rejected.detail == WHAT_TO_DO_ABOUT_TOP_UPS["topup_id_reused"]
