"""A toy service without billing: it counts what is asked in each stream, and may want effects.

Requests come as `TopUpRequested`, the other service's events as `LowBalanceDetected`; the fact that
it writes is `OrderExpired`. Of all their fields only ids and the amount mean something here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from schemas import BILLING
from schemas.envelope import Envelope, Event
from schemas.ledger import LowBalanceDetected
from schemas.money import Money
from schemas.orders import OrderExpired
from schemas.requests import PaymentInstruction, PaymentMethod, PaymentMode, TopUpRequested
from schemas.topics import LEDGER, ORDERS, REQUESTS, Source
from services.runtime.authenticity import EventVerifier
from services.runtime.effect import EffectChange
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.journal import Journal
from services.runtime.flow.tracing import UNTRACED, Tracing
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.kafka.records.record_size import Headers
from services.runtime.log.event_log import EventLog
from services.runtime.log.memory_log import MemoryEventLog
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

SHARDS: Final = 4
ACCOUNT: Final = "acct-1"
SHARD: Final = shard_of(ACCOUNT, SHARDS)
OTHER_ACCOUNT: Final = next(
    name for name in (f"acct-{n}" for n in range(2, 99)) if shard_of(name, SHARDS) != SHARD
)
NAMESPACE: Final = UUID("00000000-0000-4000-8000-0000000000aa")


TOYS: Final = BILLING
TOPICS: Final = TOYS.topics
FIELDS: Final = TOYS.field_names
ORDERS_OF: Final[StreamKind[int]] = StreamKind("order", int, lambda state, _: state + 1)
WALLETS_OF: Final[StreamKind[int]] = StreamKind("wallet", int, lambda state, _: state + 1)


class Quiet(StrEnum):
    """Why the toy does nothing."""

    NOTHING_TO_COUNT = "nothing_to_count"


@dataclass(frozen=True, slots=True)
class Count:
    """Count one more in the stream; nothing when `amount` is 0."""

    account_id: str
    topup_id: str
    amount: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """An effect came to its end; `decision` is what follows."""

    decision: Decision


@dataclass(slots=True)
class Toy:
    """What the toy's decider does: `effects` of each count, `troubles` by amount; `seen` states."""

    effects: Callable[[Count], tuple[EffectChange, ...]] = lambda _: ()
    troubles: Mapping[int, Exception] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)

    def decide(self, command: Count | Done, state: int) -> Decision | Ignored:
        """Count, or record what an effect brought."""
        if isinstance(command, Done):
            return command.decision
        self.seen.append(state)
        if command.amount in self.troubles:
            raise self.troubles[command.amount]
        if command.amount == 0:
            return Ignored(Quiet.NOTHING_TO_COUNT)
        return Decision((counted(command.account_id, command.topup_id),), self.effects(command))

    def processor(
        self,
        executors: Mapping[str, Executor] | None = None,
        *,
        source: str = Source.ORDERS,
        records_incoming: bool = False,
    ) -> Processor:
        """Return the toy as the runtime sees a service."""
        return Processor(
            source=source,
            group=source.rpartition("/")[2],
            output_topic=ORDERS.name,
            subscriptions=(
                Subscription(REQUESTS.name, strict=True),
                Subscription(LEDGER.name, strict=False),
            ),
            handlers=dict(
                (on(TopUpRequested, on_requested), on(LowBalanceDetected, on_low_balance))
            ),
            streams=Streams(
                TOYS, *(kind.decided_by(self.decide) for kind in (ORDERS_OF, WALLETS_OF))
            ),
            effects={kind: Effect(each) for kind, each in (executors or {}).items()},
            records_incoming=records_incoming,
        )


def counted(account_id: str = ACCOUNT, topup_id: str = "t-1") -> OrderExpired:
    """Return the one fact that the toy writes."""
    return OrderExpired(account_id=account_id, topup_id=topup_id, expired_at=T0)


def on_requested(_envelope: Envelope, event: TopUpRequested, now: datetime) -> Task:
    """Count in the stream of the top-up."""
    command = Count(event.account_id, event.topup_id, event.amount.amount_minor, now)
    return Task(ORDERS_OF.stream_id(event.topup_id), command)


def on_low_balance(_envelope: Envelope, event: LowBalanceDetected, now: datetime) -> Task | Ignored:
    """Count in the stream of the account; a balance of 1 is ignored before it is a command."""
    amount = event.balance.amount_minor
    if amount == 1:
        return Ignored(Quiet.NOTHING_TO_COUNT)
    return Task(WALLETS_OF.stream_id(event.account_id), Count(event.account_id, "t-w", amount, now))


# -- records ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Record:
    """A Kafka record as the runtime sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def without(self, *names: str) -> Record:
        """Remove headers."""
        self.headers = [header for header in self.headers if header[0] not in names]
        return self

    def having(self, name: str, value: bytes | None) -> Record:
        """Replace or add a header."""
        self.headers = [*self.without(name).headers, (name, value)]
        return self


def request(
    offset: int = 0,
    *,
    topup_id: str = "t-1",
    account_id: str = ACCOUNT,
    amount: int = 5,
    partition: int | None = None,
) -> Record:
    """Return an upstream's request as a proper client sends it."""
    event = TopUpRequested(
        account_id=account_id,
        topup_id=topup_id,
        amount=Money(amount_minor=amount, currency="USD"),
        payment=PaymentInstruction(
            method=PaymentMethod.CARD, mode=PaymentMode.CHARGE, currency="USD", token="tok_secret"
        ),
        requested_at=T0,
    )
    shard = shard_of(account_id, SHARDS) if partition is None else partition
    name = f"{topup_id}/{account_id}/{amount}"
    return _record((REQUESTS.name, shard, offset), event, name, "/upstream/toys")


def low_balance(
    sequence: int, *, offset: int | None = None, amount: int = 5, name: str = ""
) -> Record:
    """Return the other service's event number `sequence` of the shard of `ACCOUNT`."""
    event = LowBalanceDetected(
        account_id=ACCOUNT,
        balance=Money(amount_minor=amount, currency="USD"),
        threshold=Money(amount_minor=100, currency="USD"),
        detected_at=T0,
    )
    place = sequence - 1 if offset is None else offset
    record = _record((LEDGER.name, SHARD, place), event, f"{sequence}{name}", Source.LEDGER)
    return record.having("ce_sequence", f"{sequence:020d}".encode())


def _record(place: tuple[str, int, int], event: Event, name: str, source: str) -> Record:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid5(NAMESPACE, f"{event.wire_type()}/{name}")),
        "ce_source": source,
        "ce_type": event.wire_type(),
        "ce_time": "2026-11-20T08:00:00Z",
        "content-type": "application/json",
    }
    return Record(
        *place,
        event.account_id.encode(),
        event.body(),
        [(key, value.encode()) for key, value in headers.items()],
    )


# -- the parts around it -----------------------------------------------------------------------------


def memory_log(
    wall_clock: Callable[[], datetime] = lambda: T0, *, lease: int = 60
) -> MemoryEventLog:
    """Return an empty log."""
    return MemoryEventLog(shard_count=SHARDS, lease_seconds=lease, wall_clock=wall_clock)


def intake_of(
    log: EventLog,
    processor: Processor,
    *,
    tracing: Tracing = UNTRACED,
    verifier: EventVerifier | None = None,
) -> Intake:
    """Return an intake on `log` at T0."""
    return Intake(
        log=log,
        processor=processor,
        journal=Journal(processor),
        shard_count=SHARDS,
        clock=lambda: T0,
        tracing=tracing,
        verifier=verifier,
    )


async def begin(log: EventLog, topics: Iterable[str] = (REQUESTS.name, LEDGER.name)) -> None:
    """Create the cursors of every partition at 0."""
    await log.ensure_cursors({(topic, n): 0 for topic in topics for n in range(SHARDS)})


async def streams_of(log: EventLog, *stream_ids: str) -> list[int]:
    """Return how many events each stream holds."""
    async with log.transaction() as tx:
        found = await tx.load_streams(stream_ids)
    return [len(found.get(stream_id, ())) for stream_id in stream_ids]


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    """Return when `found` says so; fail after half a minute."""
    async with asyncio.timeout(30):
        while not await found():  # noqa: ASYNC110 - what is asked gives no signal
            await asyncio.sleep(0.01)
