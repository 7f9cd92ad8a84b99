"""What the flow of records tells of its work for traces; `watch.spans` makes spans of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from services.runtime.flow.work import Parsed, Recorded, Work
    from services.runtime.log.event_log import DeadLetter, LeasedEffect, StoredEvent


class BatchTrace(Protocol):
    """One batch of records on its way into one transaction, whose end is that of the context."""

    def begun(self, parsed: list[Parsed]) -> list[Parsed]:
        """Return `parsed`, whose works bear the trace context that what follows shall store."""

    def writes(self, recorded: Recorded, letters: Sequence[DeadLetter]) -> None:
        """Note what the transaction is about to write."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None: ...


class ResultsTrace(Protocol):
    """The results of effects on their way into one transaction, whose end is that of the context."""

    def commits(self, works: Sequence[Work]) -> None:
        """Note whose results the transaction is about to write."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None: ...


class Tracing(Protocol):
    """What one process does about traces."""

    def batch(self) -> BatchTrace:
        """Follow a batch of records, from now on."""

    def attempt(self, effect: LeasedEffect) -> AbstractContextManager[LeasedEffect]:
        """Follow one attempt; the context is the effect as its result shall be recorded."""

    def results(self) -> ResultsTrace: ...

    def publishing(self, topic: str, events: Sequence[StoredEvent]) -> AbstractContextManager[None]:
        """Follow events until the broker has acknowledged them."""

    async def close(self) -> None:
        """Export what is left, as far as that is possible in a few seconds."""


class Untraced:
    """Traces nothing: the trace context of a request is handed on as it came."""

    def batch(self) -> Self:
        return self

    def begun(self, parsed: list[Parsed]) -> list[Parsed]:
        return parsed

    def writes(self, recorded: Recorded, letters: Sequence[DeadLetter]) -> None: ...

    def attempt(self, effect: LeasedEffect) -> AbstractContextManager[LeasedEffect]:
        return nullcontext(effect)

    def results(self) -> Self:
        return self

    def commits(self, works: Sequence[Work]) -> None: ...

    def publishing(
        self,
        topic: str,  # noqa: ARG002 - the protocol's
        events: Sequence[StoredEvent],  # noqa: ARG002 - as above
    ) -> AbstractContextManager[None]:
        return nullcontext()

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None: ...


UNTRACED: Final = Untraced()


def is_sampled(traceparent: str | None) -> bool:
    """Say whether a W3C trace context wants spans: the lowest bit of its flags."""
    return traceparent is not None and traceparent[-1] in "13579bdf"
