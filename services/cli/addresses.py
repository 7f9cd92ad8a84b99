"""Where Postgres and Kafka are: from the environment, else from the running local stack's file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.runtime.errors import ConfigurationError

SERVICES: Final = ("orders", "ledger", "notifier")
STACK_FILE: Final = Path(os.environ.get("PERENNIAL_STATE_FOLDER", ".perennial")) / "stack.json"


@dataclass(frozen=True, slots=True)
class Addresses:
    """The broker, and one DSN for each service that has one."""

    bootstrap_servers: str
    postgres: dict[str, str]

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
    """Read PERENNIAL_BOOTSTRAP_SERVERS and PERENNIAL_<SERVICE>_POSTGRES_DSN, else the stack's file.

    Raises:
        ConfigurationError: no broker is known.
    """
    stack = json.loads(STACK_FILE.read_text()) if STACK_FILE.is_file() else {}
    postgres = dict(stack.get("postgres", {}))
    for service in SERVICES:
        if dsn := os.environ.get(f"PERENNIAL_{service.upper()}_POSTGRES_DSN"):
            postgres[service] = dsn
    servers = os.environ.get("PERENNIAL_BOOTSTRAP_SERVERS") or stack.get("bootstrap_servers")
    if not servers:
        message = "set PERENNIAL_BOOTSTRAP_SERVERS, or start a stack with `make up`"
        raise ConfigurationError(message)
    return Addresses(servers, postgres)
