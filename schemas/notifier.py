"""Events that the notifier publishes to `billing.notifications.v1`: no address, name or text."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from schemas.envelope import Event, Identifier, Sha256Hex, ShortText, UtcDatetime
from schemas.requests import Channel


class NotificationFailureReason(StrEnum):
    """Why a customer was not (or perhaps not) told."""

    RECIPIENT_REFUSED = "recipient_refused"
    MESSAGE_REFUSED = "message_refused"
    ADDRESS_NOT_SUPPORTED = "address_not_supported"
    DELIVERY_UNKNOWN = "delivery_unknown"
    CONTACT_MISSING = "contact_missing"
    DEADLINE_PASSED = "deadline_passed"


class NotificationSuppressionReason(StrEnum):
    """Why a fact got no message of its own."""

    RATE_LIMITED = "rate_limited"


class UndeliveredReason(StrEnum):
    """Why an accepted message did not arrive, or is not known to have."""

    UNDELIVERABLE = "undeliverable"
    EXPIRED = "expired"
    REJECTED = "rejected"
    UNREPORTED = "unreported"


class _OfOneFact(Event):
    notification_id: Identifier
    fact_event_id: UUID
    fact_type: ShortText
    channel: Channel
    template: Identifier
    template_version: Identifier


class NotificationSent(_OfOneFact):
    """The mail server, or the aggregator of the channel, accepted one message about one fact.

    `settled_by` and `settlement_reason` are set when a person says so: `message_id` is then what
    the person named, `locale` is `und` and `message_sha256` that of no bytes.
    """

    locale: Identifier
    message_id: ShortText
    message_sha256: Sha256Hex
    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    sent_at: UtcDatetime


class NotificationFailed(_OfOneFact):
    """No message was accepted; after `delivery_unknown` it may have been, and is not sent again.

    `settled_by` and `settlement_reason` are set when a person gave it up; the reason is then
    `deadline_passed`.
    """

    reason: NotificationFailureReason
    settled_by: Identifier | None = None
    settlement_reason: ShortText | None = None
    failed_at: UtcDatetime


class NotificationSuppressed(_OfOneFact):
    """The fact got no message of its own: another one of its kind listed it, and was accepted.

    `rate_limited`: the mailbox or number had too many of the kind. `digest_notification_id` is the
    notification whose message told of this one too; both went to the same mailbox or number.
    """

    reason: NotificationSuppressionReason
    digest_notification_id: Identifier
    suppressed_at: UtcDatetime


class NotificationDelivered(_OfOneFact):
    """The message arrived, as its channel reports: after NotificationSent, once.

    Emails are not reported. `delivered_at` is the time that the report names.
    """

    delivered_at: UtcDatetime


class NotificationUndelivered(_OfOneFact):
    """The message of NotificationSent did not arrive, as its channel reports; it is not sent again.

    `unreported`: no report came within days, so nobody knows.
    """

    reason: UndeliveredReason
    undelivered_at: UtcDatetime
