"""A second address of a server, at which it comes up, or answers late, when a test says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from deploy.local.ports import HOST


class Proxy:
    """Forwards connections from a port of its own to `target`; the port is closed until `open`.

    Every answer of `target` waits for `answer_delay_seconds`, which may change at any time.
    """

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        """Know both ends."""
        self._port = port
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.answer_delay_seconds = 0.0

    def __enter__(self) -> Self:
        """Begin with a closed port."""
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close the port and the connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def open(self) -> None:
        """Accept connections from now on."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self._port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(connection)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        try:
            await asyncio.gather(
                _pump(reader, there_writer),
                _pump(there_reader, writer, lambda: self.answer_delay_seconds),
            )
        finally:
            writer.close()
            there_writer.close()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    delay_seconds: Callable[[], float] = lambda: 0.0,
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            await asyncio.sleep(delay_seconds())
            writer.write(data)
            await writer.drain()
    writer.close()
