"""The settings of the notifier, `PERENNIAL_NOTIFIER_*`, and the policy that they make."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from services.notifier.channels.email.settings import EmailSettings, Seconds
from services.notifier.notification.policy import Policy
from services.notifier.notification.rate_limit import Limit
from services.runtime.settings import FetchWait


class NotifierSettings(EmailSettings):
    """What the notifier needs beside its channels; seconds may be shortened for a demonstration."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_NOTIFIER_")

    fetch_wait_ms: FetchWait = 200
    contact_deadline_seconds: Seconds = 86_400
    send_deadline_seconds: Seconds = 86_400
    retry_seconds: Seconds = 5
    retry_seconds_max: Seconds = 300
    notices_at_once: int = Field(default=5, ge=1, le=1_000_000)
    notice_seconds: Seconds = 3_600
    receipts_at_once: int = Field(default=100, ge=1, le=1_000_000)
    receipt_seconds: Seconds = 60

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.retry_seconds_max < self.retry_seconds:
            message = "RETRY_SECONDS_MAX must not be less than RETRY_SECONDS"
            raise ValueError(message)
        return self


def policy_of(settings: NotifierSettings) -> Policy:
    """Return the policy that `settings` make."""
    return Policy(
        contact_deadline=timedelta(seconds=settings.contact_deadline_seconds),
        send_deadline=timedelta(seconds=settings.send_deadline_seconds),
        retry_first=timedelta(seconds=settings.retry_seconds),
        retry_longest=timedelta(seconds=settings.retry_seconds_max),
        notices=Limit(settings.notices_at_once, timedelta(seconds=settings.notice_seconds)),
        receipts=Limit(settings.receipts_at_once, timedelta(seconds=settings.receipt_seconds)),
    )
