"""A real broker and a real database server, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import pytest


class Infrastructure(Protocol):
    """What a test needs to know; the two methods return when the part accepts connections again."""

    @property
    def bootstrap_servers(self) -> str:
        """Where Kafka clients connect."""

    @property
    def admin_dsn(self) -> str:
        """A superuser's DSN."""

    def restart_kafka(self) -> None:
        """Kill the broker and start it again."""

    def restart_postgres(self) -> None:
        """Kill the database server and start it again."""


def open_infrastructure(environ: Mapping[str, str]) -> AbstractContextManager[Infrastructure]:
    """Return what PERENNIAL_TEST_INFRA asks for."""
    kind = environ.get("PERENNIAL_TEST_INFRA", "embedded")
    if kind == "embedded":
        from tests.infrastructure import embedded  # noqa: PLC0415 - only what is asked for

        return embedded.start()
    if kind == "containers":
        from tests.infrastructure import containers  # noqa: PLC0415

        return containers.start()
    if kind == "external":
        return _external(environ)
    pytest.exit(f"PERENNIAL_TEST_INFRA is {kind!r}: write embedded, containers or external", 2)


class External:
    """Servers that somebody else runs."""

    def __init__(self, bootstrap_servers: str, admin_dsn: str) -> None:
        """Take their addresses."""
        self.bootstrap_servers = bootstrap_servers
        self.admin_dsn = admin_dsn

    def restart_kafka(self) -> None:
        """Fail: it is not ours to restart."""
        self._refuse()

    def restart_postgres(self) -> None:
        """Fail: it is not ours to restart."""
        self._refuse()

    def _refuse(self) -> None:
        pytest.fail("an external server cannot be restarted by a test: run this one embedded")


@contextmanager
def _external(environ: Mapping[str, str]) -> Iterator[External]:
    names = ("PERENNIAL_TEST_BOOTSTRAP_SERVERS", "PERENNIAL_TEST_ADMIN_DSN")
    if missing := [name for name in names if name not in environ]:
        pytest.exit(f"external infrastructure needs {' and '.join(missing)}", 2)
    yield External(*(environ[name] for name in names))
