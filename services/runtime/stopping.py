"""Whether a service process stops, and why."""

from __future__ import annotations

import asyncio


class Stopping:
    """The one place that knows: asked to stop in order, or stopped by what makes going on impossible."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        """The first failure, which the process ends with; None when it stops as asked."""
        return self._failure

    def ask(self) -> None:
        self._asked.set()

    def is_asked(self) -> bool:
        """Say whether the process stops, for whatever reason."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Return when the process is to stop."""
        await self._asked.wait()

    def fail(self, error: BaseException) -> None:
        """Stop because of `error`; what fails later is a consequence."""
        while isinstance(error, BaseExceptionGroup):
            # A group of tasks wraps what ended it; the exit status depends on what that was.
            error = error.exceptions[0]
        if self._failure is None:
            self._failure = error
        self._asked.set()

    def watch(self, task: asyncio.Task[None]) -> None:
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)
