"""What a record would become: the services' own parsers, without a database and without a decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from schemas import EVENT_TYPES
from schemas.topics import TOPICS
from services.ledger.handlers import build_processor as ledger
from services.ledger.rules.rule_file import load_rules
from services.notifier.handlers import build_processor as notifier
from services.notifier.notification.policy import Policy as NotifierPolicy
from services.orders.catalogue.catalogue_file import CATALOGUE_DEFAULT, load_catalogue
from services.orders.handlers import build_processor as orders
from services.orders.order.policy import Policy as OrdersPolicy
from services.orders.order.routing import Routing
from services.orders.order.rules import Rules
from services.runtime.errors import PerennialError, Poison
from services.runtime.flow.intake.parsing import RecordParser
from services.runtime.kafka.records.cloudevents import Record, read_record
from services.runtime.processor import Processor

Outcome = Literal["accepted", "ignored", "poison"]
UNKNOWN_TYPE: Final = "no_service_takes_it"
CHECKED_TOPICS: Final = {topic.name: topic for topic in TOPICS if topic.groups}
"""Topics that a service of ours reads."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one service makes of a record; `reason` and `advice` repeat nothing of it."""

    service: str
    outcome: Outcome
    reason: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one record; `event_type` is None when it is none of ours."""

    place: str
    event_type: str | None
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """Poison when any service cannot read it, accepted when one of the others takes it."""
        outcomes = {each.outcome for each in self.findings}
        return next((one for one in ("poison", "accepted") if one in outcomes), "ignored")


class RecordChecker:
    """Checks records of one topic for all services that read it."""

    def __init__(self, topic: str, shard_count: int) -> None:
        """Prepare the parsers of the services that read `topic`, which has `shard_count` partitions."""
        self._parsers = [
            (processor.group, RecordParser(processor, shard_count))
            for processor in _processors()
            if topic in {subscription.topic for subscription in processor.subscriptions}
        ]

    def check(self, record: Record, place: str, now: datetime) -> Verdict:
        """Return what the services make of `record`; nothing is kept."""
        findings = tuple(_finding(name, parser, record, now) for name, parser in self._parsers)
        return Verdict(place, _type_of(record), findings)


def _processors() -> Iterator[Processor]:
    """Yield the services as far as parsing needs them: nothing of these settings is used by it."""
    policy, routing = OrdersPolicy(esim_hash_salt=""), Routing.to("any")
    yield orders(Rules(load_catalogue(CATALOGUE_DEFAULT), policy, routing), {})
    yield ledger(rules=load_rules(), low_balance={})
    yield notifier(NotifierPolicy(), {})


def _finding(service: str, parser: RecordParser, record: Record, now: datetime) -> Finding:
    try:
        parsed = parser.parse(record, now)
    except PerennialError as error:
        return Finding(service, "poison", type(error).__name__.lower(), str(error))
    if parsed.poison is not None:
        return Finding(service, "poison", parsed.poison.reason, str(parsed.poison))
    if parsed.ignored is not None:
        return Finding(service, "ignored", str(parsed.ignored.reason))
    if parsed.work is None:
        return Finding(service, "ignored", UNKNOWN_TYPE)
    return Finding(service, "accepted")


def _type_of(record: Record) -> str | None:
    """Return the type if it is one of ours: any other is the sender's text, and is not repeated."""
    try:
        envelope, _ = read_record(record)
    except Poison:
        return None
    return envelope.type if envelope.type in EVENT_TYPES else None
