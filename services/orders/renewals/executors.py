"""Activates plans through the provider, and says what came of it as a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services.orders.renewals.commands import RecordActivation
from services.orders.renewals.providers.provider import (
    ActivationOutcome,
    EsimProvider,
    NotFound,
    PlanOrder,
)
from services.runtime.processor import EffectRun, Mark


@dataclass(frozen=True, slots=True)
class ActivationExecutor:
    """The activation, over the provider and a clock."""

    provider: EsimProvider
    clock: Callable[[], datetime]

    async def activate(self, run: EffectRun, _mark: Mark) -> RecordActivation:
        """Activate once; a payload without an ICCID is the last look-up."""
        last = "iccid" not in run.payload
        outcome = await self._activate(run, last=last)
        return RecordActivation(outcome, run.attempt, last, self.clock())

    async def _activate(self, run: EffectRun, *, last: bool) -> ActivationOutcome | NotFound:
        if last or run.recovered or run.attempt > 1:
            found = await self.provider.look_up(run.payload["reference"])
            if last or not isinstance(found, NotFound):
                return found
        return await self.provider.top_up(PlanOrder.model_validate(run.payload))
