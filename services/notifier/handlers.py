"""Which event leads to which command on which stream, and the notifier as the runtime sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from schemas import BILLING
from schemas.confirmations import PaymentActionRequired
from schemas.envelope import Envelope, Event
from schemas.orders import RenewalAccepted, RenewalRejected, TopUpAccepted, TopUpRejected
from schemas.requests import CustomerContactChanged, RenewalRequested, TopUpRequested
from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS, REQUESTS, Source
from services.notifier.contacts.candidates import candidate_of
from services.notifier.contacts.contacts import changed_contact
from services.notifier.decider import IgnoredReason, decide
from services.notifier.metrics import COUNTERS
from services.notifier.notification.archival import NOTIFICATION_STREAMS
from services.notifier.notification.commands import Command, KeepAside, Notify, ReleaseHeld
from services.notifier.notification.evolution import NotificationState, initial_state
from services.notifier.notification.facts import Fact
from services.notifier.notification.identities import fact_stream_id, hold_key, stream_id
from services.notifier.notification.policy import Policy
from services.notifier.notification.templates import TEMPLATE_OF
from services.runtime.log.event_log import Transaction
from services.runtime.processor import (
    Decision,
    Effect,
    Filed,
    Handler,
    Ignored,
    Incoming,
    Processor,
    Projection,
    Streams,
    Subscription,
    Task,
    on,
)

_RESULTS_WAIT_SECONDS: Final = 0.02
"""Nobody waits for NotificationSent, and mail servers answer one by one."""


def on_contact_changed(_envelope: Envelope, event: CustomerContactChanged, _now: datetime) -> Task:
    """Let the emails go that waited for this contact; the projection keeps it.

    Raises:
        Poison: the contact is unusable.
    """
    changed_contact(event)
    return Task(hold_key(event.account_id), ReleaseHeld(event.account_id), stateless=True)


def on_request(
    envelope: Envelope, event: RenewalRequested | TopUpRequested, _now: datetime
) -> Task | Ignored:
    """Have the projection keep the contact aside: it counts when orders accepts the request.

    Raises:
        Poison: the contact is unusable.
    """
    candidate = candidate_of(envelope, event)
    if candidate is None:
        return Ignored(IgnoredReason.NO_CONTACT_IN_REQUEST)
    return Task(hold_key(candidate.account_id), KeepAside(), stateless=True)


def on_accepted(
    _envelope: Envelope, event: RenewalAccepted | TopUpAccepted, _now: datetime
) -> Task:
    """Let the emails go that waited for a contact: the projection takes the request's."""
    return Task(hold_key(event.account_id), ReleaseHeld(event.account_id), stateless=True)


def on_rejected(
    _envelope: Envelope, event: RenewalRejected | TopUpRejected, _now: datetime
) -> Task:
    """Have the projection forget the contact of a request that was refused."""
    return Task(hold_key(event.account_id), KeepAside(), stateless=True)


def _handlers(policy: Policy) -> dict[type[Event], Handler]:
    def on_fact(envelope: Envelope, event: Event, now: datetime) -> Task | Ignored:
        fact = Fact.of(envelope, event, contact_by=now + policy.contact_deadline)
        if isinstance(event, PaymentActionRequired):
            if now >= event.pay_by:
                return Ignored(IgnoredReason.PAY_LINK_EXPIRED)
            # After it nobody can pay any more.
            fact = replace(
                fact, contact_by=min(fact.contact_by, event.pay_by), send_by=event.pay_by
            )
        beside = tuple(stream_id(fact.key, channel) for channel in policy.channels)
        return Task(fact_stream_id(fact.key), Notify(fact), beside=beside)

    # Facts without a template have no handler, so their bodies are not even parsed.
    handlers: dict[type[Event], Handler] = dict.fromkeys(TEMPLATE_OF, on_fact)
    handlers |= (
        on(CustomerContactChanged, on_contact_changed),
        on(RenewalRequested, on_request),
        on(TopUpRequested, on_request),
        on(RenewalAccepted, on_accepted),
        on(TopUpAccepted, on_accepted),
        on(RenewalRejected, on_rejected),
        on(TopUpRejected, on_rejected),
    )
    return handlers


def build_processor(
    policy: Policy, effects: Mapping[str, Effect], projections: Sequence[Projection] = ()
) -> Processor:
    """Return the notifier as the runtime runs it."""

    async def project(
        tx: Transaction, appended: Sequence[Filed], handled: Sequence[Incoming]
    ) -> None:
        for each in projections:
            await each(tx, appended, handled)

    def decide_by_policy(command: Command, state: NotificationState) -> Decision | Ignored:
        return decide(command, state, policy)

    return Processor(
        source=Source.NOTIFIER,
        group="notifier",
        output_topic=NOTIFICATIONS.name,
        subscriptions=(
            Subscription(REQUESTS.name, strict=False),
            Subscription(ORDERS.name, strict=True),
            Subscription(LEDGER.name, strict=True),
        ),
        handlers=_handlers(policy),
        streams=Streams(BILLING, NOTIFICATION_STREAMS.decided_by(decide_by_policy)),
        decide_stateless=lambda command: decide_by_policy(command, initial_state()),
        effects=effects,
        results_wait_seconds=_RESULTS_WAIT_SECONDS,
        project=project,
        counters=COUNTERS,
    )
