"""The world that tests of whole orders run in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.orders.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return a world whose journals lie in a folder of their own."""
    made = World(tmp_path)
    yield made
    made.close()
