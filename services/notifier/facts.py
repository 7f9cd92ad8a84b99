"""The fact that an email tells of, as it travels with the effect: no address, no name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self
from uuid import UUID

from schemas import EVENT_TYPES
from schemas.envelope import Event, utc_text
from services.runtime.errors import Halt
from services.runtime.processor import Incoming, JsonObject


@dataclass(frozen=True, slots=True)
class Fact:
    """One event to tell of. Without a contact until `contact_by`, nobody is told."""

    event_id: UUID
    type: str
    account_id: str
    occurred_at: datetime
    body: str
    contact_by: datetime
    send_by: datetime | None = None

    @classmethod
    def of(cls, incoming: Incoming, contact_by: datetime) -> Self:
        """Take what the email will need from a consumed event."""
        envelope = incoming.envelope
        return cls(
            event_id=envelope.id,
            type=envelope.type,
            account_id=incoming.event.account_id,
            occurred_at=envelope.time,
            body=incoming.body.decode(),
            contact_by=contact_by,
        )

    @classmethod
    def from_payload(cls, payload: JsonObject) -> Self:
        """Read what `payload` wrote."""
        send_by = payload["send_by"]
        return cls(
            event_id=UUID(payload["event_id"]),
            type=payload["type"],
            account_id=payload["account_id"],
            occurred_at=datetime.fromisoformat(payload["occurred_at"]),
            body=payload["body"],
            contact_by=datetime.fromisoformat(payload["contact_by"]),
            send_by=None if send_by is None else datetime.fromisoformat(send_by),
        )

    def payload(self) -> JsonObject:
        """Return the fact as the payload of an effect."""
        return {
            "event_id": str(self.event_id),
            "type": self.type,
            "account_id": self.account_id,
            "occurred_at": utc_text(self.occurred_at),
            "body": self.body,
            "contact_by": utc_text(self.contact_by),
            "send_by": None if self.send_by is None else utc_text(self.send_by),
        }

    def to_send_by(self, deadline: datetime) -> Self:
        """Return the fact with the time after which sending is given up."""
        return replace(self, send_by=deadline)

    def event(self) -> Event:
        """Return the parsed body.

        Raises:
            Halt: the type is unknown to this version of the code.
        """
        model = EVENT_TYPES.get(self.type)
        if model is None:
            message = f"an email about {self.type} waits: deploy the version that started it"
            raise Halt(message)
        return model.parse(self.body.encode())
