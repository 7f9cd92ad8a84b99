"""The three services as processes: what is in their environment, and when they are ready."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.errors import StackError
from deploy.local.ports import HOST
from deploy.local.processes import Child, Processes

SERVICES: Final = ("orders", "ledger", "notifier")
_PROBE_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of a running system are; `postgres` and `http` are by service."""

    bootstrap_servers: str
    postgres: Mapping[str, str]
    http: Mapping[str, str]
    smtp_port: int
    sandbox_folder: Path
    esim_hash_salt: str

    def environment(self, service: str) -> dict[str, str]:
        """Return the settings of one service: where everything is, logs as JSON."""
        own = {
            "POSTGRES_DSN": self.postgres[service],
            "BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "HTTP_HOST": HOST,
            "HTTP_PORT": self.http[service].rpartition(":")[2],
            "LOG_FORMAT": "json",
        }
        if service == "orders":
            own["ESIM_HASH_SALT"] = self.esim_hash_salt
            own["SANDBOX_JOURNAL_FOLDER"] = str(self.sandbox_folder)
        if service == "notifier":
            own["SMTP_HOST"] = HOST
            own["SMTP_PORT"] = str(self.smtp_port)
            own["SMTP_TLS"] = "none"
            own["FROM_ADDRESS"] = "billing@perennial.example"
        return {f"PERENNIAL_{service.upper()}_{name}": value for name, value in own.items()}


def start_service(
    processes: Processes,
    service: str,
    addresses: Addresses,
    *,
    settings: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Child:
    """Start one service; `settings` are further environment variables and come last."""
    environment = os.environ | addresses.environment(service) | dict(settings or {})
    return processes.start(
        name or service,
        [sys.executable, "-m", f"services.{service}"],
        environment=environment,
    )


def wait_until_ready(services: Iterable[tuple[Child, str]], seconds: float = 90) -> None:
    """Return when each child answers that it is ready, at its address.

    Raises:
        StackError: a service ended or is not ready in time.
    """
    ends_at = time.monotonic() + seconds
    for child, address in services:
        while problems := not_ready(address):
            if child.exit_code is not None:
                raise child.failed(f"ended with status {child.exit_code}")
            if time.monotonic() > ends_at:
                raise child.failed(f"is not ready after {seconds:.0f} s ({', '.join(problems)})")
            time.sleep(0.1)


def not_ready(address: str) -> list[str]:
    """Return what a service says is missing; empty when it is ready."""
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=_PROBE_SECONDS):
            return []
    except urllib.error.HTTPError as error:
        problems: list[str] = json.loads(error.read())["problems"]
        return problems
    except OSError:
        return ["no answer"]


def http_addresses(ports: Mapping[str, int]) -> dict[str, str]:
    """Return the base address of each service's probes.

    Raises:
        StackError: a service has no port.
    """
    missing = [service for service in SERVICES if service not in ports]
    if missing:
        message = f"no port for {', '.join(missing)}"
        raise StackError(message)
    return {service: f"http://{HOST}:{ports[service]}" for service in SERVICES}
