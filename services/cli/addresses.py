"""Where Postgres and Kafka are: from the environment, else from the running local stack's file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.runtime.errors import ConfigurationError

SERVICES: Final = ("orders", "ledger", "notifier")
STACK_FILE: Final = Path(os.environ.get("PERENNIAL_STATE_FOLDER", ".perennial")) / "stack.json"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The broker, and a DSN and the address of the probes for each service that has one."""

    bootstrap_servers: str
    postgres: dict[str, str]
    http: dict[str, str] = field(default_factory=dict)

    def dsn(self, service: str) -> str:
        """Return the DSN of `service`.

        Raises:
            ConfigurationError: none is known.
        """
        if service not in self.postgres:
            message = (
                f"set PERENNIAL_{service.upper()}_POSTGRES_DSN, or start a stack with `make up`"
            )
            raise ConfigurationError(message)
        return self.postgres[service]


def load_addresses() -> Addresses:
    """Read what the environment says of the broker and of each service, else the stack's file.

    Raises:
        ConfigurationError: no broker is known.
    """
    stack = json.loads(STACK_FILE.read_text()) if STACK_FILE.is_file() else {}
    postgres = dict(stack.get("postgres", {})) | _by_service("POSTGRES_DSN")
    http = dict(stack.get("http", {})) | _by_service("HTTP")
    servers = os.environ.get("PERENNIAL_BOOTSTRAP_SERVERS") or stack.get("bootstrap_servers")
    if not servers:
        message = "set PERENNIAL_BOOTSTRAP_SERVERS, or start a stack with `make up`"
        raise ConfigurationError(message)
    return Addresses(servers, postgres, http)


def _by_service(name: str) -> dict[str, str]:
    """Return what PERENNIAL_<SERVICE>_<NAME> says, of the services for which it is set."""
    found = {each: os.environ.get(f"PERENNIAL_{each.upper()}_{name}") for each in SERVICES}
    return {service: value for service, value in found.items() if value}
