"""Which Postgres failures pass, so that the same work can succeed later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from services.runtime.errors import Transient

UNWELL: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
)
"""What a restart, a fail-over, a deadlock or a full server raises.

InternalClientError: asyncpg resets a connection that it returns to its pool, and does not always
see that the server went away in the middle of a command. The pool drops that connection.
"""


@contextmanager
def transient_when_unwell() -> Iterator[None]:
    """Turn a failure of the server or the connection into `Transient`; let defects through."""
    try:
        yield
    except UNWELL as error:
        # asyncpg raises InterfaceError for a closed connection, and for wrong use of its own API.
        if isinstance(error, asyncpg.InterfaceError) and "clos" not in str(error):
            raise
        message = (
            f"Postgres is unwell ({type(error).__name__}): the work is rolled back and tried again"
        )
        raise Transient(message) from error
