"""The fact that a message tells of, as it travels with the effect: no address, no name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from schemas import EVENT_TYPES
from schemas.envelope import Envelope, Event, name_based_uuid, utc_text
from services.notifier.notification.outcomes import SentText
from services.runtime.effect import JsonObject
from services.runtime.errors import Park

_NAMESPACE: Final = UUID("0c1f7a6e-5b0e-5f7c-8a36-2a3c1d0e9b45")


@dataclass(frozen=True, slots=True)
class Fact:
    """One event to tell of. Without a contact until `contact_by`, nobody is told.

    `admitted` is the recipient in whose name it had its turn, and needs no other one. `unanswered`
    is what was sent without an answer: until `look_up_by` the other side is asked about it.

    `key` is the fact's in the whole system, and names its notification, effect and message: an
    event id alone may come from two sources, or twice from one that is wrong.
    """

    key: UUID
    event_id: UUID
    type: str
    account_id: str
    occurred_at: datetime
    body: str
    contact_by: datetime
    send_by: datetime | None = None
    admitted: str | None = None
    unanswered: SentText | None = None
    look_up_by: datetime | None = None

    @classmethod
    def of(cls, envelope: Envelope, event: Event, contact_by: datetime) -> Self:
        """Take what the email will need from a consumed event."""
        place = f"{envelope.source}/{envelope.id}/{envelope.partitionkey}/{envelope.sequence}"
        return cls(
            key=name_based_uuid(_NAMESPACE, place),
            event_id=envelope.id,
            type=envelope.type,
            account_id=event.account_id,
            occurred_at=envelope.time,
            body=event.body().decode(),
            contact_by=contact_by,
        )

    @classmethod
    def from_payload(cls, payload: JsonObject) -> Self:
        unanswered = payload.get("unanswered")
        return cls(
            # An email that an older version started has the event's id in all its names.
            key=UUID(payload.get("key", payload["event_id"])),
            event_id=UUID(payload["event_id"]),
            type=payload["type"],
            account_id=payload["account_id"],
            occurred_at=datetime.fromisoformat(payload["occurred_at"]),
            body=payload["body"],
            contact_by=datetime.fromisoformat(payload["contact_by"]),
            send_by=_moment(payload["send_by"]),
            admitted=payload.get("admitted"),
            unanswered=None if unanswered is None else SentText(**unanswered),
            look_up_by=_moment(payload.get("look_up_by")),
        )

    def payload(self) -> JsonObject:
        """Return the fact as the payload of an effect."""
        payload: JsonObject = {
            "key": str(self.key),
            "event_id": str(self.event_id),
            "type": self.type,
            "account_id": self.account_id,
            "occurred_at": utc_text(self.occurred_at),
            "body": self.body,
            "contact_by": utc_text(self.contact_by),
            "send_by": None if self.send_by is None else utc_text(self.send_by),
            "admitted": self.admitted,
        }
        if self.unanswered is not None and self.look_up_by is not None:
            payload["unanswered"] = asdict(self.unanswered)
            payload["look_up_by"] = utc_text(self.look_up_by)
        return payload

    def to_send_by(self, deadline: datetime) -> Self:
        """Return the fact with the time after which sending is given up."""
        return replace(self, send_by=deadline)

    def admitted_to(self, recipient: str) -> Self:
        """Return the fact with the recipient in whose name it had its turn."""
        return replace(self, admitted=recipient)

    def to_look_up(self, text: SentText, deadline: datetime) -> Self:
        """Return the fact with what is looked up, and not sent again, until `deadline`."""
        return replace(self, unanswered=text, look_up_by=deadline)

    def event(self) -> Event:
        """Return the parsed body.

        Raises:
            Park: the type is unknown to this version of the code.
        """
        model = EVENT_TYPES.get(self.type)
        if model is None:
            message = f"an email about {self.type} waits: deploy the version that started it"
            raise Park("unknown_event", message)
        return model.parse(self.body.encode())


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
