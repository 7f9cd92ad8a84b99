"""Whether an event of our own services is the next one of its shard: numbers, repeats and gaps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.envelope import Envelope
from services.runtime.errors import Park
from services.runtime.log.event_log import Transaction

SEQUENCE_GAP: Final = "sequence_gap"
SEQUENCE_CONFLICT: Final = "sequence_conflict"


def is_next(tx: Transaction, envelope: Envelope, partition: int) -> bool:
    """Say whether a service's event is the next one of its shard; a repeat is not.

    Raises:
        Park: its sequence jumps ahead, or another event already bears it.
    """
    last = tx.last_sequences.get((envelope.source, partition))
    taken = last.sequence if last else 0
    sequence = envelope.sequence or 0
    if sequence == taken + 1:
        return True
    if sequence > taken + 1:
        message = (
            f"event {sequence} of {envelope.source} came after {taken}: what lies between is "
            "missing. Have its service publish it again, then `perennial shards resume`"
        )
        raise Park(SEQUENCE_GAP, message)
    known = tx.taken.get((envelope.source, partition, sequence))
    if known is None and last is not None and sequence == taken:
        known = last.event_id
    if known is not None and known != envelope.id:
        message = (
            f"event {sequence} of {envelope.source} is another one than the one that was taken: "
            "either it is forged, or its service lost what it had published; see docs/OPERATIONS.md"
        )
        raise Park(SEQUENCE_CONFLICT, message)
    return False


def repeats(
    tx: Transaction, sequenced: Iterable[tuple[Envelope, int]]
) -> set[tuple[str, int, int]]:
    """Return the numbers that were taken before, of (envelope, partition): as a rule there is none."""
    return {
        (envelope.source, partition, envelope.sequence or 0)
        for envelope, partition in sequenced
        if (last := tx.last_sequences.get((envelope.source, partition))) is not None
        and (envelope.sequence or 0) <= last.sequence
    }
