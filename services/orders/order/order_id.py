"""The id of an order, whatever was ordered. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from schemas.requests import OfOneOrder
from services.runtime.log.stream_ids import stream_id


class OrderKind(StrEnum):
    """What can be ordered, by the kind of its streams."""

    RENEWAL = "order"
    TOP_UP = "topup"


@dataclass(frozen=True, slots=True)
class OrderId:
    """Which order: ids of renewals and of top-ups are chosen apart, and may be the same text."""

    kind: OrderKind
    value: str

    @classmethod
    def renewal(cls, renewal_id: str) -> Self:
        """Return the id of a renewal."""
        return cls(OrderKind.RENEWAL, renewal_id)

    @classmethod
    def top_up(cls, topup_id: str) -> Self:
        """Return the id of a top-up."""
        return cls(OrderKind.TOP_UP, topup_id)

    @classmethod
    def of(cls, event: OfOneOrder) -> Self:
        """Return the order that an event is about, which names exactly one."""
        if event.renewal_id is not None:
            return cls.renewal(event.renewal_id)
        return cls.top_up(str(event.topup_id))

    @property
    def stream_id(self) -> str:
        """Return the stream of the order, which is also the key its effects are held under."""
        return stream_id(self.kind, self.value)

    @property
    def renewal_id(self) -> str | None:
        """Return the id as an event about either has it."""
        return self.value if self.kind is OrderKind.RENEWAL else None

    @property
    def topup_id(self) -> str | None:
        """Return the id as an event about either has it."""
        return self.value if self.kind is OrderKind.TOP_UP else None
