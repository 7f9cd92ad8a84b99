"""The settings of the notifier, `PERENNIAL_NOTIFIER_*`, and the policy that they make."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import model_validator
from pydantic_settings import SettingsConfigDict

from schemas.requests import Channel
from services.notifier.channels.email.settings import EmailSettings, Seconds
from services.notifier.channels.sms.settings import SmsSettings
from services.notifier.notification.policy import Policy
from services.runtime.settings import FetchWait


class NotifierSettings(EmailSettings, SmsSettings):
    """What the notifier needs beside its channels; seconds may be shortened for a demonstration."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_NOTIFIER_")

    fetch_wait_ms: FetchWait = 200
    contact_deadline_seconds: Seconds = 86_400
    send_deadline_seconds: Seconds = 86_400
    retry_seconds: Seconds = 5
    retry_seconds_max: Seconds = 300
    look_up_deadline_seconds: Seconds = 900
    report_seconds: Seconds = 10
    report_seconds_max: Seconds = 3_600
    report_deadline_seconds: Seconds = 259_200

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.retry_seconds_max < self.retry_seconds:
            message = "RETRY_SECONDS_MAX must not be less than RETRY_SECONDS"
            raise ValueError(message)
        if self.report_seconds_max < self.report_seconds:
            message = "REPORT_SECONDS_MAX must not be less than REPORT_SECONDS"
            raise ValueError(message)
        return self


def policy_of(
    settings: NotifierSettings, channels: tuple[Channel, ...] = (Channel.EMAIL,)
) -> Policy:
    """Return the policy that `settings` make, for the channels that are open."""
    return Policy(
        contact_deadline=timedelta(seconds=settings.contact_deadline_seconds),
        send_deadline=timedelta(seconds=settings.send_deadline_seconds),
        retry_first=timedelta(seconds=settings.retry_seconds),
        retry_longest=timedelta(seconds=settings.retry_seconds_max),
        look_up_deadline=timedelta(seconds=settings.look_up_deadline_seconds),
        report_first=timedelta(seconds=settings.report_seconds),
        report_longest=timedelta(seconds=settings.report_seconds_max),
        report_deadline=timedelta(seconds=settings.report_deadline_seconds),
        channels=channels,
    )
