"""Commits the checkpoints of running effects, all that wait at once."""

from __future__ import annotations

import asyncio

from services.runtime.effect import RunKey
from services.runtime.errors import Transient
from services.runtime.log.event_log import EventLog


class Checkpoints:
    """One commit at a time; what is asked for meanwhile goes into the next one.

    A commit waits for the disk, and hundreds of effects may want one in the same moment.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._waiting: list[tuple[RunKey, str, asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def mark(self, run: RunKey, checkpoint: str) -> None:
        """Return when the checkpoint of `run` is durable.

        Raises:
            Transient: it is not, or the lease was lost to another worker.
        """
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append((run, checkpoint, durable))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())
        await durable

    async def _commit(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                held = await self._log.mark_effects({run: text for run, text, _ in waiting})
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                for _, _, durable in waiting:
                    if not durable.done():
                        durable.set_exception(error)
                continue
            for run, _, durable in waiting:
                if durable.done():
                    continue
                if run in held:
                    durable.set_result(None)
                else:
                    message = f"attempt {run[2]} of {run[1]} lost its lease: another worker goes on"
                    durable.set_exception(Transient(message))
