"""Specifications of a decider in one sentence: given past events, when a command, then facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from schemas.envelope import Event
from services.runtime.processor import Decision, Ignored

StateT = TypeVar("StateT")


@dataclass(frozen=True, slots=True)
class Decider(Generic[StateT]):
    """The pure core under test."""

    initial_state: Callable[[], StateT]
    evolve: Callable[[StateT, Event], StateT]
    decide: Callable[[Any, StateT], Decision | Ignored]

    def given(self, *events: Event) -> StateT:
        """Fold past events into a state."""
        state = self.initial_state()
        for event in events:
            state = self.evolve(state, event)
        return state

    def when(self, command: object, *, given: Sequence[Event] = ()) -> Decision | Ignored:
        """Decide `command` after the `given` events."""
        return self.decide(command, self.given(*given))
