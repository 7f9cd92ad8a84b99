"""The three services as processes: what is in their environment, and when they are ready."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.local.errors import StackError
from deploy.local.folder import write_private
from deploy.local.ports import HOST
from deploy.local.processes import Child, Processes
from services.runtime.clock.virtual_clock import VARIABLE as VIRTUAL_CLOCK
from services.runtime.environment import VARIABLE
from services.runtime.settings import KafkaSettings, load_settings

SERVICES: Final = ("orders", "ledger", "notifier")
_PROBE_SECONDS: Final = 5
_ANCHOR_SECONDS: Final = "300"
_SECRETS: Final = ("POSTGRES_DSN", "EVENT_KEYS", "ANCHOR_KEYS", "ESIM_HASH_SALT")

SMS_SANDBOX: Final = {"SMS": "sandbox", "SMS_SENDER": "Perennial"}
"""What has the notifier write SMS into files; without it, customers get emails alone."""


@dataclass(frozen=True, slots=True)
class LocalAddresses:
    """Where the parts of a running system are; `postgres` and `http` are by service."""

    bootstrap_servers: str
    postgres: Mapping[str, str]
    http: Mapping[str, str]
    smtp_port: int
    sandbox_folder: Path
    esim_hash_salt: str
    event_keys: str | None = None
    """The keys of all services; each gets its own."""
    heads: tuple[Path, str] | None = None
    """The folder that heads are kept in, and the key that signs them."""
    clock_file: Path | None = None
    """What says how far the clock of the stack is ahead, where it is virtual."""
    kafka_logins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By user of the broker, the settings that let it in; empty where everybody is let in."""

    @property
    def sms_folder(self) -> Path:
        """Where the sandbox writes the SMS that it takes."""
        return self.sandbox_folder / "sms"

    def kafka(self, user: str) -> dict[str, str]:
        """Return the settings by which `user` reaches the broker, without their prefix."""
        login = self.kafka_logins[user] if self.kafka_logins else {}
        return {"BOOTSTRAP_SERVERS": self.bootstrap_servers, **login}

    def kafka_settings(self, user: str) -> KafkaSettings:
        return load_settings(KafkaSettings, self.kafka(user))

    def environment(self, service: str) -> dict[str, str]:
        """Return the settings of one service: where everything is, logs as JSON."""
        own = {
            "POSTGRES_DSN": self.postgres[service],
            **self.kafka(service),
            "HTTP_HOST": HOST,
            "HTTP_PORT": self.http[service].rpartition(":")[2],
            "LOG_FORMAT": "json",
        }
        if self.event_keys is not None:
            own["EVENT_KEYS"] = keys_of(service, self.event_keys)
        if self.heads is not None:
            own["ANCHOR_FOLDER"], own["ANCHOR_KEYS"] = str(self.heads[0]), self.heads[1]
            own["ANCHOR_SECONDS"] = _ANCHOR_SECONDS
        if service == "orders":
            own["ESIM_HASH_SALT"] = self.esim_hash_salt
            own["GATEWAY"] = own["PROVIDER"] = "sandbox"
            own["SANDBOX_JOURNAL_FOLDER"] = str(self.sandbox_folder)
        if service == "notifier":
            own["SMTP_HOST"] = HOST
            own["SMTP_PORT"] = str(self.smtp_port)
            own["SMTP_TLS"] = "none"
            own["FROM_ADDRESS"] = "billing@perennial.example"
            own["SMS_FOLDER"] = str(self.sms_folder)
        named = {f"PERENNIAL_{service.upper()}_{name}": value for name, value in own.items()}
        shared = {VARIABLE: "demo"}
        if self.clock_file is not None:
            shared[VIRTUAL_CLOCK] = str(self.clock_file)
        return shared | named


def keys_of(service: str, keys: str) -> str:
    """Return the lines of a file with all keys of events that a service is given."""
    lines = keys.splitlines()
    return "\n".join(line for line in lines if service in line.partition(":")[0].split("/")[:2])


def start_service(  # noqa: PLR0913 - what differs between the services that tests start
    processes: Processes,
    service: str,
    addresses: LocalAddresses,
    *,
    settings: Mapping[str, str] | None = None,
    name: str | None = None,
    secrets: Path | None = None,
) -> Child:
    """Start one service; `settings` are further environment variables and come last.

    With a folder for `secrets`, they are in files there and not in the environment.
    """
    own = addresses.environment(service)
    if secrets is not None:
        own = _with_files(own, service, secrets)
    environment = os.environ | own | dict(settings or {})
    return processes.start(
        name or service,
        [sys.executable, "-m", f"services.{service}"],
        environment=environment,
    )


def _with_files(environment: Mapping[str, str], service: str, folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    moved = dict(environment)
    for name in _SECRETS:
        variable = f"PERENNIAL_{service.upper()}_{name}"
        if variable in moved:
            file = folder / f"{service}.{name.lower().replace('_', '-')}"
            write_private(file, moved.pop(variable))
            moved[f"{variable}_FILE"] = str(file)
    return moved


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
