"""The infrastructure that tests run on: started here, or named by the environment.

PERENNIAL_TEST_INFRA is `embedded` (default), `containers`, or `external` with
PERENNIAL_TEST_BOOTSTRAP_SERVERS and PERENNIAL_TEST_ADMIN_DSN. An external one must be disposable:
topics are deleted, databases and roles are created.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tests.infrastructure import Infrastructure, open_infrastructure
from tests.infrastructure.system import System

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def infrastructure() -> Iterator[Infrastructure]:
    """A broker and a database server, shared by the session."""
    with open_infrastructure(os.environ) as found:
        yield found


@pytest.fixture
def fresh_database(infrastructure: Infrastructure) -> Iterator[str]:
    """The admin DSN of a new, empty database."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    asyncio.run(_execute(infrastructure.admin_dsn, f"CREATE DATABASE {name}"))
    yield urlunsplit(urlsplit(infrastructure.admin_dsn)._replace(path=f"/{name}"))
    asyncio.run(_execute(infrastructure.admin_dsn, f"DROP DATABASE {name} WITH (FORCE)"))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def system(infrastructure: Infrastructure, fresh_database: str) -> Iterator[System]:
    """A system that is set up, on empty topics and an empty database; no service runs yet."""
    with System(infrastructure, fresh_database) as ready:
        yield ready
