"""A world in one thread: a clock that jumps, the decider, and the real sandboxes behind effects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from schemas.envelope import Event
from services.orders.decider import Command
from services.orders.effects import Outside, build_effects
from services.orders.handlers import build_processor
from services.orders.order.past import Past, Request
from services.orders.order.rules import Rules
from services.orders.order.state import OrderState
from services.orders.payments.claims.transactions import MemoryClaims
from services.orders.ports import Ports, sandbox_ports
from services.orders.unfinished import unfinished
from services.runtime.effect import Drop, EffectRun, JsonObject, Release, Retry, Start
from services.runtime.processor import Decision, Ignored, Settlement
from tests.unit.orders.builders import NOW, RULES

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Waiting:
    """An effect that is to run, or is held."""

    kind: str
    payload: JsonObject
    due_at: datetime | None
    hold_key: str | None
    stream_id: str
    attempt: int = 0
    recovered: bool = False


async def no_mark(checkpoint: str) -> None:
    message = f"orders saves no checkpoint, but saved {checkpoint}"
    raise AssertionError(message)


def run(awaitable: Awaitable[ResultT]) -> ResultT:
    """Run a coroutine to its end."""

    async def wait() -> ResultT:
        return await awaitable

    return asyncio.run(wait())


class World:
    """Orders without a database: what the runtime does with decisions, in the order of time."""

    def __init__(self, folder: Path, rules: Rules = RULES, outside: Ports | None = None) -> None:
        """Begin at `NOW`; effects reach the sandboxes, or what is `outside` instead."""
        self.now = NOW
        self.events: list[Event] = []
        self.effects: dict[str, Waiting] = {}
        self._stack = ExitStack()
        ports = sandbox_ports(folder, lambda: self.now, timeout_seconds=0, slow_seconds=0)
        self.ports = self._stack.enter_context(ports)
        self.claims = MemoryClaims()
        reached = outside or self.ports
        effects = build_effects(
            Outside(
                reached.gateway,
                reached.provider,
                lambda: self.now,
                claims=self.claims,
                trusted_gateways=rules.policy.trusted_gateways,
            )
        )
        self.processor = build_processor(
            rules,
            effects,
        )
        self.states: dict[str, OrderState] = {}

    def close(self) -> None:
        """Close the journals."""
        self._stack.close()

    def tell(
        self, stream_id: str, command: Callable[[datetime], Command], *, effect: str | None = None
    ) -> Decision | Ignored:
        """Decide a command now, and take the consequences."""
        return self._take(stream_id, command(self.now), effect)

    def settle(self, effect_id: str, said: Settlement) -> Decision | Ignored:
        """Settle an effect as a person found it; when there is nothing to settle, it goes on."""
        waiting = self.effects[effect_id]
        run_now = EffectRun(
            0, effect_id, waiting.kind, "acct-1", waiting.stream_id, waiting.payload,
            waiting.attempt, waiting.recovered, None,
        )  # fmt: skip
        effect = self.processor.effects[waiting.kind]
        settle = run(effect.inquire(said, run_now)) if effect.inquire else effect.settle
        assert settle is not None
        command = settle(said, run_now, self.now)
        decision = self._take(waiting.stream_id, command, effect_id)
        if isinstance(decision, Ignored):
            self.effects[effect_id] = waiting
        return decision

    def unfinished(self, request: Request | None = None) -> list[Start]:
        """Return the effects that the order needs, as its events and its request tell."""
        return unfinished(Past(self.events, request, RULES.catalogue))

    def names(self) -> list[str]:
        """Return the names of all events so far."""
        return [type(event).__name__ for event in self.events]

    def run_until(self, moment: datetime) -> None:
        """Run every effect that falls due up to `moment`, earliest first."""
        while due := self._next(moment):
            self.execute(due)
        self.now = max(self.now, moment)

    def execute(self, effect_id: str, *, crash: bool = False) -> None:
        """Run one effect; with `crash`, forget its result and leave it to be recovered."""
        waiting = self.effects[effect_id]
        self.now = max(self.now, waiting.due_at or self.now)
        attempt = waiting.attempt + 1
        run_now = EffectRun(
            0, effect_id, waiting.kind, "acct-1", waiting.stream_id, waiting.payload,
            attempt, waiting.recovered, None,
        )  # fmt: skip
        result = run(self.processor.effects[waiting.kind].execute(run_now, no_mark))
        self.effects[effect_id] = replace(waiting, attempt=attempt, recovered=crash)
        if not crash:
            self._take(waiting.stream_id, result, effect_id)

    def _next(self, moment: datetime) -> str | None:
        due = {key: each.due_at for key, each in self.effects.items() if each.due_at}
        key = min(due, key=lambda each: due[each], default=None)
        return key if key is not None and due[key] <= moment else None

    def _take(self, stream_id: str, command: object, effect: str | None) -> Decision | Ignored:
        kind = self.processor.streams.kind_of(stream_id)
        state = self.states.get(stream_id, kind.initial_state())
        decision: Decision | Ignored = kind.decide(command, state)
        if isinstance(decision, Decision):
            self.claims.record((stream_id, event) for event in decision.events)
        done = self.effects.pop(effect) if effect else None
        if isinstance(decision, Ignored):
            return decision
        for event in decision.events:
            state = kind.evolve(state, type(event).parse(event.body()))
            self.events.append(event)
        self.states[stream_id] = state
        for change in decision.effects:
            self._change(stream_id, change, effect, done)
        return decision

    def _change(
        self, stream_id: str, change: object, effect: str | None, done: Waiting | None
    ) -> None:
        match change:
            case Start():
                assert change.effect_id not in self.effects
                due = change.due_at or (None if change.hold_key else self.now)
                self.effects[change.effect_id] = Waiting(
                    change.kind, change.payload, due, change.hold_key, stream_id
                )
            case Release() | Drop():
                held = {k: v for k, v in self.effects.items() if v.hold_key == change.hold_key}
                for key, waiting in held.items():
                    self.effects.pop(key)
                    if isinstance(change, Release):
                        self.effects[key] = replace(waiting, due_at=self.now, hold_key=None)
            case Retry():
                assert effect is not None
                assert done is not None
                payload = done.payload if change.payload is None else change.payload
                self.effects[effect] = replace(
                    done,
                    due_at=change.due_at,
                    payload=payload,
                    hold_key=change.hold_key,
                    recovered=False,
                )
