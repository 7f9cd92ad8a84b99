"""Settings from the environment only, with `<NAME>_FILE` for secrets; one prefix per service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.registry import SHARD_COUNT_DEFAULT
from services.runtime.authenticity import EventKeysText
from services.runtime.clock.virtual_clock import VARIABLE as VIRTUAL_CLOCK
from services.runtime.environment import VARIABLE, Environment, refuse_outside_demo
from services.runtime.errors import ConfigurationError
from services.runtime.hosts import is_address, is_loopback
from services.runtime.key_ring import KeyRingText
from services.runtime.log.event_log import LEASE_SECONDS_MAX
from services.runtime.plain_words import problems_of
from services.runtime.postgres.dsn import verified

SHARED: Final = frozenset({VARIABLE.lower(), VIRTUAL_CLOCK.lower()})
"""Settings whose variable has no prefix: one for all services."""


def _postgres_dsn(value: SecretStr) -> SecretStr:
    try:
        verified(value.get_secret_value())
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return value


def _addresses(value: str) -> str:
    if not all(is_address(each.strip()) for each in value.split(",")):
        message = "write host:port, and a comma between several; the port from 1 to 65535"
        raise ValueError(message)
    return value


class KafkaSettings(BaseSettings):
    """How to reach the broker, and the keys of what our services write to it."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    perennial_environment: Environment = "production"
    bootstrap_servers: Annotated[str, Field(min_length=3), AfterValidator(_addresses)]
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None
    event_keys: EventKeysText | None = None
    anchor_keys: KeyRingText | None = None

    @model_validator(mode="after")
    def _plain_text_is_asked_for(self) -> Self:
        if "kafka_security_protocol" in self.model_fields_set or self.kafka_is_local():
            return self
        if self.perennial_environment != "demo":
            message = (
                "set KAFKA_SECURITY_PROTOCOL to SASL_SSL or SSL; PLAINTEXT, where the network to "
                "Kafka is trusted, has to be said"
            )
            raise ValueError(message)
        return self

    def kafka_is_local(self) -> bool:
        """Return whether every broker that is named is on this machine."""
        servers = self.bootstrap_servers.split(",")
        return all(is_loopback(each.strip().rpartition(":")[0].strip("[]")) for each in servers)


FetchWait = Annotated[int, Field(ge=1, le=5_000)]
"""Milliseconds for which the broker gathers records before it answers."""


class RuntimeSettings(KafkaSettings):
    """What every service needs. Sub-classes set `env_prefix`, for example `PERENNIAL_ORDERS_`."""

    postgres_dsn: Annotated[SecretStr, AfterValidator(_postgres_dsn)]
    postgres_pool_size: int = Field(default=6, ge=3, le=100)
    postgres_timeout_seconds: int = Field(default=30, ge=1)
    kafka_session_timeout_ms: int = Field(default=10_000, ge=1_000)
    shard_count: int = Field(default=SHARD_COUNT_DEFAULT, ge=1, le=1024)
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    batch_records_max: int = Field(default=500, ge=1, le=5_000)
    fetch_wait_ms: FetchWait = 50
    start_timeout_seconds: int = Field(default=60, ge=1)
    stop_timeout_seconds: int = Field(default=30, ge=1)
    dead_letter_limit: int = Field(default=1_000, ge=1)
    effect_concurrency: int = Field(default=500, ge=1, le=5_000)
    effect_lease_seconds: int = Field(default=60, ge=1, le=LEASE_SECONDS_MAX)
    look_up_first: bool = False
    anchor_folder: Path | None = None
    anchor_seconds: float = Field(default=3_600, gt=0)
    watchdog_seconds: float = Field(default=30, gt=0)
    ready_lag_max: int = Field(default=10_000, ge=0)
    log_format: Literal["auto", "json", "pretty"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    perennial_virtual_clock: Path | None = None

    @model_validator(mode="after")
    def _only_a_demo_has_another_time(self) -> Self:
        if self.perennial_virtual_clock is not None:
            refuse_outside_demo(self.perennial_environment, f"{VIRTUAL_CLOCK}", "leave it out")
        return self


SettingsT = TypeVar("SettingsT", bound=KafkaSettings)


def load_settings(model: type[SettingsT], environ: Mapping[str, str] | None = None) -> SettingsT:
    """Read `model` from the environment, and each `<NAME>_FILE` from the file it names.

    Raises:
        ConfigurationError: everything that is missing or wrong, a line each, without any value.
    """
    environ = os.environ if environ is None else environ
    prefix = model.model_config.get("env_prefix", "")
    from_files, problems = _read_secret_files(prefix, model, environ)
    values = {
        name: environ[variable]
        for name in model.model_fields
        if (variable := variable_of(prefix, name)) in environ
    }
    try:
        settings = model.model_validate(values | from_files, strict=False)
    except ValidationError as error:
        for problem in problems_of(error):
            said = problem["msg"]
            if not problem["loc"]:
                problems.append(f"{prefix}*: {said}")
                continue
            variable = variable_of(prefix, "_".join(str(part) for part in problem["loc"]))
            word = "is missing" if problem["type"] == "missing" else f"is wrong: {said}"
            problems.append(f"{variable} {word}")
        raise ConfigurationError(_listed(problems)) from None
    if problems:
        raise ConfigurationError(_listed(problems))
    return settings


def variable_of(prefix: str, name: str) -> str:
    """Return the variable of a setting."""
    return (name if name in SHARED else f"{prefix}{name}").upper()


def _read_secret_files(
    prefix: str, model: type[KafkaSettings], environ: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    values: dict[str, str] = {}
    problems: list[str] = []
    for name in model.model_fields:
        variable = f"{prefix}{name}_file".upper()
        if variable not in environ or f"{name}_file" in model.model_fields:
            continue
        try:
            values[name] = Path(environ[variable]).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{variable} cannot be read ({type(error).__name__}): mount the secret")
    return values, problems


def _listed(problems: list[str]) -> str:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return f"the configuration is not usable; set these variables (see docs/CONFIGURATION.md):\n{lines}"
