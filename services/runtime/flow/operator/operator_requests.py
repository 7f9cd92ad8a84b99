"""Does what a person asks of a running service: dead letters again, and what was settled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from services.runtime.errors import Halt, Park, Poison, Transient
from services.runtime.flow.effects.runner import EffectRunner
from services.runtime.flow.intake.guard import HANDLER_ERROR
from services.runtime.flow.intake.intake import Intake
from services.runtime.flow.letters.dead_letters import DeadLetterTable
from services.runtime.flow.letters.rereading import Originals
from services.runtime.flow.operator.parking import ResumeRequests
from services.runtime.flow.operator.settlements import SettlementRequests
from services.runtime.metrics.metrics import Metrics

_POLL_SECONDS: Final = 1.0


class OperatorRequests:
    """Polls what the command line wrote down for the service."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        dead_letters: DeadLetterTable,
        originals: Originals,
        settlements: SettlementRequests,
        parking: ResumeRequests,
        intake: Intake,
        effects: EffectRunner,
        metrics: Metrics,
    ) -> None:
        """Redrive through `intake`, and hand what follows to `effects`."""
        self._dead_letters = dead_letters
        self._originals = originals
        self._settlements = settlements
        self._parking = parking
        self._intake = intake
        self._effects = effects
        self._metrics = metrics

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            with suppress(Transient):
                await self._redrive()
            with suppress(Transient):
                self._effects.submit(await self._settlements.serve())
            with suppress(Transient):
                self._effects.submit(await self._parking.serve())

    async def _redrive(self) -> None:
        """Handle dead letters again in the order in which they arrived."""
        for letter in await self._dead_letters.asked():
            try:
                result = await self._intake.redrive(await self._originals.record(letter))
            except (Poison, Park) as poison:
                await self._dead_letters.failed_again(
                    letter.dead_letter_id, poison.reason, str(poison)
                )
                continue
            except (Transient, Halt):
                raise
            except Exception as error:  # noqa: BLE001 - the other letters must be served
                message = f"{type(error).__name__}: deploy a version that handles it, then redrive"
                await self._dead_letters.failed_again(letter.dead_letter_id, HANDLER_ERROR, message)
                continue
            self._metrics.outcomes(result.outcomes)
            await self._dead_letters.close(
                letter.dead_letter_id, "redriven", next(iter(result.outcomes), "")
            )
            self._effects.submit(result.leased)
