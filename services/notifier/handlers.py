"""Which event leads to which command on which stream, and the notifier as the runtime sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from schemas.envelope import Event, Source
from schemas.orders import RenewalAccepted, RenewalRejected, TopUpAccepted, TopUpRejected
from schemas.requests import CustomerContactChanged, RenewalRequested, TopUpRequested
from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS, REQUESTS
from services.notifier.contacts.candidates import candidate_of
from services.notifier.contacts.contacts import changed_contact
from services.notifier.decider import IgnoredReason, decide
from services.notifier.metrics import COUNTERS
from services.notifier.notification.archival import ARCHIVAL
from services.notifier.notification.commands import Command, KeepAside, Notify, ReleaseHeld
from services.notifier.notification.evolution import NotificationState, evolve, initial_state
from services.notifier.notification.facts import Fact
from services.notifier.notification.identities import hold_key, stream_id
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
    Subscription,
    Task,
)

_RESULTS_WAIT_SECONDS: Final = 0.02
"""Nobody waits for NotificationSent, and mail servers answer one by one."""


def on_contact_changed(incoming: Incoming, _now: datetime) -> Task:
    """Let the emails go that waited for this contact; the projection keeps it.

    Raises:
        Poison: the contact is unusable.
    """
    changed_contact(incoming.event)
    account_id = incoming.event.account_id
    return Task(hold_key(account_id), ReleaseHeld(account_id), stateless=True)


def on_request(incoming: Incoming, _now: datetime) -> Task | Ignored:
    """Have the projection keep the contact aside: it counts when orders accepts the request.

    Raises:
        Poison: the contact is unusable.
    """
    candidate = candidate_of(incoming)
    if candidate is None:
        return Ignored(IgnoredReason.NO_CONTACT_IN_REQUEST)
    return Task(hold_key(candidate.account_id), KeepAside(), stateless=True)


def on_accepted(incoming: Incoming, _now: datetime) -> Task:
    """Let the emails go that waited for a contact: the projection takes the request's."""
    account_id = incoming.event.account_id
    return Task(hold_key(account_id), ReleaseHeld(account_id), stateless=True)


def on_rejected(incoming: Incoming, _now: datetime) -> Task:
    """Have the projection forget the contact of a request that was refused."""
    return Task(hold_key(incoming.event.account_id), KeepAside(), stateless=True)


def _handlers(policy: Policy) -> dict[type[Event], Handler]:
    def on_fact(incoming: Incoming, now: datetime) -> Task:
        fact = Fact.of(incoming, contact_by=now + policy.contact_deadline)
        return Task(stream_id(fact.key), Notify(fact))

    # Facts without a template have no handler, so their bodies are not even parsed.
    handlers: dict[type[Event], Handler] = dict.fromkeys(TEMPLATE_OF, on_fact)
    handlers[CustomerContactChanged] = on_contact_changed
    handlers |= dict.fromkeys((RenewalRequested, TopUpRequested), on_request)
    handlers |= dict.fromkeys((RenewalAccepted, TopUpAccepted), on_accepted)
    handlers |= dict.fromkeys((RenewalRejected, TopUpRejected), on_rejected)
    return handlers


def build_processor(
    policy: Policy, effects: Mapping[str, Effect], projections: Sequence[Projection] = ()
) -> Processor[NotificationState]:
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
        initial_state=initial_state,
        evolve=evolve,
        decide=decide_by_policy,
        effects=effects,
        results_wait_seconds=_RESULTS_WAIT_SECONDS,
        project=project,
        counters=COUNTERS,
        archival=ARCHIVAL,
    )
