"""A second address of Postgres, at which a test loses what is asked, or the answer to it."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from random import Random
from typing import Final

from tests.faults.proxy import Proxy

COMMIT: Final = "commit"
TURN: Final = "record_turn"
OTHER: Final = "other statements"
_BEFORE_LOGIN: Final = frozenset({80877103, 80877104})
"""What a client asks before it logs in: TLS, or GSSAPI; one byte answers."""
_LENGTH: Final = struct.Struct(">I")
Frame = tuple[bytes, bytes]


class Loss(Enum):
    """What becomes of a statement, and of its connection."""

    ASKED = "the connection ends before the server has it"
    ANSWERED = "the connection ends when the server has done it, and before it says so"


class PostgresProxy(Proxy):
    """Forwards to one server, message by message; `choose` is asked for each statement."""

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        """Lose nothing until `choose` is set."""
        super().__init__(port, target)
        self.choose: Callable[[str], Loss | None] = lambda _: None
        self.lost: Counter[tuple[str, Loss]] = Counter()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        connection = _Connection(self, writer, there_writer)
        both: list[asyncio.Task[None]] = []
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await connection.log_in(reader, there_reader)
                both = [
                    asyncio.create_task(_each_frame(reader, connection.ask)),
                    asyncio.create_task(_each_frame(there_reader, connection.answer)),
                ]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            # Without a farewell: whoever still waits for an answer finds the connection broken.
            writer.transport.abort()
            there_writer.close()

    def loss(self, kind: str) -> Loss | None:
        """Return what becomes of a statement, and count it."""
        loss = self.choose(kind)
        if loss is not None:
            self.lost[kind, loss] += 1
        return loss


class _Connection:
    """What is asked on one connection, and whether its answer is to be lost."""

    def __init__(
        self, proxy: PostgresProxy, here: asyncio.StreamWriter, there: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._here = here
        self._there = there
        self._prepared: dict[bytes, str] = {}
        self._bound = OTHER
        self._answer_is_lost = False

    async def log_in(self, here: asyncio.StreamReader, there: asyncio.StreamReader) -> None:
        """Pass on what comes before the first message of the protocol."""
        while True:
            length = await here.readexactly(_LENGTH.size)
            body = await here.readexactly(_LENGTH.unpack(length)[0] - _LENGTH.size)
            self._there.write(length + body)
            if _LENGTH.unpack_from(body)[0] not in _BEFORE_LOGIN:
                return
            self._here.write(await there.readexactly(1))

    async def ask(self, frame: Frame) -> None:
        """Pass a message of the client on, or not."""
        kind, body = frame
        if kind == b"P":
            name, query = body.split(b"\0", 2)[:2]
            self._prepared[name] = _kind_of(query)
        elif kind == b"B":
            self._bound = self._prepared.get(body.split(b"\0", 2)[1], OTHER)
        elif kind in {b"Q", b"S"}:
            loss = self._proxy.loss(_kind_of(body) if kind == b"Q" else self._bound)
            self._bound = OTHER
            if loss is Loss.ASKED:
                raise ConnectionResetError
            self._answer_is_lost = loss is Loss.ANSWERED
        await _send(self._there, frame)

    async def answer(self, frame: Frame) -> None:
        """Pass a message of the server back, or not."""
        if not self._answer_is_lost:
            await _send(self._here, frame)
        elif frame[0] == b"Z":  # the server is done with it
            raise ConnectionResetError


def _kind_of(query: bytes) -> str:
    if query.startswith(b"COMMIT"):
        return COMMIT
    return TURN if b"record_turn(" in query else OTHER


async def _each_frame(
    reader: asyncio.StreamReader, take: Callable[[Frame], Awaitable[None]]
) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            kind, length = await reader.readexactly(1), await reader.readexactly(_LENGTH.size)
            await take((kind, await reader.readexactly(_LENGTH.unpack(length)[0] - _LENGTH.size)))


async def _send(writer: asyncio.StreamWriter, frame: Frame) -> None:
    kind, body = frame
    writer.write(kind + _LENGTH.pack(len(body) + _LENGTH.size) + body)
    await writer.drain()


class RandomLosses:
    """Chooses by chance, up to `limit` losses: then what was begun can end."""

    def __init__(self, seed: int, shares: dict[tuple[str, Loss], float], limit: int) -> None:
        """Lose each kind of statement in each way with its share."""
        self._random = Random(seed)
        self._shares = shares
        self._left = limit

    def __call__(self, kind: str) -> Loss | None:
        """Return what becomes of a statement."""
        drawn = self._random.random()
        for loss in Loss:
            drawn -= self._shares.get((kind, loss), 0)
            if drawn < 0 and self._left:
                self._left -= 1
                return loss
        return None
