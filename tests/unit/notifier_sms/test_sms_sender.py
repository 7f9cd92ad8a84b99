"""What becomes of an SMS: sent once, looked up where nobody answered, refused where it must not go."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import structlog

from schemas.notifier import UndeliveredReason
from schemas.requests import Channel, Contact
from services.notifier.channels.definition import ChannelPorts
from services.notifier.channels.sms.channel import (
    NoAnswer,
    NoSuchMessage,
    OutgoingSms,
    Status,
    Underway,
)
from services.notifier.channels.sms.effect import SMS, SmsSender
from services.notifier.channels.sms.report import SMS_REPORT
from services.notifier.limits.turns import Admitted, TurnGiven, TurnWanted
from services.notifier.notification.commands import (
    NotWanted,
    RecordDelivered,
    RecordNotDelivered,
    RecordReport,
)
from services.notifier.notification.facts import Fact
from services.notifier.notification.identities import notification_key
from services.notifier.notification.outcomes import (
    Arrived,
    Delivered,
    DeliveryOutcome,
    Lost,
    Refused,
    Report,
    SentText,
    Unanswered,
    Unknown,
)
from services.notifier.notification.policy import Limits
from services.notifier.notification.reports import AwaitedReport
from services.runtime.effect import EffectRun
from tests.unit.notifier.builders import CONTACT, NOW, fact_of

PHONE: Final = "+4915112345678"
BY_SMS: Final = CONTACT.model_copy(
    update={"channels": [Channel.SMS], "phone": PHONE, "locale": "en"}
)
MESSAGE_ID: Final = str(notification_key(fact_of().key, Channel.SMS))


@dataclass
class Aggregator:
    """Keeps what it is given, and answers as it is told."""

    outcome: DeliveryOutcome = field(default_factory=Delivered)
    status: Status = field(default_factory=NoAnswer)
    contact: Contact | None = BY_SMS
    taken: list[OutgoingSms] = field(default_factory=list)
    asked: list[TurnWanted] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)

    async def send(self, sms: OutgoingSms) -> DeliveryOutcome:
        assert self.marks, "nothing is sent before the mark is on the disk"
        self.taken.append(sms)
        return self.outcome

    async def look_up(self, _message_id: str) -> Status:
        return self.status

    async def close(self) -> None:
        self.taken.clear()

    async def ask(self, _run: EffectRun, wanted: TurnWanted) -> TurnGiven:
        self.asked.append(wanted)
        return Admitted("ab" * 16)

    async def find(self, _account_id: str) -> Contact | None:
        return self.contact

    async def mark(self, checkpoint: str) -> None:
        self.marks.append(checkpoint)

    def ports(self, **changes: Any) -> ChannelPorts:
        sender = SmsSender(self, "Shop", **{"segments_max": 3, **changes})
        return ChannelPorts(
            self, self, sender, Limits(), frozenset(Channel), lambda: NOW, structlog.get_logger()
        )


def run_of(fact: Fact, **changes: Any) -> EffectRun:
    base = EffectRun(
        shard=1,
        effect_id=f"sms/{fact.key}",
        kind="sms",
        account_id=fact.account_id,
        stream_id=f"notification/{fact.key}/sms",
        payload=fact.payload(),
        attempt=1,
        recovered=False,
        checkpoint=None,
    )
    return base._replace(**changes)


async def tell(post: Aggregator, fact: Fact | None = None, **changes: Any) -> object:
    settings = {key: changes.pop(key) for key in ("segments_max", "prefixes") if key in changes}
    run = run_of(fact or fact_of(), **changes)
    return await SMS.bound_to(post.ports(**settings)).execute(run, post.mark)


async def test_a_fact_makes_one_sms_whose_text_is_marked_before_it_goes() -> None:
    post = Aggregator()
    result = await tell(post)
    (sms,) = post.taken
    assert (sms.recipient, sms.sender, sms.message_id) == (PHONE, "Shop", MESSAGE_ID)
    sha256 = hashlib.sha256(sms.text.encode()).hexdigest()
    assert post.marks == [f"request_sent/en/{sha256}"]
    assert isinstance(result, RecordDelivered)
    assert result.text == SentText("en", MESSAGE_ID, sha256)
    assert [wanted.recipient for wanted in post.asked] == [f"sms:{PHONE}"]
    assert PHONE not in repr(sms)
    assert sms.text not in repr(sms)


async def test_who_wants_emails_only_gets_no_sms_though_a_number_is_known() -> None:
    post = Aggregator(contact=BY_SMS.model_copy(update={"channels": [Channel.EMAIL]}))
    assert isinstance(await tell(post), NotWanted)
    assert (post.taken, post.marks) == ([], [])


async def test_a_number_behind_other_prefixes_is_not_written_to() -> None:
    post = Aggregator()
    result = await tell(post, prefixes=frozenset({"+852", "+44"}))
    assert isinstance(result, RecordNotDelivered)
    assert result.outcome == Refused("address")
    assert (post.taken, post.marks) == ([], [])
    assert isinstance(await tell(post, prefixes=frozenset({"+852", "+49"})), RecordDelivered)


async def test_a_text_with_too_many_segments_is_not_sent() -> None:
    post = Aggregator(contact=BY_SMS.model_copy(update={"locale": "zh-Hans"}))
    result = await tell(post, segments_max=1)
    assert isinstance(result, RecordNotDelivered)
    assert result.outcome == Refused("message")
    assert (post.taken, post.marks) == ([], [])


async def test_what_is_not_answered_is_looked_up_and_never_sent_again() -> None:
    post = Aggregator(outcome=Unknown())
    first = await tell(post)
    assert isinstance(first, RecordNotDelivered)
    assert isinstance(first.outcome, Unanswered)
    asked = fact_of().to_look_up(first.outcome.text, NOW)
    unknown: tuple[Status, ...] = (NoAnswer(), NoSuchMessage())
    for status in unknown:
        post.status = status
        again = await tell(post, asked, attempt=2)
        assert isinstance(again, RecordNotDelivered)
        assert again.outcome == first.outcome
    known: tuple[Status, ...] = (Underway(), Arrived(NOW), Lost(UndeliveredReason.EXPIRED, NOW))
    for status in known:
        post.status = status
        found = await tell(post, asked, attempt=3)
        assert isinstance(found, RecordDelivered)
        assert found.text == first.outcome.text
    assert len(post.taken) == 1


async def test_a_crash_between_request_and_note_is_looked_up_and_sends_nothing_again() -> None:
    post = Aggregator()
    await tell(post)
    (mark,) = post.marks
    result = await tell(post, recovered=True, checkpoint=mark, attempt=2)
    assert isinstance(result, RecordNotDelivered)
    assert isinstance(result.outcome, Unanswered)
    post.status = Underway()
    found = await tell(post, recovered=True, checkpoint=mark, attempt=2)
    assert isinstance(found, RecordDelivered)
    assert found.text == result.outcome.text
    assert len(post.taken) == 1


@pytest.mark.parametrize("checkpoint", [None, "admitted/" + "ab" * 16])
async def test_a_crash_before_the_request_sends_it(checkpoint: str | None) -> None:
    post = Aggregator()
    result = await tell(post, recovered=True, checkpoint=checkpoint, attempt=2)
    assert isinstance(result, RecordDelivered)
    assert len(post.taken) == 1


async def test_nothing_of_a_number_or_a_text_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    post = Aggregator(outcome=Refused("recipient"))
    await tell(post)
    logged = capsys.readouterr().out
    assert "sms_not_delivered" in logged
    assert PHONE not in logged
    assert post.taken[0].text not in logged


async def test_a_report_is_what_the_aggregator_says_of_the_message() -> None:
    awaited = AwaitedReport(
        account_id="acct-1",
        notification_id=f"ntf-{MESSAGE_ID}",
        fact_event_id=fact_of().event_id,
        fact_type="billing.PlanActivated.v1",
        channel=Channel.SMS,
        template="renewal_confirmed",
        template_version="1",
        message_id=MESSAGE_ID,
        until=NOW,
    )
    post = Aggregator()
    run = run_of(fact_of(), kind="sms_report", payload=awaited.model_dump(mode="json"))
    cases: list[tuple[Status, Report]] = [
        (Arrived(NOW), Arrived(NOW)),
        (Lost(UndeliveredReason.REJECTED, NOW), Lost(UndeliveredReason.REJECTED, NOW)),
        (Underway(), None),
        (NoSuchMessage(), None),
        (NoAnswer(), None),
    ]
    for status, found in cases:
        post.status = status
        result = await SMS_REPORT.bound_to(post.ports()).execute(run, post.mark)
        assert result == RecordReport(awaited, found, 1, NOW)
