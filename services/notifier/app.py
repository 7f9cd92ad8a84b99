"""The only wiring of the notifier: settings and a pool in, a processor out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

import asyncpg
import structlog

from schemas.requests import Channel
from services.notifier.channels.definition import ChannelPorts, OpenChannel
from services.notifier.channels.registry import CHANNELS
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
    """Open the channels that the settings name, and yield the notifier."""
    logger = structlog.get_logger().bind(service="notifier")
    contacts, turns = Contacts(pool), RecipientLimits(pool, clock=clock)
    async with AsyncExitStack() as stack:
        opened: dict[Channel, OpenChannel] = {}
        for channel in CHANNELS:
            found = channel.open(settings, clock)
            if found is not None:
                stack.push_async_callback(found.sender.close)
                opened[channel.definition.name] = found
        ports = {
            name: ChannelPorts(
                contacts, turns, each.sender, each.limits, frozenset(opened), clock, logger
            )
            for name, each in opened.items()
        }
        policy = policy_of(settings, tuple(ports))
        projections = (
            contacts_projection(clock, accepted_kept=policy.contact_deadline),
            settle_held_back,
        )
        await stack.enter_async_context(swept(Sweeper(pool, clock=clock, logger=logger)))
        yield build_processor(policy, build_effects(ports), projections)
