"""Orders on a database of their own, for tests of what leaves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.orders.orders_database import Orders, orders_on


@pytest.fixture
async def orders(fresh_database: str, tmp_path: Path) -> AsyncIterator[Orders]:
    """Return orders that run on a real database."""
    async with orders_on(fresh_database, tmp_path) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the files go."""
    made = tmp_path / "archive"
    made.mkdir()
    return made
