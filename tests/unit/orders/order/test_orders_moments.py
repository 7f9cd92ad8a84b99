"""From when each deadline of an order counts, and what holds a tick before it, at it and after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from schemas.confirmations import PaymentConfirmationRefused
from schemas.envelope import utc_text
from schemas.orders import (
    ActivationDelayed,
    ActivationFailed,
    OrderExpired,
    PaymentCaptured,
    PaymentFailed,
    PaymentOutcomeResolved,
    PaymentOutcomeUnknown,
    RenewalAccepted,
    RenewalRejected,
    TopUpAccepted,
)
from services.orders.catalogue.catalogue import PlanVersion, Promotion, Tax, holding_at
from services.orders.decider import Command, decide
from services.orders.order import identities
from services.orders.order.evolution import evolve, initial_state
from services.orders.order.policy import Backoff
from services.orders.order.rules import IgnoredReason
from services.orders.order.state import OrderState
from services.orders.payments.commands import (
    ConfirmPayment,
    ExpireOrder,
    RecordCharge,
    RecordConfirmation,
    RecordLookUp,
    RecordRefund,
)
from services.orders.payments.gateways import gateway
from services.orders.renewals.commands import AcceptRenewal, RecordActivation
from services.orders.renewals.providers import provider
from services.orders.topups.commands import AcceptTopUp
from services.runtime.effect import Retry, Start
from services.runtime.processor import Decision, Ignored
from tests.unit.orders.builders import (
    CATALOGUE,
    NOW,
    POLICY,
    RULES,
    confirmation,
    in_app,
    renewal,
    top_up,
)
from tests.unit.orders.forgetful import CAPTURED, NOT_ACTIVATED, UNKNOWN

TICK: Final = timedelta(microseconds=1)
MINUTE: Final = timedelta(minutes=1)
DOWN, ABSENT = gateway.Unavailable(), gateway.NotFound()
NO_PROVIDER, NO_PLAN = provider.Unavailable(), provider.NotFound()
LONG_AGO: Final = NOW - timedelta(days=200)
"""When a request says that it was made: in the days of other prices, and no clock of ours."""


class Order:
    """An order that is told one thing after another."""

    def __init__(self, *commands: Command) -> None:
        self.state: OrderState = initial_state()
        for command in commands:
            self.tell(command)

    def tell(self, command: Command) -> Decision:
        """Decide and fold."""
        decision = decide(command, self.state, RULES)
        assert isinstance(decision, Decision)
        for event in decision.events:
            self.state = evolve(self.state, event)
        return decision


def names(decision: Decision) -> list[type[Any]]:
    return [type(event) for event in decision.events]


def retry(decision: Decision) -> Retry:
    (again,) = decision.effects
    assert isinstance(again, Retry)
    return again


# -- a charge ----------------------------------------------------------------------------------------

CLOSED: Final = NOW + POLICY.charge_window


def test_gateway_that_is_down_is_asked_until_the_window_since_the_acceptance_closes() -> None:
    order = Order(AcceptRenewal(renewal(requested_at=LONG_AGO), NOW))
    assert order.tell(RecordCharge(DOWN, 1, CLOSED - TICK)).events == ()
    assert names(order.tell(RecordCharge(DOWN, 2, CLOSED))) == [PaymentFailed]


def test_gateway_that_is_down_is_asked_again_after_the_pause_of_the_attempt() -> None:
    order = Order(AcceptRenewal(renewal(), NOW))
    for attempt, seconds in ((1, 10), (2, 20), (5, 160), (6, 300), (40, 300)):
        due_at = retry(order.tell(RecordCharge(DOWN, attempt, NOW + MINUTE))).due_at
        assert due_at == NOW + MINUTE + timedelta(seconds=seconds)


OBSERVED: Final = NOW + 7 * MINUTE
SETTLED: Final = OBSERVED + POLICY.unknown_settle


def unknown() -> Order:
    """Return an order whose charge had no answer at `OBSERVED`."""
    return Order(
        AcceptRenewal(renewal(requested_at=LONG_AGO), NOW), RecordCharge(UNKNOWN[0], 1, OBSERVED)
    )


def test_unknown_outcome_is_looked_up_soon_and_without_a_token() -> None:
    order = Order(AcceptRenewal(renewal(), NOW))
    decision = order.tell(RecordCharge(UNKNOWN[0], 5, OBSERVED))
    assert names(decision) == [PaymentOutcomeUnknown]
    assert retry(decision).due_at == OBSERVED + POLICY.look_up_backoff.first
    payment_id = identities.payment_id("acct-1", "order/ren-1")
    assert retry(decision).payload == {
        "payment_id": payment_id,
        "not_found_count": 0,
        "gateway": "sandbox",
        "since": utc_text(NOW),
        "until": utc_text(OBSERVED),
    }


def test_charge_is_written_off_from_the_settle_time_since_no_answer_came() -> None:
    order = unknown()
    assert order.tell(RecordLookUp(ABSENT, 1, 9, SETTLED - TICK)).events == ()
    written_off = order.tell(RecordLookUp(ABSENT, 1, 9, SETTLED))
    assert names(written_off) == [PaymentOutcomeResolved, PaymentFailed]


@pytest.mark.parametrize("count", [0, 1, 9])
def test_gateway_that_does_not_answer_a_look_up_says_nothing_however_late(count: int) -> None:
    order = unknown()
    decision = order.tell(RecordLookUp(DOWN, count, 3, SETTLED + timedelta(days=9)))
    assert decision.events == ()
    assert (retry(decision).payload or {})["not_found_count"] == count


def test_look_up_falls_due_at_the_settle_time_and_not_before_its_pause() -> None:
    order = unknown()
    pause = POLICY.look_up_backoff.longest
    dues: list[tuple[datetime, datetime | None]] = [
        (SETTLED - pause - TICK, SETTLED - TICK),
        (SETTLED - pause + TICK, SETTLED),
        (SETTLED - TICK, SETTLED),
        (SETTLED, SETTLED + pause),
    ]
    for now, due_at in dues:
        assert retry(order.tell(RecordLookUp(ABSENT, 0, 99, now))).due_at == due_at


def test_second_unknown_answer_is_no_news_and_the_settle_time_stays() -> None:
    order = unknown()
    assert order.tell(RecordCharge(UNKNOWN[0], 2, SETTLED - TICK)).events == ()
    assert order.tell(RecordLookUp(ABSENT, 1, 9, SETTLED)).events != ()


# -- a payment in the app ------------------------------------------------------------------------------

RECEIVED: Final = NOW + 20 * MINUTE
BELIEVED: Final = RECEIVED + POLICY.unknown_settle


def hinted(confirmed_at: datetime) -> Order:
    """Return an order that is said to be paid since `confirmed_at`, as was heard at `RECEIVED`."""
    return Order(
        AcceptRenewal(renewal(payment=in_app()), NOW),
        ConfirmPayment(confirmation(confirmed_at=confirmed_at), RECEIVED),
    )


def told(answer: Any, count: int, now: datetime, attempt: int = 9) -> RecordConfirmation:
    return RecordConfirmation("app-gateway", "txn-1", answer, None, count, attempt, now)


@pytest.mark.parametrize("confirmed_at", [LONG_AGO, NOW + 5 * MINUTE, NOW + timedelta(days=9)])
def test_not_found_counts_from_the_settle_time_since_it_was_heard(confirmed_at: datetime) -> None:
    order = hinted(confirmed_at)
    assert order.tell(told(ABSENT, 1, BELIEVED - TICK)).events == ()
    assert names(order.tell(told(ABSENT, 1, BELIEVED))) == [PaymentConfirmationRefused]


@pytest.mark.parametrize("count", [0, 1, 9])
def test_gateway_that_does_not_answer_refutes_no_confirmation_however_late(count: int) -> None:
    decision = hinted(NOW).tell(told(DOWN, count, BELIEVED + timedelta(days=9)))
    assert decision.events == ()
    assert (retry(decision).payload or {})["not_found_count"] == count


def test_confirmation_is_asked_about_at_the_settle_time_and_not_before_its_pause() -> None:
    order, pause = hinted(LONG_AGO), POLICY.look_up_backoff.longest
    dues: list[tuple[datetime, datetime | None]] = [
        (BELIEVED - pause - TICK, BELIEVED - TICK),
        (BELIEVED - TICK, BELIEVED),
        (BELIEVED, BELIEVED + pause),
    ]
    for now, due_at in dues:
        assert retry(order.tell(told(ABSENT, 0, now))).due_at == due_at


@pytest.mark.parametrize(
    "accept",
    [
        AcceptRenewal(renewal(payment=in_app(), requested_at=LONG_AGO), NOW),
        AcceptTopUp(top_up(payment=in_app(), requested_at=LONG_AGO), NOW),
    ],
)
def test_order_waits_for_a_payment_from_its_acceptance(accept: Command) -> None:
    decision = Order().tell(accept)
    (accepted,) = decision.events
    assert isinstance(accepted, RenewalAccepted | TopUpAccepted)
    assert accepted.accepted_at == NOW
    assert accepted.confirm_by == NOW + POLICY.confirmation_window
    (expire,) = [each for each in decision.effects if isinstance(each, Start) and each.due_at]
    assert (expire.kind, expire.due_at) == ("expire", accepted.confirm_by)


def test_order_does_not_expire_while_its_gateway_is_asked() -> None:
    order, now = hinted(NOW), NOW + POLICY.confirmation_window
    again = order.tell(ExpireOrder(now))
    assert again.events == ()
    assert retry(again).due_at == now + POLICY.look_up_backoff.longest
    order.tell(told(ABSENT, 1, now))
    assert names(order.tell(ExpireOrder(now))) == [OrderExpired]


# -- an activation -------------------------------------------------------------------------------------

PAID: Final = NOW + 3 * MINUTE
PROMISED: Final = PAID + POLICY.activation_promise
DEADLINE: Final = PAID + POLICY.activation_deadline
PAUSE: Final = POLICY.activation_backoff.longest
UNDECIDED: Final = [NO_PROVIDER, NO_PLAN, *NOT_ACTIVATED]


def paid() -> Order:
    """Return an order that was paid at `PAID`, a while after it was accepted and before now."""
    captured = CAPTURED.model_copy(update={"captured_at": PAID})
    return Order(
        AcceptRenewal(renewal(requested_at=LONG_AGO), NOW),
        RecordCharge(captured, 1, PAID + MINUTE),
    )


def tried(outcome: Any, now: datetime, *, attempt: int = 99, last: bool = False) -> Command:
    return RecordActivation(outcome, attempt, last, now)


@pytest.mark.parametrize("outcome", UNDECIDED)
def test_customer_is_told_of_a_delay_from_the_promise_since_the_payment(outcome: Any) -> None:
    order = paid()
    before = order.tell(tried(outcome, PROMISED - TICK))
    assert (before.events, retry(before).due_at) == ((), PROMISED)
    decision = order.tell(tried(outcome, PROMISED))
    (delayed,) = decision.events
    assert isinstance(delayed, ActivationDelayed)
    assert (delayed.promised_by, delayed.delayed_at) == (PROMISED, PROMISED)
    assert retry(decision).due_at == PROMISED + PAUSE
    assert order.tell(tried(outcome, PROMISED + MINUTE)).events == ()


def test_activation_is_tried_at_the_promise_and_not_before_its_pause() -> None:
    order = paid()
    early = order.tell(tried(NO_PROVIDER, PROMISED - PAUSE - TICK))
    assert retry(early).due_at == PROMISED - TICK
    assert retry(order.tell(tried(NO_PROVIDER, PROMISED - PAUSE + TICK))).due_at == PROMISED


@pytest.mark.parametrize("outcome", UNDECIDED)
def test_last_look_up_falls_due_at_the_deadline_since_the_payment(outcome: Any) -> None:
    reference = identities.activation_id("acct-1", "order/ren-1")
    dues = [
        (DEADLINE - PAUSE - TICK, None, DEADLINE - TICK),
        (DEADLINE - PAUSE, {"reference": reference}, DEADLINE),
        (DEADLINE - TICK, {"reference": reference}, DEADLINE),
        (DEADLINE, {"reference": reference}, DEADLINE),
        (DEADLINE + MINUTE, {"reference": reference}, DEADLINE + MINUTE),
    ]
    for now, payload, due_at in dues:
        again = retry(paid().tell(tried(outcome, now)))
        assert (again.payload, again.due_at) == (payload, due_at)


@pytest.mark.parametrize("outcome", [NO_PROVIDER, NO_PLAN])
def test_last_look_up_that_finds_nothing_ends_the_order(outcome: Any) -> None:
    assert names(paid().tell(tried(outcome, DEADLINE, last=True))) == [ActivationFailed]


def test_refund_is_asked_for_after_the_pause_of_the_attempt() -> None:
    order = paid()
    order.tell(tried(NO_PROVIDER, DEADLINE, last=True))
    payment_id = identities.payment_id("acct-1", "order/ren-1")
    for attempt, seconds in ((1, 5), (2, 10), (9, 900), (999, 900)):
        decision = order.tell(RecordRefund(payment_id, DOWN, attempt, DEADLINE))
        assert retry(decision).due_at == DEADLINE + timedelta(seconds=seconds)


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(timedelta(seconds=5), timedelta(seconds=60))
    pauses = [backoff.after(attempt).seconds for attempt in (-1, 0, 1, 2, 3, 4, 5, 6, 10**9)]
    assert pauses == [5, 5, 5, 10, 20, 40, 60, 60, 60]


# -- what is sold --------------------------------------------------------------------------------------

FROM, UNTIL = NOW, NOW + timedelta(days=30)
MOMENTS: Final = [(FROM - TICK, False), (FROM, True), (UNTIL - TICK, True), (UNTIL, False)]
DATES: Final = {"valid_from": FROM, "valid_until": UNTIL}


@pytest.mark.parametrize(("moment", "holds"), MOMENTS)
@pytest.mark.parametrize("of", [CATALOGUE.plans[0], CATALOGUE.taxes[0], CATALOGUE.top_ups[0]])
def test_entry_holds_from_its_first_moment_to_before_its_end(
    of: PlanVersion | Tax, moment: datetime, *, holds: bool
) -> None:
    entry = of.model_copy(update=DATES)
    assert (holding_at([entry], moment) is entry) is holds


@pytest.mark.parametrize(("moment", "holds"), MOMENTS)
def test_promotion_runs_from_its_first_moment_to_before_its_end(
    moment: datetime, *, holds: bool
) -> None:
    promotion: Promotion = CATALOGUE.promotions[0].model_copy(update=DATES)
    assert promotion.runs(moment) is holds


@pytest.mark.parametrize("turned", [False, True])
def test_later_entry_replaces_an_earlier_one_for_ever(*, turned: bool) -> None:
    plan = CATALOGUE.plans[0]
    old = plan.model_copy(update={"valid_from": LONG_AGO, "valid_until": None})
    new = plan.model_copy(update=DATES)
    entries = [new, old] if turned else [old, new]
    found = [holding_at(entries, moment) for moment in (FROM - TICK, FROM, UNTIL - TICK, UNTIL)]
    assert found == [old, new, new, None]


@pytest.mark.parametrize(("late", "rejected"), [(-TICK, False), (timedelta(), False), (TICK, True)])
def test_quote_is_good_up_to_and_at_its_last_moment(late: timedelta, *, rejected: bool) -> None:
    decision = Order().tell(AcceptRenewal(renewal(quote_expires_at=NOW), NOW + late))
    assert (names(decision) == [RenewalRejected]) is rejected


@pytest.mark.parametrize(
    "accept",
    [
        lambda at: AcceptRenewal(renewal(requested_at=at, promotion_codes=["WELCOME10"]), NOW),
        lambda at: AcceptTopUp(top_up(requested_at=at), NOW),
    ],
)
def test_price_and_terms_are_those_of_now_whenever_it_was_asked(
    accept: Callable[[datetime], Command],
) -> None:
    decisions = [Order().tell(accept(NOW + shift)) for shift in map(timedelta, (-9999, 0, 9999))]
    bodies = [
        [event.model_dump(exclude={"request_digest"}) for event in decision.events]
        for decision in decisions
    ]
    assert bodies[0] == bodies[1] == bodies[2]


def test_late_answers_change_nothing_after_the_payment() -> None:
    late = decide(RecordLookUp(ABSENT, 9, 9, SETTLED), paid().state, RULES)
    assert late == Ignored(IgnoredReason.PAYMENT_NOT_AWAITED)
    assert names(Order(AcceptRenewal(renewal(), NOW)).tell(RecordCharge(CAPTURED, 1, NOW))) == [
        PaymentCaptured
    ]
