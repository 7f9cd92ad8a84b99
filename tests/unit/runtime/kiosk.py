"""A service that has nothing of billing: a machine that hands out a drink for each coin.

Its language, its topics and its sources are its own. What the runtime does for it, it does for anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from schemas.envelope import Envelope, Event, HappenedAt, Identifier, UtcDatetime
from schemas.registry import EventRegistry, Topic
from services.runtime.effect import Start
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.processor import (
    Decision,
    Effect,
    Executor,
    Ignored,
    Processor,
    StreamKind,
    Streams,
    Subscription,
    Task,
    on,
)
from tests.controls import T0
from tests.unit.runtime.toy import Record

SHARDS: Final = 4
GUEST: Final = "guest-1"
SHARD: Final = shard_of(GUEST, SHARDS)
SOURCE: Final = "/kiosk/machine"
SCHEMA_BASE: Final = "urn:kiosk:schema:"
_NAMESPACE: Final = UUID("00000000-0000-4000-8000-0000000000bb")

COINS: Final = Topic("kiosk.coins.v1", "guest", ("machine",), "coins", source_prefix="/guest/")
DRINKS: Final = Topic("kiosk.drinks.v1", "machine", ("bar",), "drinks", source=SOURCE)


class KioskEvent(Event):
    """An event of the kiosk's language."""

    namespace = "kiosk"

    @classmethod
    def schema_uri(cls) -> str:
        """Return the kiosk's own name for the schema."""
        return f"{SCHEMA_BASE}{cls.__name__}.v{cls.schema_version}"


class CoinInserted(KioskEvent):
    """A guest put a coin in."""

    slot: Identifier
    inserted_at: HappenedAt


class DrinkDispensed(KioskEvent):
    """The machine gave a drink."""

    slot: Identifier
    dispensed_at: UtcDatetime


KIOSK: Final = EventRegistry(
    ((CoinInserted, COINS), (DrinkDispensed, DRINKS)), namespace="kiosk", schema_base=SCHEMA_BASE
)


class Reason(StrEnum):
    """Why no drink is given."""

    SLOT_IS_EMPTY = "slot_is_empty"


@dataclass(frozen=True, slots=True)
class Dispense:
    """Give a drink."""

    guest: str
    slot: str
    at: datetime


def decide(command: Dispense, given: int) -> Decision | Ignored:
    """Give a drink while there is one, and have the cup washed."""
    if given == 2:
        return Ignored(Reason.SLOT_IS_EMPTY)
    drink = DrinkDispensed(account_id=command.guest, slot=command.slot, dispensed_at=command.at)
    return Decision((drink,), (Start(f"wash/{command.slot}/{given}", "wash", {}),))


SLOTS: Final[StreamKind[int]] = StreamKind("slot", int, lambda given, _: given + 1, decide)


def on_coin(_envelope: Envelope, event: CoinInserted, now: datetime) -> Task:
    """Give the drink of the slot."""
    return Task(SLOTS.stream_id(event.slot), Dispense(event.account_id, event.slot, now))


def processor(executors: Mapping[str, Executor]) -> Processor:
    """Return the kiosk as the runtime sees a service."""
    return Processor(
        source=SOURCE,
        group="machine",
        output_topic=DRINKS.name,
        subscriptions=(Subscription(COINS.name, strict=True),),
        handlers=dict((on(CoinInserted, on_coin),)),
        streams=Streams(KIOSK, SLOTS),
        effects={kind: Effect(each) for kind, each in executors.items()},
    )


def coin(offset: int = 0, *, slot: str = "a1", source: str = "/guest/hall") -> Record:
    """Return a coin as a guest's side sends it."""
    event = CoinInserted(account_id=GUEST, slot=slot, inserted_at=T0)
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid5(_NAMESPACE, f"{offset}/{slot}")),
        "ce_source": source,
        "ce_type": CoinInserted.wire_type(),
        "ce_time": "2026-11-20T08:00:00Z",
        "content-type": "application/json",
    }
    told = [(key, value.encode()) for key, value in headers.items()]
    return Record(COINS.name, SHARD, offset, GUEST.encode(), event.body(), told)
