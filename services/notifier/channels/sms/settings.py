"""What the SMS channel needs, `PERENNIAL_NOTIFIER_SMS_*`."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from services.notifier.notification.policy import Limits
from services.notifier.notification.rate_limit import Limit
from services.runtime.environment import refuse_outside_demo
from services.runtime.http_access import HttpAccess, HttpAddress, is_private
from services.runtime.settings import RuntimeSettings

Seconds = Annotated[float, Field(gt=0)]
_SENDER: Final = re.compile(r"\+[0-9]{3,15}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}", re.ASCII)
"""A number, a short code, or up to 11 letters and digits (TS 23.040, 9.1.2.5)."""


def _sender(value: str) -> str:
    if _SENDER.fullmatch(value) is None:
        message = "write a number, a short code, or at most 11 letters and digits"
        raise ValueError(message)
    return value


SenderId = Annotated[str, AfterValidator(_sender)]
Prefix = Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{0,14}$")]


class SmsSettings(RuntimeSettings):
    """How SMS reach the aggregator, which numbers they may go to, and how many of them."""

    sms: Literal["off", "http", "sandbox"] = "off"
    sms_url: HttpAddress | None = None
    sms_token: SecretStr | None = None
    sms_username: str | None = None
    sms_password: SecretStr | None = None
    sms_ca_file: Path | None = None
    sms_timeout_seconds: Seconds = 10
    sms_connections: int = Field(default=16, ge=1, le=200)
    sms_sender: SenderId | None = None
    sms_segments_max: int = Field(default=3, ge=1, le=10)
    sms_prefixes: Annotated[frozenset[Prefix], NoDecode] = frozenset()
    sms_folder: Path = Path(".perennial/sms")
    sms_notices_at_once: int = Field(default=3, ge=1, le=1_000_000)
    sms_notice_seconds: Seconds = 3_600
    sms_receipts_at_once: int = Field(default=20, ge=1, le=1_000_000)
    sms_receipt_seconds: Seconds = 300

    @field_validator("sms_prefixes", mode="before")
    @classmethod
    def _prefixes(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        return frozenset(prefix.strip() for prefix in given.split(",") if prefix.strip())

    @model_validator(mode="after")
    def _sms_usable(self) -> Self:
        if self.sms == "off":
            return self
        if self.sms_sender is None:
            message = "set SMS_SENDER to what customers see as the sender"
            raise ValueError(message)
        if self.sms == "sandbox":
            instead = "set SMS=http and SMS_URL"
            refuse_outside_demo(self.perennial_environment, "SMS=sandbox", instead)
        elif wrong := self._sms_contradiction():
            raise ValueError(wrong)
        return self

    def _sms_contradiction(self) -> str | None:
        if self.sms_url is None:
            return "set SMS_URL to the address of the aggregator"
        if not is_private(self.sms_url):
            return "set SMS_URL to an https:// address: texts and numbers could be read on the way"
        if (self.sms_username is None) != (self.sms_password is None):
            return "set SMS_USERNAME and SMS_PASSWORD_FILE, or neither"
        if self.sms_token is not None and self.sms_password is not None:
            return "set SMS_TOKEN_FILE, or SMS_USERNAME and SMS_PASSWORD_FILE, not both"
        return None

    @property
    def sms_access(self) -> HttpAccess:
        """Return how to reach the aggregator."""
        return HttpAccess(self.sms_url, self.sms_token, self.sms_username, self.sms_password)


def sms_limits_of(settings: SmsSettings) -> Limits:
    """Return how many SMS one number gets."""
    return Limits(
        notices=Limit(settings.sms_notices_at_once, timedelta(seconds=settings.sms_notice_seconds)),
        receipts=Limit(
            settings.sms_receipts_at_once, timedelta(seconds=settings.sms_receipt_seconds)
        ),
    )
