"""The only wiring of the notifier: settings and a pool in, a processor out."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import aiosmtplib
import asyncpg
import structlog

from services.notifier.channels.counting import CountingChannel
from services.notifier.channels.email import EmailChannel
from services.notifier.channels.smtp import SmtpChannel
from services.notifier.channels.smtp_connections import Connections
from services.notifier.contacts import Contacts, contacts_projection
from services.notifier.effects import EmailPorts, build_effects
from services.notifier.evolution import NotificationState
from services.notifier.handlers import build_processor
from services.notifier.mail_limits import MailLimits, settle_held_mail
from services.notifier.settings import PORT_OF, NotifierSettings, letterhead_of, policy_of
from services.notifier.sweeper import Sweeper, swept
from services.runtime.errors import ConfigurationError
from services.runtime.processor import Processor


@asynccontextmanager
async def open_notifier(
    settings: NotifierSettings, pool: asyncpg.Pool, clock: Callable[[], datetime]
) -> AsyncIterator[Processor[NotificationState]]:
    """Open the email channel and yield the notifier."""
    channel = build_channel(settings)
    policy = policy_of(settings)
    logger = structlog.get_logger().bind(service="notifier")
    ports = EmailPorts(
        contacts=Contacts(pool),
        turns=MailLimits(pool, limit_of=policy.limit_of, clock=clock),
        channel=channel,
        letterhead=letterhead_of(settings),
        clock=clock,
        logger=logger,
    )
    projections = (
        contacts_projection(clock, accepted_kept=policy.contact_deadline),
        settle_held_mail,
    )
    try:
        async with swept(Sweeper(pool, clock=clock, logger=logger)):
            yield build_processor(policy, build_effects(ports), projections)
    finally:
        await channel.close()


def build_channel(settings: NotifierSettings) -> EmailChannel:
    """Return the channel that `settings` name, not connected yet.

    Raises:
        ConfigurationError: the file of certificate authorities cannot be used.
    """
    if settings.channel == "counting":
        return CountingChannel()
    context = _tls_context(settings)
    password = settings.smtp_password

    def new_client() -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port or PORT_OF[settings.smtp_tls],
            username=settings.smtp_username,
            password=password.get_secret_value() if password else None,
            timeout=settings.smtp_timeout_seconds,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
            tls_context=context,
        )

    return SmtpChannel(
        Connections(new_client, limit=settings.smtp_connections),
        answer_timeout_seconds=settings.smtp_dot_timeout_seconds,
    )


def _tls_context(settings: NotifierSettings) -> ssl.SSLContext | None:
    if settings.smtp_tls == "none":
        return None
    try:
        return ssl.create_default_context(cafile=settings.smtp_ca_file)
    except OSError as error:
        message = (
            f"PERENNIAL_NOTIFIER_SMTP_CA_FILE cannot be used ({type(error).__name__}): "
            "name a PEM file of certificate authorities"
        )
        raise ConfigurationError(message) from None
