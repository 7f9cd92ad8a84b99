"""Parks shards whose log lacks what was published of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.runtime.log.event_log import EventLog, LogEnd, Parking
from services.runtime.logs import Logger

PUBLISHED_EVENT_LOST: Final = "published_event_lost"


class LostEvents:
    """Parks each shard that lost an event, and again when it goes on without it."""

    def __init__(self, log: EventLog, logger: Logger) -> None:
        self._log = log
        self._logger = logger
        self._told: dict[int, LogEnd] = {}

    async def park(self, acknowledged: Mapping[int, LogEnd], ends: Mapping[int, LogEnd]) -> None:
        """Park each shard of `ends`, where its log ends now; `acknowledged` is not in it.

        Raises:
            Transient: Postgres does not answer; ask again.
        """
        parked = {each.shard for each in await self._log.parkings()} if ends else set()
        for shard, end in sorted(ends.items()):
            lost = acknowledged[shard]
            if shard in parked and self._told.get(shard) == lost:
                continue
            detail = (
                f"event {lost.position} (hash {lost.hash.hex()[:16]}) was published, and the log, "
                f"which ends at {end.position}, has another one there or none: the database was put "
                "back. Nothing is published of the shard; see docs/OPERATIONS.md, Restore"
            )
            async with self._log.transaction(shards={shard}) as tx:
                await tx.park(Parking(shard, PUBLISHED_EVENT_LOST, detail))
            self._told[shard] = lost
            self._logger.error(
                "shard_parked", shard=shard, reason=PUBLISHED_EVENT_LOST, error=detail
            )
