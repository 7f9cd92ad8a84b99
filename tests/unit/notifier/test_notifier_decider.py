"""What follows from a fact, a missing contact and each answer of the mail server."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.notifier import (
    NotificationFailed,
    NotificationFailureReason,
    NotificationSent,
    NotificationSuppressed,
)
from schemas.requests import Channel
from services.notifier.decider import IgnoredReason, decide
from services.notifier.notification.commands import (
    Notify,
    NotifyBy,
    RecordDelivered,
    RecordInDigest,
    RecordNoContact,
    RecordNotDelivered,
    RecordPostponed,
    ReleaseHeld,
    Template,
)
from services.notifier.notification.evolution import NotificationState, evolve, initial_state
from services.notifier.notification.facts import Fact
from services.notifier.notification.outcomes import (
    DeferralCause,
    Deferred,
    Refused,
    SentText,
    Unknown,
)
from services.runtime.effect import Release, Retry, Start
from services.runtime.processor import Decision, Ignored
from tests.given_when_then import Decider
from tests.unit.notifier.builders import NOW, POLICY, fact_of

TEMPLATE = Template(Channel.EMAIL, "renewal_confirmed", "3")
TEXT = SentText("zh-Hans", "<1@mail.example.com>", "ab" * 32)
BUSY = Deferred(DeferralCause.BUSY, 451)


def decide_by_policy(command: Any, state: NotificationState) -> Decision | Ignored:
    return decide(command, state, POLICY)


notification = Decider(initial_state, evolve, decide_by_policy)


def not_delivered(
    outcome: Refused | Deferred | Unknown,
    *,
    fact: Fact | None = None,
    attempt: int = 1,
    now: datetime = NOW,
) -> RecordNotDelivered:
    return RecordNotDelivered(fact or fact_of(), TEMPLATE, outcome, attempt, now)


def failed(reason: NotificationFailureReason, now: datetime = NOW) -> NotificationFailed:
    fact = fact_of()
    return NotificationFailed(
        account_id=fact.account_id,
        notification_id=f"ntf-{fact.key}",
        fact_event_id=fact.event_id,
        fact_type="billing.PlanActivated.v1",
        channel=Channel.EMAIL,
        template="renewal_confirmed",
        template_version="3",
        reason=reason,
        failed_at=now,
    )


def test_a_fact_starts_one_email_that_carries_the_fact_and_no_address() -> None:
    decision = notification.when(NotifyBy(fact_of(), Channel.EMAIL))
    assert isinstance(decision, Decision)
    assert decision.events == ()
    (start,) = decision.effects
    assert isinstance(start, Start)
    assert start.effect_id == f"email/{fact_of().key}"
    assert (start.kind, start.due_at, start.hold_key) == ("email", None, None)
    assert Fact.from_payload(start.payload) == fact_of()
    assert "@" not in str(start.payload)


def test_an_accepted_message_is_sent() -> None:
    fact = fact_of()
    sent = NotificationSent(
        account_id=fact.account_id,
        notification_id=f"ntf-{fact.key}",
        fact_event_id=fact.event_id,
        fact_type="billing.PlanActivated.v1",
        channel=Channel.EMAIL,
        template="renewal_confirmed",
        template_version="3",
        locale="zh-Hans",
        message_id="<1@mail.example.com>",
        message_sha256="ab" * 32,
        sent_at=NOW,
    )
    decision = notification.when(RecordDelivered(fact, TEMPLATE, TEXT, NOW))
    assert decision == Decision(events=(sent,))


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Refused("recipient"), NotificationFailureReason.RECIPIENT_REFUSED),
        (Refused("message"), NotificationFailureReason.MESSAGE_REFUSED),
        (Refused("address"), NotificationFailureReason.ADDRESS_NOT_SUPPORTED),
        (Unknown(), NotificationFailureReason.DELIVERY_UNKNOWN),
    ],
)
def test_a_final_answer_or_none_at_all_ends_the_notification_without_another_attempt(
    outcome: Refused | Unknown, reason: NotificationFailureReason
) -> None:
    assert notification.when(not_delivered(outcome)) == Decision(events=(failed(reason),))


def test_a_deferred_message_is_tried_again_until_an_hour_after_the_first_attempt() -> None:
    send_by = NOW + timedelta(hours=1)
    again = fact_of().to_send_by(send_by)
    pauses = []
    for attempt in (1, 2, 3, 40):
        decision = notification.when(not_delivered(BUSY, attempt=attempt))
        assert isinstance(decision, Decision)
        (retry,) = decision.effects
        assert isinstance(retry, Retry)
        assert retry.payload is not None
        assert Fact.from_payload(retry.payload) == again
        assert retry.hold_key is None
        assert retry.due_at is not None
        pauses.append((retry.due_at - NOW).total_seconds())
    assert pauses == [10, 20, 40, 300]


def test_the_last_attempt_is_at_the_deadline_itself() -> None:
    fact = fact_of().to_send_by(NOW + timedelta(seconds=3))
    decision = notification.when(not_delivered(BUSY, fact=fact))
    send_by = NOW + timedelta(seconds=3)
    assert decision == Decision(effects=(Retry(send_by, payload=fact.payload()),))


def test_a_message_still_deferred_at_the_deadline_is_given_up() -> None:
    fact = fact_of().to_send_by(NOW)
    decision = notification.when(not_delivered(BUSY, fact=fact))
    assert decision == Decision(events=(failed(NotificationFailureReason.DEADLINE_PASSED),))


def test_a_missing_contact_holds_the_email_and_looks_again_in_case_it_came_meanwhile() -> None:
    fact = fact_of()
    decision = notification.when(RecordNoContact(fact, TEMPLATE, 1, NOW))
    held = Retry(NOW + timedelta(seconds=10), hold_key="contact/acct-100042")
    assert decision == Decision(effects=(held,))


def test_a_contact_that_never_came_ends_the_notification_at_its_deadline() -> None:
    fact = fact_of()
    before = fact.contact_by - timedelta(seconds=4)
    decision = notification.when(RecordNoContact(fact, TEMPLATE, 30, before))
    held = Retry(fact.contact_by, hold_key="contact/acct-100042")
    assert decision == Decision(effects=(held,))
    decision = notification.when(RecordNoContact(fact, TEMPLATE, 31, fact.contact_by))
    missing = failed(NotificationFailureReason.CONTACT_MISSING, fact.contact_by)
    assert decision == Decision(events=(missing,))


def test_a_contact_releases_what_waits_for_its_account() -> None:
    decision = notification.when(ReleaseHeld("acct-100042"))
    assert decision == Decision(effects=(Release("contact/acct-100042"),))


@pytest.mark.parametrize(
    "command",
    [
        Notify(fact_of()),
        RecordDelivered(fact_of(), TEMPLATE, TEXT, NOW),
        not_delivered(BUSY),
        RecordNoContact(fact_of(), TEMPLATE, 1, NOW),
    ],
)
def test_a_settled_notification_stays_as_it_is(command: object) -> None:
    past = [failed(NotificationFailureReason.DELIVERY_UNKNOWN)]
    decision = notification.when(command, given=past)
    assert decision == Ignored(IgnoredReason.ALREADY_SETTLED)


def test_a_mail_that_is_held_back_asks_again_when_its_turn_comes() -> None:
    until = NOW + timedelta(hours=3)
    decision = notification.when(RecordPostponed(fact_of(), TEMPLATE, until, 1, NOW))
    waiting = fact_of().to_send_by(until + POLICY.send_deadline)
    assert decision == Decision(effects=(Retry(until, payload=waiting.payload()),))


def test_a_mail_that_another_one_tells_of_looks_soon_whether_it_was_told() -> None:
    fact = fact_of().to_send_by(NOW + timedelta(minutes=30))
    decision = notification.when(RecordPostponed(fact, TEMPLATE, None, 2, NOW))
    soon = NOW + timedelta(seconds=20)
    assert decision == Decision(effects=(Retry(soon, payload=fact.payload()),))


@pytest.mark.parametrize("until", [NOW + timedelta(hours=1), None])
def test_a_mail_without_a_turn_has_the_time_of_a_digest_that_fails_and_its_own(
    until: datetime | None,
) -> None:
    fact = fact_of().to_send_by(NOW)
    waiting = notification.when(RecordPostponed(fact, TEMPLATE, until, 1, NOW))
    assert isinstance(waiting, Decision)
    assert not waiting.events
    end = NOW + POLICY.send_deadline
    given_up = notification.when(RecordPostponed(fact, TEMPLATE, until, 1, end))
    assert isinstance(given_up, Decision)
    [event] = given_up.events
    assert isinstance(event, NotificationFailed)
    assert event.reason is NotificationFailureReason.DEADLINE_PASSED


def test_a_fact_that_another_message_told_of_ends_with_its_name() -> None:
    fact, digest = fact_of(), fact_of("PaymentFailed").key
    decision = notification.when(RecordInDigest(fact, TEMPLATE, digest, NOW))
    assert isinstance(decision, Decision)
    (event,) = decision.events
    assert isinstance(event, NotificationSuppressed)
    assert event.notification_id == f"ntf-{fact.key}"
    assert event.digest_notification_id == f"ntf-{digest}"
    assert decision.effects == ()
