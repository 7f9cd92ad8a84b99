"""One run without faults, for its books: what every run with faults must come to as well."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.faults.stream import Stream, start_services
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import System

Books = Mapping[tuple[int, str, str], int]
_DATABASE = "undisturbed"


@pytest.fixture(scope="session")
def undisturbed_books(infrastructure: Infrastructure) -> Books:
    """Return the balances that the stream leads to when nothing goes wrong."""
    asyncio.run(_create_database(infrastructure.admin_dsn))
    dsn = urlunsplit(urlsplit(infrastructure.admin_dsn)._replace(path=f"/{_DATABASE}"))
    with System(infrastructure, dsn) as system:
        start_services(system)
        with Stream(system) as stream:
            pass
        stream.outcome.check()
        return stream.outcome.balances()


async def _create_database(admin_dsn: str) -> None:
    connection = await asyncpg.connect(admin_dsn)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {_DATABASE}")
    finally:
        await connection.close()
