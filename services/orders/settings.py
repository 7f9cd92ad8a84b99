"""The settings of orders, `PERENNIAL_ORDERS_*`, and the policy that they make."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.orders.policy import Backoff, Policy
from services.runtime.errors import ConfigurationError
from services.runtime.settings import RuntimeSettings

CATALOGUE_DEFAULT: Final = Path(__file__).with_name("catalogue.toml")
Seconds = Annotated[float, Field(gt=0)]


class OrdersSettings(RuntimeSettings):
    """What orders needs beside the runtime; seconds may be shortened for a demonstration."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_ORDERS_")

    catalogue: Path = CATALOGUE_DEFAULT
    blocked_accounts_file: Path | None = None
    esim_hash_salt: SecretStr = Field(min_length=8)
    confirmation_window_seconds: Seconds = 3_600
    charge_window_seconds: Seconds = 900
    unknown_look_up_seconds: Seconds = 10
    unknown_look_up_seconds_max: Seconds = 300
    unknown_settle_seconds: Seconds = 900
    activation_promise_seconds: Seconds = 1_800
    activation_deadline_seconds: Seconds = 86_400
    activation_retry_seconds: Seconds = 5
    activation_retry_seconds_max: Seconds = 300
    refund_retry_seconds: Seconds = 5
    refund_retry_seconds_max: Seconds = 900
    gateway: Literal["sandbox", "http"] = "sandbox"
    gateway_url: str | None = None
    provider: Literal["sandbox", "http"] = "sandbox"
    provider_url: str | None = None
    http_timeout_seconds: Seconds = 10
    sandbox_journal_folder: Path = Path(".perennial/sandbox")
    sandbox_timeout_seconds: Seconds = 10
    sandbox_slow_seconds: Seconds = 2

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.gateway == "http" and not self.gateway_url:
            message = "set GATEWAY_URL, or GATEWAY=sandbox"
            raise ValueError(message)
        if self.provider == "http" and not self.provider_url:
            message = "set PROVIDER_URL, or PROVIDER=sandbox"
            raise ValueError(message)
        if self.activation_deadline_seconds <= self.activation_promise_seconds:
            message = "ACTIVATION_DEADLINE_SECONDS must be more than ACTIVATION_PROMISE_SECONDS"
            raise ValueError(message)
        return self


def policy_of(settings: OrdersSettings) -> Policy:
    """Return the policy that `settings` make.

    Raises:
        ConfigurationError: the file of blocked accounts cannot be read.
    """
    return Policy(
        esim_hash_salt=settings.esim_hash_salt.get_secret_value(),
        blocked_accounts=_blocked_accounts(settings.blocked_accounts_file),
        confirmation_window=timedelta(seconds=settings.confirmation_window_seconds),
        charge_window=timedelta(seconds=settings.charge_window_seconds),
        unknown_settle=timedelta(seconds=settings.unknown_settle_seconds),
        activation_promise=timedelta(seconds=settings.activation_promise_seconds),
        activation_deadline=timedelta(seconds=settings.activation_deadline_seconds),
        look_up_backoff=_backoff(
            settings.unknown_look_up_seconds, settings.unknown_look_up_seconds_max
        ),
        activation_backoff=_backoff(
            settings.activation_retry_seconds, settings.activation_retry_seconds_max
        ),
        refund_backoff=_backoff(settings.refund_retry_seconds, settings.refund_retry_seconds_max),
    )


def _backoff(first: float, longest: float) -> Backoff:
    return Backoff(timedelta(seconds=first), timedelta(seconds=max(first, longest)))


def _blocked_accounts(path: Path | None) -> frozenset[str]:
    """Read one account id per line; empty lines and lines that begin with # do not count."""
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        message = (
            f"PERENNIAL_ORDERS_BLOCKED_ACCOUNTS_FILE cannot be read ({type(error).__name__}): "
            "name a UTF-8 file with one account id per line"
        )
        raise ConfigurationError(message) from None
    names = (line.strip() for line in lines)
    return frozenset(name for name in names if name and not name.startswith("#"))
