"""A second address of a broker, whose answers to what is produced a test loses, withholds or changes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Any, Final, Self

from aiokafka.protocol import metadata, produce

from deploy.local.ports import HOST

_PRODUCE: Final = 0
_METADATA: Final = 3
_LEADER_NOT_AVAILABLE: Final = 5
_NOT_LEADER: Final = 6
_NOBODY: Final = -1
_LENGTH: Final = struct.Struct(">i")
_REQUEST: Final = struct.Struct(">hhih")
"""API key, version, correlation id, length of the client's name."""


class Trouble(Enum):
    """What becomes of a request to produce."""

    LOST = "the connection ends before the broker has it"
    UNANSWERED = "the connection ends when the broker has it, and before it says so"
    SILENT = "nothing comes back, and the connection stays"
    REFUSED = "the broker no longer leads the partition"


class KafkaProxy:
    """Stands before the one broker of a test.

    `trouble` is asked for each request to produce to a partition; `leaderless` partitions have no
    leader in the metadata.
    """

    def __init__(self, servers: str) -> None:
        """Forward to `servers`, one `host:port`."""
        host, _, port = servers.rpartition(":")
        self._target = host, int(port)
        self._connections: set[asyncio.Task[None]] = set()
        self.trouble: Callable[[int], Trouble | None] = lambda _: None
        self.leaderless: set[int] = set()

    async def __aenter__(self) -> Self:
        """Accept connections."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close the port and the connections."""
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"{HOST}:{self.port}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        connection = _Connection(self, writer, there_writer)
        both = [
            asyncio.create_task(_each_frame(reader, connection.ask)),
            asyncio.create_task(_each_frame(there_reader, connection.answer)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            writer.close()
            there_writer.close()


class _Connection:
    """What was asked on one connection, and is not answered."""

    def __init__(
        self, proxy: KafkaProxy, here: asyncio.StreamWriter, there: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._here = here
        self._there = there
        self._asked: dict[int, tuple[int, int, Trouble | None]] = {}

    async def ask(self, frame: bytes) -> None:
        """Pass a request on, or not."""
        key, version, number, name = _REQUEST.unpack_from(frame)
        trouble = None
        if key == _PRODUCE:
            asked: Any = getattr(produce, f"ProduceRequest_v{version}")
            body = asked.decode(frame[_REQUEST.size + max(0, name) :])
            trouble = self._trouble(body.topics)
            if trouble is Trouble.LOST:
                raise ConnectionResetError
            if trouble is Trouble.SILENT:
                return
            if trouble is Trouble.REFUSED:
                await _send(self._here, _LENGTH.pack(number) + _refusal(asked, body.topics))
                return
        self._asked[number] = key, version, trouble
        await _send(self._there, frame)

    def _trouble(self, topics: list[tuple[str, list[tuple[int, bytes]]]]) -> Trouble | None:
        for _, partitions in topics:
            for partition, _ in partitions:
                if trouble := self._proxy.trouble(partition):
                    return trouble
        return None

    async def answer(self, frame: bytes) -> None:
        """Pass an answer back, or not; all brokers are at the proxy's address."""
        (number,) = _LENGTH.unpack_from(frame)
        key, version, trouble = self._asked.pop(number)
        if trouble is Trouble.UNANSWERED:
            raise ConnectionResetError
        if key == _METADATA:
            told: Any = getattr(metadata, f"MetadataResponse_v{version}")
            answer = told.decode(frame[_LENGTH.size :])
            answer.brokers = [(b[0], HOST, self._proxy.port, *b[3:]) for b in answer.brokers]
            answer.topics = [self._without_leaders(topic) for topic in answer.topics]
            frame = _LENGTH.pack(number) + answer.encode()
        await _send(self._here, frame)

    def _without_leaders(self, topic: tuple[Any, ...]) -> tuple[Any, ...]:
        *about, partitions = topic
        return (
            *about,
            [
                (_LEADER_NOT_AVAILABLE, number, _NOBODY, *rest)
                if number in self._proxy.leaderless
                else (error, number, leader, *rest)
                for error, number, leader, *rest in partitions
            ],
        )


def _refusal(asked: Any, topics: list[tuple[str, list[tuple[int, bytes]]]]) -> bytes:
    of_schema: Any = asked.RESPONSE_TYPE
    width = len(of_schema.SCHEMA.fields[0].array_of.fields[1].array_of.fields)
    refused = [
        (name, [(number, _NOT_LEADER, *[-1] * (width - 2)) for number, _ in partitions])
        for name, partitions in topics
    ]
    answer: bytes = of_schema(refused, 0).encode()
    return answer


async def _each_frame(
    reader: asyncio.StreamReader, take: Callable[[bytes], Awaitable[None]]
) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
            await take(await reader.readexactly(length))


async def _send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(_LENGTH.pack(len(frame)) + frame)
    await writer.drain()
