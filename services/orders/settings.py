"""The settings of orders, `PERENNIAL_ORDERS_*`, and the policy that they make."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from schemas.envelope import Identifier
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT
from services.orders.order.policy import Backoff, Policy
from services.runtime.environment import refuse_outside_demo
from services.runtime.errors import ConfigurationError
from services.runtime.http_access import HttpAccess, HttpAddress, is_private
from services.runtime.settings import RuntimeSettings

Seconds = Annotated[float, Field(gt=0)]
GatewayName = Literal["sandbox", "http", "stripe"]


class OrdersSettings(RuntimeSettings):
    """What orders needs beside the runtime; seconds may be shortened for a demonstration."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_ORDERS_")

    catalogue: Path = CATALOGUE_DEFAULT
    routing: Path | None = None
    blocked_accounts_file: Path | None = None
    trust_confirmations_of: Annotated[frozenset[Identifier], NoDecode] = frozenset()
    gateway_names: Annotated[frozenset[Identifier], NoDecode] = frozenset()
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
    gateway: Annotated[frozenset[GatewayName], NoDecode, Field(min_length=1)] = frozenset({"http"})
    gateway_url: HttpAddress | None = None
    gateway_token: SecretStr | None = None
    gateway_username: str | None = None
    gateway_password: SecretStr | None = None
    stripe_api_key: SecretStr | None = None
    stripe_url: HttpAddress = "https://api.stripe.com"
    stripe_return_url: HttpAddress | None = None
    provider: Literal["sandbox", "http"] = "http"
    provider_url: HttpAddress | None = None
    provider_token: SecretStr | None = None
    provider_username: str | None = None
    provider_password: SecretStr | None = None
    http_ca_file: Path | None = None
    http_timeout_seconds: Seconds = 10
    sandbox_journal_folder: Path = Path(".perennial/sandbox")
    sandbox_timeout_seconds: Seconds = 10
    sandbox_slow_seconds: Seconds = 2

    @field_validator("trust_confirmations_of", "gateway_names", "gateway", mode="before")
    @classmethod
    def _names(cls, given: object) -> object:
        if not isinstance(given, str):
            return given
        return frozenset(name.strip() for name in given.split(",") if name.strip())

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for kind in sorted(self.gateway & {"sandbox", "http"}):
            self._check_port("gateway", kind, self.access("gateway"))
        if "stripe" in self.gateway:
            self._check_stripe()
        self._check_port("provider", self.provider, self.access("provider"))
        self._check_several()
        self._check_trust()
        if self.activation_deadline_seconds <= self.activation_promise_seconds:
            message = "ACTIVATION_DEADLINE_SECONDS must be more than ACTIVATION_PROMISE_SECONDS"
            raise ValueError(message)
        return self

    def _check_several(self) -> None:
        """See that it is known which of several gateways takes a payment, and which took one."""
        if len(self.gateway) == 1:
            return
        if self.routing is None:
            message = "set ROUTING to a file that says which of the gateways takes which payments"
            raise ValueError(message)
        self._check_names(", so that they are told from those of the others")

    def _check_names(self, why: str) -> None:
        """See that it is known under which names the gateway of GATEWAY_URL reports its charges."""
        if "http" in self.gateway and not self.gateway_names:
            message = (
                "set GATEWAY_NAMES to the names under which the gateway of GATEWAY_URL reports its "
                f"charges{why}"
            )
            raise ValueError(message)

    def _check_stripe(self) -> None:
        key = self.stripe_api_key.get_secret_value() if self.stripe_api_key else ""
        if not key.startswith(("sk_", "rk_")):
            message = (
                "set STRIPE_API_KEY_FILE to a file that holds a key of Stripe, sk_... or rk_..."
            )
            raise ValueError(message)
        if key[3:].startswith("test_"):
            instead = "set STRIPE_API_KEY_FILE to a live key"
            refuse_outside_demo(self.perennial_environment, "a test key of Stripe", instead)
        elif self.perennial_environment == "demo":
            message = "a live key of Stripe moves money, and this is a demo: use one for tests"
            raise ValueError(message)
        if not is_private(self.stripe_url):
            message = "set STRIPE_URL to an https:// address"
            raise ValueError(message)

    def _check_trust(self) -> None:
        """See that no gateway that charges is believed about transactions without being asked."""
        if not self.trust_confirmations_of:
            return
        self._check_names(": none of them may be in TRUST_CONFIRMATIONS_OF")
        if both := sorted(self.own_gateways & self.trust_confirmations_of):
            message = (
                f"take {', '.join(both)} out of TRUST_CONFIRMATIONS_OF: it charges, and what it "
                "charged for one order could be confirmed for another"
            )
            raise ValueError(message)

    @property
    def own_gateways(self) -> frozenset[str]:
        """Return the names under which our charges are reported."""
        return frozenset().union(*map(self.reported_by, self.gateway))

    def reported_by(self, gateway: GatewayName) -> frozenset[str]:
        """Return the names under which a gateway reports its charges."""
        return self.gateway_names if gateway == "http" else frozenset({gateway})

    def access(self, name: Literal["gateway", "provider"]) -> HttpAccess:
        """Return how to reach the gateway or the provider over HTTP."""
        return HttpAccess(
            url=getattr(self, f"{name}_url"),
            token=getattr(self, f"{name}_token"),
            username=getattr(self, f"{name}_username"),
            password=getattr(self, f"{name}_password"),
        )

    def _check_port(self, name: str, kind: str, access: HttpAccess) -> None:
        upper = name.upper()
        if kind == "sandbox":
            instead = f"set {upper}=http and {upper}_URL"
            refuse_outside_demo(self.perennial_environment, f"{upper}=sandbox", instead)
        elif access.url is None:
            message = f"set {upper}_URL to the address of the {name}"
            raise ValueError(message)
        elif not is_private(access.url):
            instead = f"set {upper}_URL to an https:// address"
            refuse_outside_demo(self.perennial_environment, "http to another machine", instead)
        if (access.username is None) != (access.password is None):
            message = f"set {upper}_USERNAME and {upper}_PASSWORD_FILE, or neither"
            raise ValueError(message)
        if access.token is not None and access.password is not None:
            message = f"set {upper}_TOKEN_FILE, or {upper}_USERNAME and _PASSWORD_FILE, not both"
            raise ValueError(message)


def policy_of(settings: OrdersSettings) -> Policy:
    """Return the policy that `settings` make.

    Raises:
        ConfigurationError: the file of blocked accounts cannot be read.
    """
    return Policy(
        esim_hash_salt=settings.esim_hash_salt.get_secret_value(),
        own_gateways=settings.own_gateways,
        trusted_gateways=settings.trust_confirmations_of,
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
