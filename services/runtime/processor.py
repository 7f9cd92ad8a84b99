"""What a service hands to the runtime: pure functions over its events, and the names around them.

`decide` and `evolve` see no I/O, no clock and no new ids; all of them arrive in the command.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, Self, TypeVar

from schemas.envelope import (
    Envelope,
    Event,
    Identifier,
    Part,
    ShortText,
    UtcDatetime,
)
from schemas.registry import EventRegistry
from services.runtime.effect import EffectChange, EffectRun, JsonObject
from services.runtime.errors import Halt, SettlementRefused
from services.runtime.event_counter import EventCounter
from services.runtime.log.stream_ids import kind_of, stream_id

if TYPE_CHECKING:
    from services.runtime.log.event_log import StoredEvent, Transaction

StateT = TypeVar("StateT")
EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to do, and why; `reason` comes from a closed enum of the service."""

    reason: StrEnum


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the sender that asks another account: its handler makes the same command of it."""

    account_id: str
    event: Event


@dataclass(frozen=True, slots=True)
class Send:
    """A command for another stream of the service, which is the sender's account's unless it is told.

    Decided in the same unit of work where both streams are in one shard. To another shard it goes
    as the event that tells it: by the log, the topic and the intake of this service, once.
    """

    stream_id: str
    command: object
    told: Told | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """New facts in order, the effects they want, and what is sent to other streams, all or nothing.

    Facts `apart` answer a request that is not the one the stream belongs to: their correlation is
    that request's own id, so that nobody takes them for facts about the other.
    """

    events: tuple[Event, ...] = ()
    effects: tuple[EffectChange, ...] = ()
    apart: bool = False
    sends: tuple[Send, ...] = ()

    def recorded(self) -> tuple[Event, ...]:
        """Return all events that it adds to the stream."""
        told = (send.told.event for send in self.sends if send.told)
        return (*self.events, *told) if self.sends else self.events


class Incoming(NamedTuple):
    """One parsed CloudEvent from a topic; `body` is the exact message value."""

    envelope: Envelope
    event: Event
    body: bytes


class Task(NamedTuple):
    """One command for one stream. A `stateless` one is decided on without loading the stream.

    `account_id` is whose stream it is, where the event is another account's. `beside` are streams
    that it will be sent on to: they are loaded with it.
    """

    stream_id: str
    command: object
    stateless: bool = False
    account_id: str | None = None
    beside: tuple[str, ...] = ()


class Mark(Protocol):
    """Commits a checkpoint of the running effect (for example `dot_sent`) before it goes on."""

    async def __call__(self, checkpoint: str) -> None:
        """Return when the checkpoint is durable.

        Raises:
            Transient: it is not, or the lease was lost to another worker: do not go on.
        """


Need = Literal["gateway", "provider", "reference"]
"""What may have to be said with an outcome, and so an option of `perennial effects settle`."""


class Settlement(Part):
    """What a person says became of an effect whose outcome nothing else tells: who, and how known.

    What `outcome` may be, and which of the others it needs, is the service's to say.
    """

    outcome: Identifier
    by: Identifier
    reason: ShortText
    gateway: Identifier | None = None
    provider: Identifier | None = None
    reference: Identifier | None = None
    at: UtcDatetime | None = None

    def needed(self, need: Need) -> str:
        """Return what must be said with this outcome.

        Raises:
            SettlementRefused: it was not.
        """
        said: str | None = getattr(self, need)
        if said is None:
            raise SettlementRefused(f"{self.outcome} needs --{need}")
        return said

    def when(self, now: datetime) -> datetime:
        """Return when it happened, as far as that is known; nothing happened later than now."""
        return min(self.at or now, now)


Settle = Callable[[Settlement, EffectRun, datetime], object]
"""Turns what a person settled about an effect into a command for its stream, decided as its result.

Raises `SettlementRefused` when it cannot, and says which outcomes there are.
"""

Inquiry = Callable[[Settlement, EffectRun], Awaitable[Settle]]
"""Asks the outside about what a person says, bounded in time; returns how it is settled then."""

Handler = Callable[[Envelope, Any, datetime], Task | Ignored]
"""Turns an event, and the time the batch is handled at, into a command or nothing; see `on`."""


def on(
    model: type[EventT], handler: Callable[[Envelope, EventT, datetime], Task | Ignored]
) -> tuple[type[Event], Handler]:
    """Return which type of event `handler` is for, as `Processor.handlers` is made of."""
    return model, handler


Executor = Callable[[EffectRun, Mark], Awaitable[object]]
"""Does one effect and returns the command that records its outcome. Outcomes are values, not errors.

An exception means an attempt without a known outcome: it runs again later with `recovered` set.
"""


@dataclass(frozen=True, slots=True)
class Effect:
    """One kind of effect as the runtime sees it.

    `settle` is None where nobody can settle it. Where there is an `inquire`, somebody is asked about
    what a person says, outside of any transaction, and that says how it is settled.
    """

    execute: Executor
    settle: Settle | None = None
    inquire: Inquiry | None = None


class Filed(NamedTuple):
    """A new row of the log, and what was parsed of it."""

    stored: StoredEvent
    event: Event


Projection = Callable[["Transaction", Sequence[Filed], Sequence[Incoming]], Awaitable[None]]
"""Brings tables of the service up to date in the same transaction: (tx, appended, handled)."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic to read. `strict`: an event type that does not belong on it is poison, else ignored.

    One that belongs and has no handler is ignored either way.
    """

    topic: str
    strict: bool


@dataclass(frozen=True, slots=True)
class Archival(Generic[StateT]):
    """How the streams of a kind leave the log. Pure.

    `remains` is what must be known of a stream that `is_over` for as long as anybody may ask for
    it; `restored` makes a state of it, and never one that begins anew.
    """

    is_over: Callable[[StateT], bool]
    remains: Callable[[StateT], JsonObject]
    restored: Callable[[JsonObject], StateT]


def _undecided(_command: object, _state: object) -> Decision:
    message = "this kind of streams is folded here, not decided on: see `StreamKind.decided_by`"
    raise TypeError(message)


@dataclass(frozen=True, slots=True)
class StreamKind(Generic[StateT]):
    """Streams that have one `name`, one state and one decider. Pure.

    Without `archival`, nothing of the kind leaves the log.
    """

    name: str
    initial_state: Callable[[], StateT]
    evolve: Callable[[StateT, Event], StateT]
    decide: Callable[[Any, StateT], Decision | Ignored] = _undecided
    archival: Archival[StateT] | None = None

    def stream_id(self, key: str) -> str:
        """Return the id of one of the streams."""
        return stream_id(self.name, key)

    def decided_by(self, decide: Callable[[Any, StateT], Decision | Ignored]) -> Self:
        """Return the same streams with their decider, which knows the rules in force."""
        return replace(self, decide=decide)


class Streams:
    """The kinds of streams of a service. Here alone is looked up which of them a stream is.

    They consist of `events`: the runtime knows no event and no topic itself.
    """

    def __init__(self, events: EventRegistry, *kinds: StreamKind[Any]) -> None:
        """Hold `kinds`, each of another name, made of `events`."""
        self.events = events
        self._kinds = {kind.name: kind for kind in kinds}
        if len(self._kinds) != len(kinds):
            message = "two kinds of streams have one name"
            raise ValueError(message)

    def kind_of(self, stream_id: str) -> StreamKind[Any]:
        """Return the kind of a stream.

        Raises:
            Halt: this version has no such streams.
        """
        kind = self._kinds.get(kind_of(stream_id))
        if kind is None:
            message = (
                f"stream {stream_id} is of a kind that this version does not know: deploy the "
                "version that wrote it, or a newer one"
            )
            raise Halt(message)
        return kind


def archival_of(kind: StreamKind[StateT]) -> Archival[StateT]:
    """Return how archived streams of a kind are answered for.

    Raises:
        Halt: they are not: another version archived them.
    """
    if kind.archival is None:
        message = (
            f"streams {kind.name} are archived, and this version cannot answer for them: "
            "deploy the version that archived them, or a newer one"
        )
        raise Halt(message)
    return kind.archival


def _stateless(_command: object) -> Decision:
    message = "this service has no stateless tasks"
    raise TypeError(message)


@dataclass(frozen=True, slots=True)
class Processor:
    """One service as the runtime sees it. `records_incoming` files what it read in its own log.

    `streams` are all kinds that it decides on; `decide_stateless` answers tasks that need no state.
    `effects` are all that it may want, by kind. The result of one waits at least
    `results_wait_seconds` for others that share its commit; 0 where somebody waits for what follows.
    `rules` name the files that it decides by, with what tells their content from another.
    """

    source: str
    group: str
    output_topic: str
    subscriptions: tuple[Subscription, ...]
    handlers: Mapping[type[Event], Handler]
    streams: Streams
    decide_stateless: Callable[[Any], Decision | Ignored] = _stateless
    effects: Mapping[str, Effect] = field(default_factory=dict)
    results_wait_seconds: float = 0
    records_incoming: bool = False
    project: Projection | None = None
    counters: tuple[EventCounter, ...] = ()
    rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def events(self) -> EventRegistry:
        """The language that it reads and writes."""
        return self.streams.events

    @property
    def restores_itself(self) -> bool:
        """Whether it decides the same again by reading what its log lost: it does nothing outside."""
        return not self.effects
