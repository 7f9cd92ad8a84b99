"""Asks the database for many at once: one round at a time, for all that was asked meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")


class Gathered(Generic[QuestionT, AnswerT]):
    """Questions that are answered together, each with the answer in its own place."""

    def __init__(
        self, answer: Callable[[Sequence[QuestionT]], Awaitable[Sequence[AnswerT]]]
    ) -> None:
        """Have `answer` answer them, never twice at once."""
        self._answer = answer
        self._one_round = asyncio.Lock()
        self._asked: list[QuestionT] = []
        self._next: asyncio.Task[Sequence[AnswerT]] | None = None

    async def ask(self, question: QuestionT) -> AnswerT:
        """Return the answer of a round that begins after this was asked; raise what it raises."""
        place = len(self._asked)
        self._asked.append(question)
        if self._next is None:
            self._next = asyncio.create_task(self._round())
        # Others wait for the same round: cancelling one of them must not cancel it.
        return (await asyncio.shield(self._next))[place]

    async def _round(self) -> Sequence[AnswerT]:
        async with self._one_round:
            asked, self._asked, self._next = self._asked, [], None
            return await self._answer(asked)
