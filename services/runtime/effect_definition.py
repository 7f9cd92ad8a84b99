"""One kind of effect in one value: everything that the runtime and the command line know of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter

from services.runtime.effect import EffectRun, JsonObject, Release, Start
from services.runtime.errors import SettlementRefused
from services.runtime.processor import Effect, Mark, Need, Settle, Settlement

PayloadT = TypeVar("PayloadT")
PortsT_contra = TypeVar("PortsT_contra", contravariant=True)
PastT_contra = TypeVar("PastT_contra", contravariant=True)
Command = Callable[[Settlement, PayloadT, EffectRun, datetime], object]
"""Turns an outcome that a person states into a command for the stream of the effect."""
HIDDEN: Final = ConfigDict(hide_input_in_errors=True)
"""For a union of payloads: what is wrong with one is said without its tokens and ICCIDs."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[PayloadT, PortsT_contra]):
    """What a person may say became of an effect, and what must be said with it.

    Where the outside can bear it out, `inquire` asks before anything is locked, bounded in time, and
    returns the command to use instead.
    """

    name: str
    command: Command[PayloadT]
    needs: tuple[Need, ...] = ()
    inquire: Callable[[PortsT_contra, Settlement], Awaitable[Command[PayloadT]]] | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What one stream needs of a kind whose effects were lost, or may be older than its events.

    With `drop_others`, what is left of the kind beside it goes: an event may have ended it.
    """

    changes: tuple[Start | Release, ...] = ()
    drop_others: bool = False


@dataclass(frozen=True, slots=True)
class EffectDefinition(Generic[PayloadT, PortsT_contra, PastT_contra]):
    """One kind of effect; `called` is what messages call one of it, `hint` what they add.

    `execute` does it once and returns the command that records its outcome; `look_up` goes before
    where an earlier attempt may have done it, and returns None when it did not. `outcomes` are what
    a person may settle it with. `restore` tells what a stream needs of it, from what the service
    knows of the stream after its effects were lost. `waits_for` names who outside must be there until
    it is done, such as a gateway; None: nobody in particular.
    """

    kind: str
    called: str
    read: Callable[[JsonObject], PayloadT]
    execute: Callable[[PortsT_contra, PayloadT, EffectRun, Mark], Awaitable[object]]
    outcomes: tuple[Outcome[PayloadT, PortsT_contra], ...]
    restore: Callable[[PastT_contra], Restored]
    waits_for: Callable[[PayloadT], str | None] | None = None
    look_up: Callable[[PortsT_contra, PayloadT, EffectRun], Awaitable[object | None]] | None = None
    hint: str = ""

    def bound_to(self, ports: PortsT_contra) -> Effect:
        """Return the effect as the runtime runs it, reaching the outside by `ports`."""

        async def execute(run: EffectRun, mark: Mark) -> object:
            payload = self.read(run.payload)
            if self.look_up is not None and (run.recovered or run.attempt > 1):
                found = await self.look_up(ports, payload, run)
                if found is not None:
                    return found
            return await self.execute(ports, payload, run, mark)

        async def inquire(said: Settlement, _run: EffectRun) -> Settle:
            outcome = self.outcome(said)
            if outcome.inquire is None:
                return self.settle
            command = await outcome.inquire(ports, said)
            return lambda said, run, now: command(said, self.read(run.payload), run, now)

        asks = any(outcome.inquire for outcome in self.outcomes)
        settle = self.settle if self.outcomes else None
        return Effect(execute, settle, inquire if asks else None)

    def settle(self, said: Settlement, run: EffectRun, now: datetime) -> object:
        """Return the command that records what a person says.

        Raises:
            SettlementRefused: it is no outcome of this kind, or lacks what must be said with it.
        """
        return self.outcome(said).command(said, self.read(run.payload), run, now)

    def outcome(self, said: Settlement) -> Outcome[PayloadT, PortsT_contra]:
        """Return the outcome that a person states.

        Raises:
            SettlementRefused: as `settle`.
        """
        for outcome in self.outcomes:
            if outcome.name == said.outcome:
                if any(getattr(said, need) is None for need in outcome.needs):
                    raise SettlementRefused(f"{outcome.name} needs {_options(outcome.needs)}")
                return outcome
        known = " or ".join(outcome.name for outcome in self.outcomes)
        message = f"the outcome of {self.called} is {known}"
        raise SettlementRefused(f"{message}: {self.hint}" if self.hint else message)

    def described(self) -> str:
        """Return what may be said of it, for a person who settles one."""
        return ", ".join(
            f"{outcome.name} ({_options(outcome.needs)})" if outcome.needs else outcome.name
            for outcome in self.outcomes
        )


def _options(needs: Iterable[Need]) -> str:
    return " and ".join(f"--{need}" for need in needs)


def payload_of(form: TypeAdapter[PayloadT]) -> Callable[[JsonObject], PayloadT]:
    """Return what reads a stored payload as `form`, whose errors must not repeat it."""
    return partial(form.validate_python, strict=False)
