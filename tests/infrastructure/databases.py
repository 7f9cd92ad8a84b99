"""Databases of the tests on one server."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg


def new_database(admin_dsn: str, name: str) -> str:
    """Return the admin DSN of a new, empty database; one of that name is dropped first."""
    drop_database(admin_dsn, name)
    asyncio.run(_execute(admin_dsn, f"CREATE DATABASE {name}"))
    return urlunsplit(urlsplit(admin_dsn)._replace(path=f"/{name}"))


def drop_database(admin_dsn: str, name: str) -> None:
    """Drop a database if there is one, whoever is connected."""
    asyncio.run(_execute(admin_dsn, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
