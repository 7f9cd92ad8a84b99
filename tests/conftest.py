"""The infrastructure that tests run on: started here, or named by the environment.

PERENNIAL_TEST_INFRA is `embedded` (default), `containers`, or `external` with
PERENNIAL_TEST_BOOTSTRAP_SERVERS and PERENNIAL_TEST_ADMIN_DSN. An external one must be disposable:
topics are deleted, databases and roles are created. Each worker of a parallel run has its own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.ports import choose_from_part
from tests.infrastructure import Infrastructure, open_infrastructure
from tests.infrastructure.databases import drop_database, new_database
from tests.infrastructure.system import System
from tests.infrastructure.workers import ALONE, ByFile

_numbers = itertools.count(1)

# What a busy machine takes longer for is not wrong: no property has a time limit.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_configure(config: pytest.Config) -> None:
    """Have the workers of one run choose different ports.

    Raises:
        pytest.UsageError: they would have to share the infrastructure.
    """
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        if os.environ.get("PERENNIAL_TEST_INFRA") == "external":
            raise pytest.UsageError("external infrastructure is for one process: WORKERS=0")
        choose_from_part(int(worker["workerid"].removeprefix("gw")), worker["workercount"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let those come last that need the machine for themselves."""
    items.sort(key=lambda item: item.nodeid.startswith(ALONE))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Have a file's tests run in one worker, one after the other."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def infrastructure() -> Iterator[Infrastructure]:
    """A broker and a database server, shared by the session."""
    with open_infrastructure(os.environ) as found:
        yield found


@pytest.fixture
def fresh_database(infrastructure: Infrastructure) -> Iterator[str]:
    """The admin DSN of a new, empty database."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield new_database(infrastructure.admin_dsn, name)
    drop_database(infrastructure.admin_dsn, name)


@pytest.fixture
def system(infrastructure: Infrastructure, fresh_database: str) -> Iterator[System]:
    """A system that is set up, on empty topics and an empty database; no service runs yet."""
    with System(infrastructure, fresh_database) as ready:
        yield ready
