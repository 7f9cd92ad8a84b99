"""The port to whoever knows which order a gateway's transaction serves."""

from __future__ import annotations

from typing import Protocol


class Claims(Protocol):
    """Says which order a gateway's transaction serves."""

    async def claim(self, gateway: str, gateway_txn_id: str, stream_id: str) -> str:
        """Claim the transaction for `stream_id`, durably, and return the stream that has it.

        Raises:
            Transient: it is not known; ask again.
        """
