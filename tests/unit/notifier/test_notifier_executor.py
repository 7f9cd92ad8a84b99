"""One email: who it goes to, what is recorded of it, and what is never sent twice."""

from __future__ import annotations

import email
from dataclasses import dataclass, field
from datetime import timedelta
from email.policy import SMTP
from typing import Final

import pytest
import structlog

from schemas.requests import Channel, Contact
from services.notifier.channels.definition import ChannelPorts
from services.notifier.channels.email.channel import OutgoingEmail
from services.notifier.channels.email.effect import EMAIL, EmailSender
from services.notifier.channels.email.message import sha256_of
from services.notifier.limits.turns import Admitted, InDigest, Postponed, TurnGiven, TurnWanted
from services.notifier.notification.commands import (
    NotWanted,
    RecordDelivered,
    RecordInDigest,
    RecordNoContact,
    RecordNotDelivered,
    RecordPostponed,
)
from services.notifier.notification.facts import Fact
from services.notifier.notification.outcomes import (
    DeferralCause,
    Deferred,
    Delivered,
    DeliveryOutcome,
    Refused,
    Unknown,
)
from services.notifier.notification.policy import Limits
from services.notifier.notification.templates import TEMPLATE_OF
from services.runtime.effect import EffectRun
from services.runtime.processor import Mark
from tests.unit.notifier.builders import CONTACT, LETTERHEAD, NOW, fact_of

ADMITTED = Admitted("ab" * 16)


@dataclass
class Post:
    """A channel that keeps what it is given, and contacts that may be none."""

    outcome: DeliveryOutcome = field(default_factory=Delivered)
    contact: Contact | None = CONTACT
    turn: TurnGiven = ADMITTED
    open_channels: frozenset[Channel] = frozenset({Channel.EMAIL})
    mails: list[OutgoingEmail] = field(default_factory=list)
    asked: list[TurnWanted] = field(default_factory=list)

    async def send(self, mail: OutgoingEmail, mark: Mark) -> DeliveryOutcome:
        await mark("dot_sent")
        self.mails.append(mail)
        return self.outcome

    async def close(self) -> None:
        self.mails.clear()

    async def ask(self, _run: EffectRun, wanted: TurnWanted) -> TurnGiven:
        assert wanted.recipient == CONTACT.email
        self.asked.append(wanted)
        return self.turn

    async def find(self, _account_id: str) -> Contact | None:
        return self.contact


async def send(
    post: Post, fact: Fact, *, recovered: bool = False, checkpoint: str | None = None
) -> object:
    ports = ChannelPorts(
        contacts=post,
        turns=post,
        sender=EmailSender(post, LETTERHEAD),
        limits=Limits(),
        open_channels=post.open_channels,
        clock=lambda: NOW,
        logger=structlog.get_logger(),
    )
    run = EffectRun(
        shard=1,
        effect_id=f"email/{fact.key}",
        kind="email",
        account_id=fact.account_id,
        stream_id=f"notification/{fact.key}",
        payload=fact.payload(),
        attempt=2,
        recovered=recovered,
        checkpoint=checkpoint,
    )

    async def mark(checkpoint: str) -> None:
        assert checkpoint == "dot_sent"

    return await EMAIL.bound_to(ports).execute(run, mark)


@pytest.mark.parametrize("model", TEMPLATE_OF)
async def test_each_fact_makes_one_email_to_the_customer(model: type) -> None:
    post, fact = Post(), fact_of(model.__name__)
    result = await send(post, fact)
    (mail,) = post.mails
    assert mail.recipient == CONTACT.email
    assert isinstance(result, RecordDelivered)
    assert result.template.name == TEMPLATE_OF[model]
    assert result.text.locale == "zh-Hans"
    assert result.text.message_id == f"<{fact.key}@mail.example.com>"
    assert result.text.message_sha256 == sha256_of(mail)


async def test_what_may_have_been_accepted_before_a_crash_is_not_sent_again() -> None:
    post = Post()
    result = await send(post, fact_of(), recovered=True, checkpoint="dot_sent")
    assert post.mails == []
    assert isinstance(result, RecordNotDelivered)
    assert result.outcome == Unknown()


async def test_what_was_certainly_not_accepted_before_a_crash_is_sent() -> None:
    post = Post()
    result = await send(post, fact_of(), recovered=True)
    assert len(post.mails) == 1
    assert isinstance(result, RecordDelivered)


async def test_without_a_contact_nothing_is_sent() -> None:
    post = Post(contact=None)
    result = await send(post, fact_of())
    assert post.mails == []
    assert isinstance(result, RecordNoContact)
    assert result.attempt == 2


async def test_an_undelivered_email_is_logged_without_the_address(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = await send(Post(outcome=Refused("recipient")), fact_of())
    assert isinstance(result, RecordNotDelivered)
    logged = capsys.readouterr().out
    assert "email_not_delivered" in logged
    assert CONTACT.email not in logged
    assert CONTACT.email not in repr(result)


async def test_what_the_mailbox_has_too_many_of_is_not_sent_and_asks_again() -> None:
    post = Post(turn=Postponed(NOW + timedelta(hours=1)))
    result = await send(post, fact_of("PaymentFailed"))
    assert post.mails == []
    assert isinstance(result, RecordPostponed)
    assert (result.until, result.attempt) == (NOW + timedelta(hours=1), 2)
    (wanted,) = post.asked
    assert (wanted.template, wanted.reference) == ("payment_failed", "rnw-2026-000301")


async def test_what_another_message_told_of_is_not_sent() -> None:
    digest = fact_of("PlanActivated").key
    post = Post(turn=InDigest(digest))
    result = await send(post, fact_of("PaymentFailed"))
    assert post.mails == []
    assert isinstance(result, RecordInDigest)
    assert result.digest == digest


async def test_a_mail_lists_the_orders_of_those_that_were_held_back() -> None:
    post = Post(turn=Admitted("ab" * 16, ("rnw-7", "rnw-8", "")))
    await send(post, fact_of("PaymentFailed"))
    (mail,) = post.mails
    text = email.message_from_bytes(mail.content, policy=SMTP).get_body(("plain",))
    assert text is not None
    assert "rnw-7, rnw-8" in text.get_content()


async def test_a_mail_that_is_put_off_keeps_the_turn_that_it_had() -> None:
    post = Post(outcome=Deferred(DeferralCause.BUSY, 451), turn=Admitted("cd" * 16))
    result = await send(post, fact_of())
    assert isinstance(result, RecordNotDelivered)
    assert Fact.from_payload(result.fact.payload()).admitted == "cd" * 16


BY_SMS: Final = CONTACT.model_copy(update={"channels": [Channel.SMS], "phone": "+85255500142"})


async def test_who_wants_another_channel_gets_no_email() -> None:
    post = Post(contact=BY_SMS, open_channels=frozenset(Channel))
    assert isinstance(await send(post, fact_of()), NotWanted)
    assert (post.mails, post.asked) == ([], [])


async def test_who_wants_a_channel_that_is_not_open_gets_an_email() -> None:
    post = Post(contact=BY_SMS)
    assert isinstance(await send(post, fact_of()), RecordDelivered)
    assert len(post.mails) == 1
