"""Makes the email channel that the settings name."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime

import aiosmtplib

from services.notifier.channels.definition import OpenChannel
from services.notifier.channels.email.channel import EmailChannel
from services.notifier.channels.email.counting import CountingChannel
from services.notifier.channels.email.effect import EmailSender
from services.notifier.channels.email.settings import (
    PORT_OF,
    EmailSettings,
    email_limits_of,
    letterhead_of,
)
from services.notifier.channels.email.smtp import SmtpChannel
from services.notifier.channels.email.smtp_connections import Connections
from services.runtime.errors import ConfigurationError


def open_email(settings: EmailSettings, _clock: Callable[[], datetime]) -> OpenChannel:
    """Return the channel that `settings` describe, not connected yet.

    Raises:
        ConfigurationError: the file of certificate authorities cannot be used.
    """
    sender = EmailSender(build_channel(settings), letterhead_of(settings))
    return OpenChannel(sender, email_limits_of(settings))


def build_channel(settings: EmailSettings) -> EmailChannel:
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


def _tls_context(settings: EmailSettings) -> ssl.SSLContext | None:
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
