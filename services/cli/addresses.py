"""Where Postgres and Kafka are: from the environment, else from the running local stack's file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from services.runtime.clock.virtual_clock import VARIABLE as VIRTUAL_CLOCK
from services.runtime.errors import ConfigurationError

SERVICES: Final = ("orders", "ledger", "notifier")
_STATE_FOLDER: Final = ".perennial"
_STACK_FILE: Final = "stack.json"
_CHECKOUT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Addresses:
    """The broker, and a DSN and the address of the probes for each service that has one."""

    bootstrap_servers: str
    postgres: dict[str, str]
    http: dict[str, str] = field(default_factory=dict)
    key_files: dict[str, str] = field(default_factory=dict)
    """By `event` and `anchor`, the files of the local stack that hold the keys."""
    kafka_login: dict[str, str] = field(default_factory=dict)
    """What the local stack's broker wants of a client, as settings without their prefix."""
    clock_file: str | None = None
    """What says how far the clock of the services is ahead, where it is virtual."""

    def dsn(self, service: str) -> str:
        """Return the DSN of `service`.

        Raises:
            ConfigurationError: none is known.
        """
        if service not in SERVICES:
            message = f"there is no service {service}: name {', '.join(SERVICES)}"
            raise ConfigurationError(message)
        if service not in self.postgres:
            message = (
                f"set PERENNIAL_{service.upper()}_POSTGRES_DSN_FILE (or ..._POSTGRES_DSN), or start "
                "a stack with `make up`"
            )
            raise ConfigurationError(message)
        return self.postgres[service]


def load_addresses() -> Addresses:
    """Read what the environment says of the broker and of each service, else the stack's file.

    Raises:
        ConfigurationError: no broker is known, or the file is not one of the stack.
    """
    stack = _stack()
    postgres = dict(stack.get("postgres", {})) | _by_service("POSTGRES_DSN")
    http = dict(stack.get("http", {})) | _by_service("HTTP")
    servers = os.environ.get("PERENNIAL_BOOTSTRAP_SERVERS")
    # Logins and keys of the local stack are for its own broker.
    ours = {} if servers else stack
    servers = servers or stack.get("bootstrap_servers")
    if not servers:
        message = "set PERENNIAL_BOOTSTRAP_SERVERS, or start a stack with `make up`"
        raise ConfigurationError(message)
    named = {kind: ours.get(f"{kind}_keys_file") for kind in ("event", "anchor")}
    keys = {kind: file for kind, file in named.items() if file}
    clock_file = os.environ.get(VIRTUAL_CLOCK) or ours.get("clock_file")
    login = dict(ours.get("kafka_login", {}))
    return Addresses(servers, postgres, http, keys, login, clock_file)


def _stack() -> dict[str, Any]:
    """Return what the file of the running stack says; nothing when none is up."""
    if (file := stack_file()) is None:
        return {}
    try:
        found = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):
        found = None
    tables = ("postgres", "http", "kafka_login")
    if not isinstance(found, dict) or any(not isinstance(found.get(n, {}), dict) for n in tables):
        message = f"{file} is not what `make up` wrote: `make down`, and `make up` again"
        raise ConfigurationError(message)
    return found


def stack_file() -> Path | None:
    """Return the file that `make up` wrote, or None when no stack is up.

    It is looked for in PERENNIAL_STATE_FOLDER where that is set, else in this folder, those above
    it and the checkout. One that belongs to somebody else is not read: it could lead anywhere.
    """
    if chosen := os.environ.get("PERENNIAL_STATE_FOLDER"):
        files = [Path(chosen) / _STACK_FILE]
    else:
        here = _here()
        folders = (here, *here.parents, _CHECKOUT)
        files = [folder / _STATE_FOLDER / _STACK_FILE for folder in folders]
    return next((file for file in files if file.is_file() and _is_ours(file)), None)


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        message = "this folder is not there any more: change to another one"
        raise ConfigurationError(message) from None


def _is_ours(file: Path) -> bool:
    return file.stat().st_uid == os.getuid()


def _by_service(name: str) -> dict[str, str]:
    """Return what PERENNIAL_<SERVICE>_<NAME>[_FILE] says, of the services for which it is set."""
    found = {each: secret(f"PERENNIAL_{each.upper()}_{name}") for each in SERVICES}
    return {service: value for service, value in found.items() if value}


def secret(name: str) -> str | None:
    """Return what the file that `<name>_FILE` names holds, else the variable `name`.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name)
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{name}_FILE cannot be read ({type(error).__name__}): name a readable file"
        raise ConfigurationError(message) from None
