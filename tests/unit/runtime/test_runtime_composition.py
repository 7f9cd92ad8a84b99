"""The parts of a process can be made in any order: none waits for one that waits for it."""

from __future__ import annotations

from functools import cached_property
from unittest.mock import Mock

import pytest
import structlog

from services.runtime.app.composition import Composition
from services.runtime.clock.database_clock import DatabaseClock
from services.runtime.stopping import Stopping
from tests.controls import settings_for
from tests.unit.runtime.toy import Toy

PARTS = [name for name, made in vars(Composition).items() if isinstance(made, cached_property)]


def composition() -> Composition:
    logger = structlog.get_logger()
    return Composition(
        settings=settings_for("postgresql://nobody@127.0.0.1/none", role="x:y"),
        processor=Toy().processor(),
        pool=Mock(name="a pool that nobody opened"),
        clock=DatabaseClock(logger),
        logger=logger,
        stopping=Stopping(),
    )


@pytest.mark.parametrize("part", PARTS)
async def test_part_can_be_the_first_that_is_asked_for(part: str) -> None:
    parts = composition()
    assert getattr(parts, part) is getattr(parts, part)


async def test_process_that_stops_is_not_ready() -> None:
    parts = composition()
    parts.stopping.ask()
    assert (await parts.readiness()).problems == ["stopping"]
