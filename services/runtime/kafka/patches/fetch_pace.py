"""How the consumer asks the broker: at once while nothing comes, for many together while it does.

aiokafka takes both numbers once, at the start, and has no other way to change them: here they are set
on its fetcher, which reads them for each request. We know of no issue.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

QUIET_BYTES_MIN: Final = 1
QUIET_WAIT_MS: Final = 500
"""The first record is answered at once, so an empty answer need not come any sooner."""
GATHERED_BYTES_MIN: Final = 256 * 1024
"""While records come, the broker answers when there is this much, or after `fetch_wait_ms`: a batch
of one record costs nearly as much as one of fifty."""
_QUIET_AFTER_SECONDS_MIN: Final = 0.25
_QUIET_AFTER_WAITS: Final = 2


class FetchPace:
    """Gathers from the first record on, until none has come for a while."""

    def __init__(self, wait_ms: int) -> None:
        """Gather for at most `wait_ms`; the consumer must begin as a quiet one."""
        self._wait_ms = wait_ms
        self._quiet_after = max(_QUIET_AFTER_SECONDS_MIN, _QUIET_AFTER_WAITS * wait_ms / 1000)
        self._timer: asyncio.TimerHandle | None = None

    def records_came(self, consumer: AIOKafkaConsumer) -> None:
        if self._timer is not None:
            self._timer.cancel()
        _ask(consumer, GATHERED_BYTES_MIN, self._wait_ms)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            self._quiet_after, _ask, consumer, QUIET_BYTES_MIN, QUIET_WAIT_MS
        )


def _ask(consumer: AIOKafkaConsumer, bytes_min: int, wait_ms: int) -> None:
    """Set what the next fetch request says."""
    fetcher = consumer._fetcher  # noqa: SLF001 - see above
    fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms = bytes_min, wait_ms  # noqa: SLF001
