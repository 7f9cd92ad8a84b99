"""The settings of the notifier, `PERENNIAL_NOTIFIER_*`, and what they make."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator
from pydantic_settings import SettingsConfigDict

from services.notifier.message import Letterhead
from services.notifier.policy import Policy
from services.runtime.settings import RuntimeSettings

PORT_OF: Final = {"none": 25, "starttls": 587, "tls": 465}
"""The port of each way to encrypt, when SMTP_PORT is not set (RFC 5321, RFC 6409, RFC 8314)."""

Seconds = Annotated[float, Field(gt=0)]


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


OwnAddress = Annotated[str, AfterValidator(_own_address)]


class NotifierSettings(RuntimeSettings):
    """What the notifier needs beside the runtime; seconds may be shortened for a demonstration.

    SMTP_DOT_TIMEOUT_SECONDS is how long the answer to a whole message may take: ten minutes
    (RFC 5321, 4.5.3.2.6), since what is not answered can neither be sent again nor be known.
    """

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_NOTIFIER_")

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
    message_id_domain: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$")] | None
    ) = None
    contact_deadline_seconds: Seconds = 86_400
    send_deadline_seconds: Seconds = 86_400
    retry_seconds: Seconds = 5
    retry_seconds_max: Seconds = 300

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if message := self._contradiction():
            raise ValueError(message)
        return self

    def _contradiction(self) -> str | None:
        if self.channel == "smtp" and not self.smtp_host:
            return "set SMTP_HOST to the mail server, or CHANNEL=counting to deliver nothing"
        if (self.smtp_username is None) != (self.smtp_password is None):
            return "set SMTP_USERNAME and SMTP_PASSWORD (or SMTP_PASSWORD_FILE), or neither"
        if self.smtp_tls == "none" and self.smtp_password is not None:
            return "a password over SMTP_TLS=none can be read on the way: set starttls or tls"
        if self.smtp_tls == "none" and self.smtp_ca_file is not None:
            return "SMTP_CA_FILE needs SMTP_TLS=starttls or tls"
        if self.retry_seconds_max < self.retry_seconds:
            return "RETRY_SECONDS_MAX must not be less than RETRY_SECONDS"
        return None


def policy_of(settings: NotifierSettings) -> Policy:
    """Return the policy that `settings` make."""
    return Policy(
        contact_deadline=timedelta(seconds=settings.contact_deadline_seconds),
        send_deadline=timedelta(seconds=settings.send_deadline_seconds),
        retry_first=timedelta(seconds=settings.retry_seconds),
        retry_longest=timedelta(seconds=settings.retry_seconds_max),
    )


def letterhead_of(settings: NotifierSettings) -> Letterhead:
    """Return who writes, according to `settings`."""
    domain = settings.message_id_domain or settings.from_address.rpartition("@")[2]
    return Letterhead(
        from_address=settings.from_address,
        from_name=settings.from_name,
        reply_to=settings.reply_to,
        message_id_domain=domain,
    )
