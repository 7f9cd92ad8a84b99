"""Which event leads to which command on which stream, and the notifier as the runtime sees it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from schemas.envelope import Event, Source
from schemas.requests import CustomerContactChanged, RenewalRequested, TopUpRequested
from schemas.topics import LEDGER, NOTIFICATIONS, ORDERS, REQUESTS
from services.notifier.commands import Command, Notify, ReleaseHeld
from services.notifier.contacts import contact_change
from services.notifier.decider import EMAIL, IgnoredReason, decide, hold_key
from services.notifier.emails import TEMPLATE_OF
from services.notifier.evolution import NotificationState, evolve, initial_state
from services.notifier.facts import Fact
from services.notifier.give_ups import on_email_given_up
from services.notifier.metrics import COUNTERS
from services.notifier.policy import Policy
from services.runtime.processor import (
    Decision,
    Executor,
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


def on_request(incoming: Incoming, _now: datetime) -> Task | Ignored:
    """Let the emails go that waited for this contact; the projection keeps it."""
    change = contact_change(incoming.event)
    if change is None:
        return Ignored(IgnoredReason.NO_CONTACT_IN_REQUEST)
    release = ReleaseHeld(change.account_id)
    return Task(hold_key(change.account_id), release, stateless=True)


def build_processor(
    policy: Policy, executors: Mapping[str, Executor], project: Projection | None
) -> Processor[NotificationState]:
    """Return the notifier as the runtime runs it."""

    def on_fact(incoming: Incoming, now: datetime) -> Task:
        fact = Fact.of(incoming, contact_by=now + policy.contact_deadline)
        return Task(f"notification/{fact.event_id}", Notify(fact))

    def decide_by_policy(command: Command, state: NotificationState) -> Decision | Ignored:
        return decide(command, state, policy)

    # Facts without a template have no handler, so their bodies are not even parsed.
    handlers: dict[type[Event], Handler] = dict.fromkeys(TEMPLATE_OF, on_fact)
    handlers |= dict.fromkeys(
        (RenewalRequested, TopUpRequested, CustomerContactChanged), on_request
    )
    return Processor(
        source=Source.NOTIFIER,
        group="notifier",
        output_topic=NOTIFICATIONS.name,
        subscriptions=(
            Subscription(REQUESTS.name, strict=False),
            Subscription(ORDERS.name, strict=True),
            Subscription(LEDGER.name, strict=True),
        ),
        handlers=handlers,
        initial_state=initial_state,
        evolve=evolve,
        decide=decide_by_policy,
        executors=executors,
        give_ups={EMAIL: on_email_given_up},
        results_wait_seconds=_RESULTS_WAIT_SECONDS,
        project=project,
        counters=COUNTERS,
    )
