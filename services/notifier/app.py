"""The only wiring of the notifier: settings and a pool in, a processor out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import structlog

from services.notifier.channels.email.effect import EmailPorts
from services.notifier.channels.email.opening import build_channel
from services.notifier.channels.email.settings import letterhead_of
from services.notifier.contacts.contacts import Contacts, contacts_projection
from services.notifier.effects import build_effects
from services.notifier.handlers import build_processor
from services.notifier.limits.turns import RecipientLimits, settle_held_back
from services.notifier.settings import NotifierSettings, policy_of
from services.notifier.sweeper import Sweeper, swept
from services.runtime.processor import Processor


@asynccontextmanager
async def open_notifier(
    settings: NotifierSettings, pool: asyncpg.Pool, clock: Callable[[], datetime]
) -> AsyncIterator[Processor]:
    """Open the email channel and yield the notifier."""
    channel = build_channel(settings)
    policy = policy_of(settings)
    logger = structlog.get_logger().bind(service="notifier")
    ports = EmailPorts(
        contacts=Contacts(pool),
        turns=RecipientLimits(pool, limit_of=policy.limit_of, clock=clock),
        channel=channel,
        letterhead=letterhead_of(settings),
        clock=clock,
        logger=logger,
    )
    projections = (
        contacts_projection(clock, accepted_kept=policy.contact_deadline),
        settle_held_back,
    )
    try:
        async with swept(Sweeper(pool, clock=clock, logger=logger)):
            yield build_processor(policy, build_effects(ports), projections)
    finally:
        await channel.close()
