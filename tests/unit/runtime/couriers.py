"""A toy whose streams send to each other: a parcel goes from account to account, and each counts it.

A top-up's id is the way of its parcel, such as `w.0.2.2`: places of `ACCOUNTS`. The stream of the order
is the sender; the stream of a wallet is where a parcel comes by. `RefundFailed` is the fact that tells
another account, with its name in `refund_id` and the rest of the way in `renewal_id`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, cast

from schemas.confirmations import RefundFailed
from schemas.envelope import Envelope
from schemas.requests import TopUpRequested
from schemas.topics import ORDERS, REQUESTS, Source
from services.runtime.errors import Transient
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.intake.result import IntakeResult
from services.runtime.flow.journal import Journal
from services.runtime.kafka.records.cloudevents import binary_headers
from services.runtime.kafka.records.partitions import shard_of
from services.runtime.log.event_log import EventLog, StoredEvent, Transaction
from services.runtime.processor import (
    Decision,
    Processor,
    Send,
    Streams,
    Subscription,
    Task,
    Told,
    on,
)
from tests.controls import T0
from tests.unit.runtime.toy import (
    ACCOUNT,
    ORDERS_OF,
    OTHER_ACCOUNT,
    SHARD,
    SHARDS,
    TOYS,
    WALLETS_OF,
    Record,
    counted,
    request,
)

NEIGHBOUR: Final = next(
    name for name in (f"acct-{n}" for n in range(2, 99)) if shard_of(name, SHARDS) == SHARD
)
"""Another account of the shard of `ACCOUNT`."""
ACCOUNTS: Final = (ACCOUNT, NEIGHBOUR, OTHER_ACCOUNT)


@dataclass(frozen=True, slots=True)
class Bring:
    """A parcel is with `account_id`, and `way` is what lies before it."""

    account_id: str
    way: tuple[int, ...]


def way_of(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(".") if each.isdigit())


def sends(at: str, way: tuple[int, ...]) -> tuple[Send, ...]:
    """Return what goes on from `at`: to its own wallet as a command, to another's as a fact, too."""
    if not way:
        return ()
    there, rest = ACCOUNTS[way[0]], way[1:]
    command = Bring(there, rest)
    if there == at:
        return (Send(WALLETS_OF.stream_id(there), command),)
    event = RefundFailed(
        account_id=at,
        renewal_id="w." + ".".join(map(str, rest)),
        refund_id=there,
        payment_id="p",
        settled_by="courier",
        settlement_reason="sent",
        failed_at=T0,
    )
    return (Send(WALLETS_OF.stream_id(there), command, Told(there, event)),)


def decide(command: Bring, _state: int) -> Decision:
    return Decision((counted(command.account_id),), sends=sends(command.account_id, command.way))


def on_requested(_envelope: Envelope, event: TopUpRequested, _now: datetime) -> Task:
    way = way_of(event.topup_id.partition("-")[0])
    return Task(ORDERS_OF.stream_id(event.topup_id), Bring(event.account_id, way))


def on_told(_envelope: Envelope, event: RefundFailed, _now: datetime) -> Task:
    command = Bring(event.refund_id, way_of(event.renewal_id))
    return Task(WALLETS_OF.stream_id(event.refund_id), command, account_id=event.refund_id)


PROCESSOR: Final = Processor(
    source=Source.ORDERS,
    group="couriers",
    output_topic=ORDERS.name,
    subscriptions=(
        Subscription(REQUESTS.name, strict=True),
        Subscription(ORDERS.name, strict=False),
    ),
    handlers=dict((on(TopUpRequested, on_requested), on(RefundFailed, on_told))),
    streams=Streams(TOYS, ORDERS_OF.decided_by(decide), WALLETS_OF.decided_by(decide)),
)


@dataclass(slots=True)
class Crashing:
    """What an intake uses of a log; the next transaction is lost, or its answer is."""

    log: EventLog
    crash: str | None = None

    @asynccontextmanager
    async def transaction(self, **wanted: Any) -> AsyncIterator[Transaction]:
        crash, self.crash = self.crash, None
        async with self.log.transaction(**wanted) as tx:
            yield tx
            if crash == "before":
                raise Transient(crash)
        if crash == "after":
            raise Transient(crash)


@dataclass(slots=True)
class Couriers:
    """The toy as a process that may die, and the two topics it reads."""

    log: EventLog
    processor: Processor = PROCESSOR
    topics: dict[tuple[str, int], list[Record]] = field(default_factory=lambda: defaultdict(list))
    crashing: Crashing = field(init=False)
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        self.crashing = Crashing(self.log)
        self.restart()

    def restart(self) -> None:
        """Begin with nothing in memory."""
        self.intake = Intake(
            log=cast("EventLog", self.crashing),
            processor=self.processor,
            journal=Journal(self.processor, shard_of=partial(shard_of, shard_count=SHARDS)),
            shard_count=SHARDS,
            clock=lambda: T0,
        )

    async def begin(self) -> None:
        await self.log.ensure_cursors(
            {(topic, n): 0 for topic in (REQUESTS.name, ORDERS.name) for n in range(SHARDS)}
        )

    def ask(self, account_id: str, topup_id: str) -> None:
        """Have an upstream ask for a parcel."""
        partition = shard_of(account_id, SHARDS)
        place = self.topics[REQUESTS.name, partition]
        place.append(request(len(place), topup_id=topup_id, account_id=account_id))

    async def publish(self, *, noted: bool = True) -> int:
        """Send what is unpublished; without `noted`, the relay dies before it says so."""
        found = await self.log.unpublished(Source.ORDERS, range(SHARDS), limit=1_000)
        for shard, news in found.items():
            for event in news.events:
                self.topics[ORDERS.name, shard].append(self._record(event))
        self.keep(sent=bool(found))
        if noted:
            await self.log.mark_published({shard: each.through for shard, each in found.items()})
        return sum(len(news.events) for news in found.values())

    def keep(self, *, sent: bool) -> None:
        """Have the topics survive, and say whether anything was `sent`."""

    def _record(self, event: StoredEvent) -> Record:
        offset = len(self.topics[ORDERS.name, event.shard])
        headers = list(binary_headers(event, TOYS))
        key = event.account_id.encode()
        return Record(ORDERS.name, event.shard, offset, key, event.body, headers)

    async def read(self, *, behind: int = 0, crash: str | None = None) -> IntakeResult | None:
        """Handle what lies before the cursors, and `behind` of what lies behind; None: it died."""
        cursors = await self.log.cursors()
        batch = [
            record
            for place, records in sorted(self.topics.items())
            for record in records[max(0, cursors[place] - behind) :]
        ]
        self.crashing.crash = crash if batch else None
        if not batch:
            return None
        try:
            return await self.intake.handle(batch)
        except Transient:
            self.restart()
            return None

    async def settle(self) -> None:
        """Go on without trouble until nothing is to be done."""
        quiet = False
        while not quiet:
            result = await self.read()
            quiet = not await self.publish() and result is None

    async def counts(self) -> Counter[str]:
        """Return how many parcels came by, by account, and how many were sent."""
        counts: Counter[str] = Counter()
        names = {account: WALLETS_OF.stream_id(account) for account in ACCOUNTS}
        async with self.log.transaction() as tx:
            found = await tx.load_streams(list(names.values()))
        for account, name in names.items():
            types = Counter(event.type for event in found.get(name, ()))
            counts[account] = types[counted().wire_type()]
        return counts


def expected(asked: Iterable[tuple[str, str]]) -> Counter[str]:
    """Return how often each account is on the way of what was asked, each id once."""
    ways = dict.fromkeys(asked)
    counts = Counter(dict.fromkeys(ACCOUNTS, 0))
    counts.update(ACCOUNTS[n] for _, name in ways for n in way_of(name.partition("-")[0]))
    return counts
