"""A connection to one service's schema, for commands that read what the services wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from services.cli.addresses import load_addresses
from services.runtime.errors import ConfigurationError, Transient
from services.runtime.postgres.dsn import refusal, verified


@asynccontextmanager
async def connect(service: str, dsn: str | None = None) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection whose search_path is the schema of `service`.

    Raises:
        Transient: Postgres cannot be reached.
        ConfigurationError: it is not trusted.
    """
    address = verified(dsn or load_addresses().dsn(service))
    try:
        connection = await asyncpg.connect(
            address, timeout=10, server_settings={"search_path": service}
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        if reason := refusal(error):
            raise ConfigurationError(reason) from None
        message = f"the database of {service} ({type(error).__name__}): is the stack up?"
        raise Transient(message) from None
    try:
        yield connection
    finally:
        await connection.close()
