"""`perennial setup`: the admin step from the command line."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from schemas.registry import SHARD_COUNT_DEFAULT
from services.cli.addresses import SERVICES, secret
from services.cli.broker import broker_settings
from services.cli.setup.setup import set_up
from services.cli.words import counted
from services.runtime.errors import ConfigurationError


def setup(
    bootstrap_servers: Annotated[str, typer.Option(envvar="PERENNIAL_BOOTSTRAP_SERVERS")],
    shard_count: Annotated[int, typer.Option(help="Fixed for ever.")] = SHARD_COUNT_DEFAULT,
    replication_factor: Annotated[int, typer.Option(help="3 in production.")] = 3,
    *,
    remove_other_access: Annotated[
        bool,
        typer.Option(help="Take away what others may do on our topics and groups at the broker."),
    ] = False,
) -> None:
    """Create roles, schemas, tables and topics.

    PERENNIAL_ADMIN_DSN_FILE names a file with a superuser's DSN, PERENNIAL_<SERVICE>_PASSWORD_FILE
    one with the password that a service will log in with; without _FILE, the variables hold them.
    """
    settings = broker_settings(bootstrap_servers)
    passwords = {service: _password(service) for service in SERVICES}
    changed = asyncio.run(
        set_up(
            admin_dsn=_secret("PERENNIAL_ADMIN_DSN", "a superuser's DSN"),
            kafka=settings,
            passwords=passwords,
            shard_count=shard_count,
            replication_factor=replication_factor,
            remove_other_access=remove_other_access,
            tell=typer.echo,
        )
    )
    if changed is None:
        typer.echo("the broker has no authorizer: everybody who reaches it may write every topic")
    else:
        typer.echo(f"access: {changed[0]} entries added, {changed[1]} removed")
    typer.echo(f"ready: {', '.join(SERVICES)} with {counted(shard_count, 'shard')}")


def _password(service: str) -> str:
    name = f"PERENNIAL_{service.upper()}_PASSWORD"
    return _secret(name, f"the password that {service} will log in with")


def _secret(name: str, what: str) -> str:
    if value := secret(name):
        return value
    message = f"set {name}_FILE to a file with {what} (or {name} to it)"
    raise ConfigurationError(message)
