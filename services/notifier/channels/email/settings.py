"""What the email channel needs, `PERENNIAL_NOTIFIER_*`, and the letterhead that it makes."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from services.notifier.channels.email.message import Letterhead
from services.notifier.channels.email.texts.house import House
from services.notifier.notification.policy import Limits
from services.notifier.notification.rate_limit import Limit
from services.runtime.environment import refuse_outside_demo
from services.runtime.settings import RuntimeSettings

PORT_OF: Final = {"none": 25, "starttls": 587, "tls": 465}
"""The port of each way to encrypt, when SMTP_PORT is not set (RFC 5321, RFC 6409, RFC 8314)."""

Seconds = Annotated[float, Field(gt=0)]
_URL: Final = re.compile(r"https://[A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]{1,490}")


def _own_address(value: str) -> str:
    try:
        address = validate_email(
            value, check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except EmailNotValidError:
        address = None
    if address is None or address.ascii_email is None:
        message = "write it as name@example.com, without a display name"
        raise ValueError(message)
    return address.ascii_email


def _app_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, user = parts.hostname, parts.username
    except ValueError:
        parts, host, user = urlsplit(""), None, None
    plain = _URL.fullmatch(value) is not None
    if parts.scheme != "https" or not host or user is not None or not plain:
        message = "write an https:// address without a name or password in it"
        raise ValueError(message)
    return value


OwnAddress = Annotated[str, AfterValidator(_own_address)]
AppUrl = Annotated[str, AfterValidator(_app_url)]
SellerLine = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f\u2028\u2029]{0,200}$")]
"""One line of a receipt."""


class EmailSettings(RuntimeSettings):
    """How emails reach the mail server, and who writes them.

    SMTP_DOT_TIMEOUT_SECONDS is how long the answer to a whole message may take: ten minutes
    (RFC 5321, 4.5.3.2.6), since what is not answered can neither be sent again nor be known.
    """

    channel: Literal["smtp", "counting"] = "smtp"
    smtp_host: str | None = None
    smtp_port: int | None = Field(default=None, ge=1, le=65535)
    smtp_tls: Literal["none", "starttls", "tls"] = "starttls"
    smtp_ca_file: Path | None = None
    smtp_username: str | None = None
    smtp_password: SecretStr | None = None
    smtp_timeout_seconds: Seconds = 30
    smtp_dot_timeout_seconds: Seconds = 600
    smtp_connections: int = Field(default=16, ge=1, le=200)
    from_address: OwnAddress
    from_name: Annotated[
        str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f\u2028\u2029]{0,64}$")
    ] = ""
    reply_to: OwnAddress | None = None
    seller_name: SellerLine = ""
    seller_address: SellerLine = ""
    seller_tax_number: SellerLine = ""
    app_url: AppUrl | None = None
    message_id_domain: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$")] | None
    ) = None
    notices_at_once: int = Field(default=5, ge=1, le=1_000_000)
    notice_seconds: Seconds = 3_600
    receipts_at_once: int = Field(default=100, ge=1, le=1_000_000)
    receipt_seconds: Seconds = 60

    @model_validator(mode="after")
    def _email_usable(self) -> Self:
        if self.channel == "counting":
            instead = "set CHANNEL=smtp and SMTP_HOST"
            refuse_outside_demo(self.perennial_environment, "CHANNEL=counting", instead)
        if message := self._email_contradiction():
            raise ValueError(message)
        return self

    def _email_contradiction(self) -> str | None:
        if self.channel == "smtp" and not self.smtp_host:
            return "set SMTP_HOST to the mail server"
        if (self.smtp_username is None) != (self.smtp_password is None):
            return "set SMTP_USERNAME and SMTP_PASSWORD (or SMTP_PASSWORD_FILE), or neither"
        if self.smtp_tls == "none" and self.smtp_password is not None:
            return "a password over SMTP_TLS=none can be read on the way: set starttls or tls"
        if self.smtp_tls == "none" and self.smtp_ca_file is not None:
            return "SMTP_CA_FILE needs SMTP_TLS=starttls or tls"
        return None


def letterhead_of(settings: EmailSettings) -> Letterhead:
    """Return who writes, according to `settings`."""
    domain = settings.message_id_domain or settings.from_address.rpartition("@")[2]
    return Letterhead(
        from_address=settings.from_address,
        from_name=settings.from_name,
        reply_to=settings.reply_to,
        message_id_domain=domain,
        house=House(
            seller_name=settings.seller_name,
            seller_address=settings.seller_address,
            seller_tax_number=settings.seller_tax_number,
            app_url=settings.app_url,
        ),
    )


def email_limits_of(settings: EmailSettings) -> Limits:
    """Return how many emails one mailbox gets."""
    return Limits(
        notices=Limit(settings.notices_at_once, timedelta(seconds=settings.notice_seconds)),
        receipts=Limit(settings.receipts_at_once, timedelta(seconds=settings.receipt_seconds)),
    )
