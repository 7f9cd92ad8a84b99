"""Makes the SMS channel that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.notifier.channels.definition import OpenChannel
from services.notifier.channels.sms.channel import SmsChannel
from services.notifier.channels.sms.effect import SmsSender
from services.notifier.channels.sms.http import HttpSms
from services.notifier.channels.sms.sandbox import SandboxSms
from services.notifier.channels.sms.settings import SmsSettings, sms_limits_of
from services.runtime.http_access import http_client


def open_sms(settings: SmsSettings, clock: Callable[[], datetime]) -> OpenChannel | None:
    """Return the channel that `settings` describe, not connected yet; None where it is off.

    Raises:
        ConfigurationError: the file of certificate authorities cannot be used.
    """
    if settings.sms == "off" or settings.sms_sender is None:
        return None
    sender = SmsSender(
        _channel(settings, clock),
        settings.sms_sender,
        settings.sms_segments_max,
        settings.sms_prefixes,
    )
    return OpenChannel(sender, sms_limits_of(settings))


def _channel(settings: SmsSettings, clock: Callable[[], datetime]) -> SmsChannel:
    if settings.sms == "sandbox":
        return SandboxSms(settings.sms_folder, clock)
    client = http_client(
        settings.sms_access,
        ca_file=settings.sms_ca_file,
        ca_setting="PERENNIAL_NOTIFIER_SMS_CA_FILE",
        timeout_seconds=settings.sms_timeout_seconds,
        connections_max=settings.sms_connections,
    )
    return HttpSms(client)
