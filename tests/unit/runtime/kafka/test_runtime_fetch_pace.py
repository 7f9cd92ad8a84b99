"""What the consumer asks the broker for, while records come and while none do."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from services.runtime.kafka.patches.fetch_pace import QUIET_WAIT_MS, FetchPace

QUIET = (1, QUIET_WAIT_MS)


def consumer() -> Any:
    return SimpleNamespace(
        _fetcher=SimpleNamespace(_fetch_min_bytes=1, _fetch_max_wait_ms=QUIET_WAIT_MS)
    )


def asks(consumer: Any) -> tuple[int, int]:
    fetcher = consumer._fetcher  # noqa: SLF001 - as aiokafka's
    return fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms  # noqa: SLF001 - as above


@pytest.mark.parametrize(("wait_ms", "seconds"), [(20, 0.25), (300, 0.6)])
async def test_gathers_from_the_first_record_on_until_none_has_come_for_a_while(
    wait_ms: int, seconds: float
) -> None:
    one = consumer()
    pace = FetchPace(wait_ms)
    for _ in range(3):
        pace.records_came(one)
        await asyncio.sleep(0.6 * seconds)
        assert asks(one) == (256 * 1024, wait_ms)
    await asyncio.sleep(0.6 * seconds)
    assert asks(one) == QUIET
    pace.records_came(one)
    assert asks(one) == (256 * 1024, wait_ms)
