"""`perennial setup`: the admin step from the command line."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from schemas.topics import SHARD_COUNT_DEFAULT
from services.cli.addresses import SERVICES
from services.cli.broker import broker_settings
from services.cli.setup import set_up
from services.runtime.errors import ConfigurationError


def setup(
    admin_dsn: Annotated[
        str, typer.Option(envvar="PERENNIAL_ADMIN_DSN", help="A superuser's DSN.")
    ],
    bootstrap_servers: Annotated[str, typer.Option(envvar="PERENNIAL_BOOTSTRAP_SERVERS")],
    shard_count: Annotated[int, typer.Option(help="Fixed for ever.")] = SHARD_COUNT_DEFAULT,
    replication_factor: Annotated[int, typer.Option(help="3 in production.")] = 3,
) -> None:
    """Create roles, schemas, tables and topics. Passwords: PERENNIAL_<SERVICE>_PASSWORD[_FILE]."""
    settings = broker_settings(bootstrap_servers)
    passwords = {service: _password(service) for service in SERVICES}
    asyncio.run(
        set_up(
            admin_dsn=admin_dsn,
            kafka=settings,
            passwords=passwords,
            shard_count=shard_count,
            replication_factor=replication_factor,
        )
    )
    typer.echo(f"ready: {', '.join(SERVICES)} with {shard_count} shards")


def _password(service: str) -> str:
    name = f"PERENNIAL_{service.upper()}_PASSWORD"
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    if password := os.environ.get(name):
        return password
    message = f"set {name}_FILE (or {name}) to the password that {service} will log in with"
    raise ConfigurationError(message)
