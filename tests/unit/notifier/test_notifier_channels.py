"""One message per fact and channel: who is told by which, once, also by a log from before channels."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from schemas import BILLING
from schemas.envelope import Event
from schemas.notifier import (
    NotificationDelivered,
    NotificationFailed,
    NotificationFailureReason,
    NotificationSent,
    NotificationUndelivered,
    UndeliveredReason,
)
from schemas.requests import Channel
from services.notifier.decider import IgnoredReason, decide
from services.notifier.notification.archival import is_over
from services.notifier.notification.commands import (
    Notify,
    NotifyBy,
    RecordDelivered,
    RecordNoContact,
    RecordNotDelivered,
    RecordReport,
    Template,
)
from services.notifier.notification.evolution import (
    NotificationState,
    Sent,
    Settled,
    Untold,
    evolve,
    initial_state,
)
from services.notifier.notification.facts import Fact
from services.notifier.notification.identities import (
    effect_id,
    fact_stream_id,
    notification_key,
    stream_id,
)
from services.notifier.notification.outcomes import Arrived, Lost, Report, SentText, Unanswered
from services.notifier.notification.policy import Policy
from services.notifier.notification.reports import AwaitedReport
from services.runtime.effect import Retry, Start
from services.runtime.processor import Decision, Ignored, Send
from tests.unit.notifier.builders import NOW, POLICY, fact_of

BOTH: Final = Policy(channels=(Channel.EMAIL, Channel.SMS))
BY_SMS: Final = Template(Channel.SMS, "renewal_confirmed", "1")
BY_EMAIL: Final = Template(Channel.EMAIL, "renewal_confirmed", "4")
TEXT: Final = SentText("en", str(notification_key(fact_of().key, Channel.SMS)), "ab" * 32)
OLD_LOG: Final = Path(__file__).parent / "log_before_channels.json"


def decided(command: Any, *past: Event, policy: Policy = BOTH) -> Decision | Ignored:
    """Return what is decided on a stream with these events."""
    state = initial_state()
    for event in past:
        state = evolve(state, event)
    return decide(command, state, policy)


def events_of(decision: Decision | Ignored) -> tuple[Event, ...]:
    assert isinstance(decision, Decision)
    return decision.events


def sent_by(template: Template) -> NotificationSent:
    (event,) = events_of(decided(RecordDelivered(fact_of(), template, TEXT, NOW)))
    assert isinstance(event, NotificationSent)
    return event


def test_a_fact_is_sent_on_to_one_stream_for_each_open_channel() -> None:
    fact = fact_of()
    decision = decided(Notify(fact))
    assert isinstance(decision, Decision)
    assert (decision.events, decision.effects) == ((), ())
    assert decision.sends == tuple(
        Send(f"notification/{fact.key}/{channel}", NotifyBy(fact, channel))
        for channel in (Channel.EMAIL, Channel.SMS)
    )


def test_the_notifications_of_two_channels_share_no_name() -> None:
    key = fact_of().key
    names = [
        (stream_id(key, channel), effect_id(key, channel), notification_key(key, channel))
        for channel in Channel
    ]
    assert len({name for each in names for name in each}) == 3 * len(Channel)
    assert notification_key(key, Channel.EMAIL) == key


@pytest.mark.parametrize("template", [BY_EMAIL, BY_SMS], ids=["email", "sms"])
def test_a_fact_that_is_read_again_tells_by_no_channel_a_second_time(template: Template) -> None:
    told = sent_by(template)
    assert told.channel == template.channel
    again = decided(NotifyBy(fact_of(), template.channel), told)
    assert again == Ignored(IgnoredReason.ALREADY_SETTLED)


def test_a_log_from_before_channels_folds_to_the_same_state_and_nothing_is_sent_twice() -> None:
    """Every row of a log that the version before wrote: its streams are those of the facts."""
    rows = json.loads(OLD_LOG.read_text(encoding="utf-8"))
    assert {row["type"].split(".")[1] for row in rows} == {
        "NotificationSent",
        "NotificationFailed",
        "NotificationSuppressed",
    }
    for row in rows:
        event = BILLING.types[row["type"]].parse(json.dumps(row["body"]).encode())
        state = evolve(initial_state(), event)
        assert state == Settled()
        assert is_over(state)
        fact = Fact(**{**_fields(fact_of()), "key": _key(row)})
        assert row["stream_id"] == fact_stream_id(fact.key)
        assert decide(Notify(fact), state, BOTH) == Ignored(IgnoredReason.ALREADY_SETTLED)


def _fields(fact: Fact) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in Fact.__slots__}


def _key(row: dict[str, Any]) -> UUID:
    return UUID(row["stream_id"].removeprefix("notification/"))


def test_an_email_that_was_under_way_before_channels_ends_where_it_began() -> None:
    """Its effect has the fact's stream: the result is recorded there, and the fact is then told."""
    told = sent_by(BY_EMAIL)
    assert told.notification_id == f"ntf-{fact_of().key}"
    assert decided(Notify(fact_of()), told) == Ignored(IgnoredReason.ALREADY_SETTLED)


def test_an_sms_without_an_answer_is_looked_up_until_its_deadline_and_then_unknown() -> None:
    fact = fact_of()
    first = decided(RecordNotDelivered(fact, BY_SMS, Unanswered(TEXT), 1, NOW), policy=POLICY)
    assert isinstance(first, Decision)
    (retry,) = first.effects
    assert isinstance(retry, Retry)
    assert retry.payload is not None
    asked = Fact.from_payload(retry.payload)
    assert asked.unanswered == TEXT
    assert asked.look_up_by == NOW + POLICY.look_up_deadline
    later = NOW + POLICY.look_up_deadline
    (event,) = events_of(
        decided(RecordNotDelivered(asked, BY_SMS, Unanswered(TEXT), 9, later), policy=POLICY)
    )
    assert isinstance(event, NotificationFailed)
    assert (event.channel, event.reason) == (
        Channel.SMS,
        NotificationFailureReason.DELIVERY_UNKNOWN,
    )
    assert decided(NotifyBy(fact, Channel.SMS), event) == Ignored(IgnoredReason.ALREADY_SETTLED)


def test_that_there_is_no_contact_is_told_once() -> None:
    late = fact_of().contact_by
    assert events_of(decided(RecordNoContact(fact_of(), BY_SMS, 1, late))) == ()
    (failed,) = events_of(decided(RecordNoContact(fact_of(), BY_EMAIL, 1, late)))
    assert isinstance(failed, NotificationFailed)


def test_an_sms_that_was_accepted_is_asked_about_and_an_email_is_not() -> None:
    by_sms = decided(RecordDelivered(fact_of(), BY_SMS, TEXT, NOW))
    assert isinstance(by_sms, Decision)
    (start,) = by_sms.effects
    assert isinstance(start, Start)
    assert (start.kind, start.due_at) == ("sms_report", NOW + BOTH.report_first)
    assert "body" not in start.payload
    by_email = decided(RecordDelivered(fact_of(), BY_EMAIL, TEXT, NOW))
    assert isinstance(by_email, Decision)
    assert by_email.effects == ()


def reported(found: Report, now: Any = NOW, attempt: int = 1) -> RecordReport:
    sent = sent_by(BY_SMS)
    return RecordReport(AwaitedReport.of(sent, NOW + timedelta(days=3)), found, attempt, now)


@pytest.mark.parametrize(
    ("found", "model"),
    [
        (Arrived(NOW), NotificationDelivered),
        (Lost(UndeliveredReason.EXPIRED, NOW), NotificationUndelivered),
    ],
)
def test_a_report_is_a_fact_once(found: Report, model: type[Event]) -> None:
    sent = sent_by(BY_SMS)
    assert isinstance(evolve(initial_state(), sent), Sent)
    (event,) = events_of(decided(reported(found), sent))
    assert isinstance(event, model)
    assert decided(reported(found), sent, event) == Ignored(IgnoredReason.ALREADY_SETTLED)
    assert is_over(evolve(Sent(sent), event))
    assert not is_over(Sent(sent))


def test_a_report_about_what_was_never_sent_is_no_fact() -> None:
    assert decided(reported(Arrived(NOW))) == Ignored(IgnoredReason.ALREADY_SETTLED)


def test_a_report_from_the_future_counts_as_from_now() -> None:
    (event,) = events_of(decided(reported(Arrived(NOW + timedelta(days=900))), sent_by(BY_SMS)))
    assert isinstance(event, NotificationDelivered)
    assert event.delivered_at == NOW


def test_without_a_report_it_is_asked_ever_more_seldom_and_unreported_in_the_end() -> None:
    sent, pauses, now = sent_by(BY_SMS), [], NOW
    for attempt in range(1, 200):
        decision = decided(reported(None, now, attempt), sent)
        assert isinstance(decision, Decision)
        if decision.events:
            break
        (retry,) = decision.effects
        assert isinstance(retry, Retry)
        assert retry.due_at is not None
        pauses.append(retry.due_at - now)
        now = retry.due_at
    (event,) = events_of(decision)
    assert isinstance(event, NotificationUndelivered)
    assert event.reason is UndeliveredReason.UNREPORTED
    assert pauses[0] == BOTH.report_first
    assert max(pauses) == BOTH.report_longest
    assert len(pauses) < 90


def test_the_state_of_a_stream_says_whether_anything_follows() -> None:
    states: list[NotificationState] = [Untold(), Sent(sent_by(BY_SMS)), Settled()]
    assert [is_over(state) for state in states] == [False, False, True]
