"""What has two implementations is tested on both: in memory, and in a database of its own."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["memory", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    """Return the DSN of a fresh database; None stands for memory."""
    return None if request.param == "memory" else request.getfixturevalue("fresh_database")
