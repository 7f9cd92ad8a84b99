"""How the command line reaches Kafka: the same settings as those of a service."""

from __future__ import annotations

import logging
import os

from pydantic_settings import SettingsConfigDict

from services.cli.addresses import load_addresses
from services.runtime.settings import KafkaSettings, load_settings


class BrokerSettings(KafkaSettings):
    """The broker, from `PERENNIAL_BOOTSTRAP_SERVERS` and `PERENNIAL_KAFKA_*`."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_")


def broker_settings(bootstrap_servers: str | None = None) -> BrokerSettings:
    """Return how to reach the broker that is named here, by the environment or by the stack.

    Raises:
        ConfigurationError: no broker is known, or a setting is wrong.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it repeats, we say once
    environ = dict(os.environ)
    if bootstrap_servers is None:
        addresses = load_addresses()
        bootstrap_servers = addresses.bootstrap_servers
        for kind, file in addresses.key_files.items():
            if (variable := f"PERENNIAL_{kind.upper()}_KEYS") not in environ:
                environ.setdefault(f"{variable}_FILE", file)
        if "PERENNIAL_KAFKA_SECURITY_PROTOCOL" not in environ:
            environ |= {f"PERENNIAL_{name}": each for name, each in addresses.kafka_login.items()}
    environ["PERENNIAL_BOOTSTRAP_SERVERS"] = bootstrap_servers
    return load_settings(BrokerSettings, environ)


async def admitted(settings: KafkaSettings) -> KafkaSettings:
    """Return `settings` once the broker took them, or when it cannot be reached now.

    Raises:
        ConfigurationError: it refuses the login, or is not trusted.
    """
    # Who only wants the settings does not wait for the client.
    from services.runtime.kafka.access import confirm_access  # noqa: PLC0415
    from services.runtime.kafka.client import client_options  # noqa: PLC0415

    await confirm_access(settings, client_options(settings))
    return settings
