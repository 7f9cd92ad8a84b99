"""The link by which a customer agrees to a payment is told in time, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from schemas.confirmations import PaymentActionRequired
from services.notifier.decider import IgnoredReason
from services.notifier.handlers import build_processor
from services.notifier.notification.commands import Notify
from services.notifier.notification.facts import Fact
from services.runtime.processor import Ignored, Task
from tests.unit.notifier.builders import POLICY, incoming

HANDLE = build_processor(POLICY, {}).handlers[PaymentActionRequired]
ASKED = incoming("PaymentActionRequired")
INSTANT = timedelta(microseconds=1)


def pay_by() -> datetime:
    assert isinstance(ASKED.event, PaymentActionRequired)
    return ASKED.event.pay_by


def fact_at(now: datetime) -> Fact:
    task = HANDLE(ASKED.envelope, ASKED.event, now)
    assert isinstance(task, Task)
    assert isinstance(task.command, Notify)
    return task.command.fact


@pytest.mark.parametrize("late", [timedelta(0), INSTANT, timedelta(days=3)])
def test_link_that_leads_nowhere_any_more_is_not_told(late: timedelta) -> None:
    found = HANDLE(ASKED.envelope, ASKED.event, pay_by() + late)
    assert found == Ignored(IgnoredReason.PAY_LINK_EXPIRED)


def test_link_is_told_until_nobody_can_pay_by_it() -> None:
    just_in_time = fact_at(pay_by() - INSTANT)
    assert (just_in_time.contact_by, just_in_time.send_by) == (pay_by(), pay_by())
    early = fact_at(pay_by() - timedelta(days=1))
    assert early.contact_by == pay_by() - timedelta(days=1) + POLICY.contact_deadline
    assert early.send_by == pay_by()
    assert Fact.from_payload(early.payload()) == early


def test_other_facts_have_their_deadlines() -> None:
    failed = incoming("PaymentFailed")
    now = pay_by() + timedelta(days=1)
    task = build_processor(POLICY, {}).handlers[type(failed.event)](
        failed.envelope, failed.event, now
    )
    assert isinstance(task, Task)
    assert isinstance(task.command, Notify)
    expected = Fact.of(failed.envelope, failed.event, contact_by=now + POLICY.contact_deadline)
    assert task.command.fact == replace(expected, send_by=None)
