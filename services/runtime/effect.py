"""An effect as a value: what a service wants done outside of its transactions, and one run of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

RunKey = tuple[int, str, int]
"""(shard, effect_id, attempt) of one running effect."""
JsonObject = dict[str, Any]
"""An effect's private payload: it stays in the service's own database and goes with the effect."""


@dataclass(frozen=True, slots=True)
class Start:
    """A new effect: run at `due_at` (None: at once), or, with a `hold_key`, when released.

    A held effect with a `due_at` runs then even if nothing released it.
    """

    effect_id: str
    kind: str
    payload: JsonObject = field(default_factory=dict)
    due_at: datetime | None = None
    hold_key: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """Let the effects held under `hold_key` run now."""

    hold_key: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget the effects held under `hold_key`: they will never be wanted."""

    hold_key: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the effect whose result is being decided again at `due_at`, optionally changed.

    With a `hold_key`, `due_at` may be None: it then waits until it is released or settled.
    Without a Retry the effect is finished and its row, payload included, is deleted.
    """

    due_at: datetime | None
    payload: JsonObject | None = None
    hold_key: str | None = None


EffectChange = Start | Release | Drop | Retry


class EffectRun(NamedTuple):
    """An effect that a worker has leased.

    `attempt` counts from 1. `recovered` is true when an earlier attempt may have reached the
    outside world without its result being recorded (crash, lost lease): look up before acting.
    `checkpoint` is the last mark saved with `mark`, or None.
    """

    shard: int
    effect_id: str
    kind: str
    account_id: str
    stream_id: str
    payload: JsonObject
    attempt: int
    recovered: bool
    checkpoint: str | None

    @property
    def key(self) -> RunKey:
        """What fences this attempt: a worker that lost its lease holds the key of an older one."""
        return self.shard, self.effect_id, self.attempt
