"""What waits for a parked shard, and how."""

from __future__ import annotations

from typing import Final

from services.runtime.errors import Poison
from services.runtime.flow.work import Parsed

SHARD_PARKED: Final = "shard_parked"


def stands_still(item: Parsed, parked: frozenset[int]) -> bool:
    """Say whether the partition of a record must stand still before it.

    That of a parked shard does, and one whose next event was sent to a parked shard: its order counts.
    """
    if item.record.partition in parked:
        return True
    return item.sequenced is not None and item.work is not None and item.work.shard in parked


def waits(item: Parsed, parked: frozenset[int]) -> bool:
    """Say whether a record of a parked shard waits that lies in another partition, or was kept.

    What is missing in the order of the shard must be taken, or it could never go on.
    """
    return item.work is not None and item.sequenced is None and item.work.shard in parked


def check_parked(item: Parsed, parked: frozenset[int]) -> None:
    """Raise `Poison` when it waits."""
    if item.work is not None and waits(item, parked):
        message = (
            f"shard {item.work.shard} is parked, and this waits for it: see `perennial shards list`"
        )
        raise Poison("shard_parked", message)
