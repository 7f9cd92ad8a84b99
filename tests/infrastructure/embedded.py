"""The embedded broker and database server, in the first state folder that nobody uses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from deploy.local.errors import StackError
from deploy.local.folder import STATE, holder
from deploy.local.stack import LocalStack

_FOLDERS: Final = 16
_RECOVERY_SECONDS: Final = 30


class Embedded:
    """A local stack without services."""

    def __init__(self, stack: LocalStack) -> None:
        """Use a stack whose infrastructure is up."""
        self._stack = stack

    @property
    def bootstrap_servers(self) -> str:
        """Where Kafka clients connect."""
        return self._stack.bootstrap_servers

    @property
    def admin_dsn(self) -> str:
        """A superuser's DSN."""
        return self._stack.admin_dsn

    def restart_kafka(self) -> None:
        """Kill the broker and start it again."""
        self._stack.broker.child.kill()
        self._stack.broker.start()

    def restart_postgres(self) -> None:
        """Kill the database server and start it again."""
        self._stack.postgres.child.kill()
        ends_at = time.monotonic() + _RECOVERY_SECONDS
        while True:
            try:
                return self._stack.postgres.start()
            except StackError:
                # Its own children may hold the shared memory for a moment longer.
                if time.monotonic() > ends_at:
                    raise


@contextmanager
def start() -> Iterator[Embedded]:
    """Yield running servers with no data."""
    with _in_free_folder() as stack:
        stack.start_infrastructure()
        yield Embedded(stack)


def _in_free_folder() -> LocalStack:
    for path in (STATE / f"test-{number}" for number in range(_FOLDERS)):
        if holder(path) is None:
            try:
                return LocalStack(path, fresh=True)
            except StackError:
                if holder(path) is None:
                    raise
                # Another run took it a moment ago.
    message = f"{_FOLDERS} test runs have a stack in {STATE}: wait for one of them"
    raise StackError(message)
