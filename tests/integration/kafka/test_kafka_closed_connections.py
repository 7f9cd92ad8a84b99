"""A broker that closes a connection: whoever writes next, under uvloop too, gets a Kafka error."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from services.runtime.kafka.client import client_options
from tests.controls import settings_for
from tests.infrastructure import Infrastructure

LOOPS = pytest.mark.parametrize(
    "loop_of", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
NO_LINGER = struct.pack("ii", 1, 0)


class Proxy:
    """Stands before the broker, and can reset what goes through it."""

    def __init__(self, host: str, port: int) -> None:
        self._broker = host, port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(*self._broker)
        self._writers += [writer, there[1]]
        self._tasks |= {
            asyncio.create_task(_copy(reader, there[1])),
            asyncio.create_task(_copy(there[0], writer)),
        }

    def reset(self) -> None:
        """Close as a killed broker does: the other side reads a reset, not an end."""
        while self._writers:
            writer = self._writers.pop()
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65536):
            writer.write(some)
    except (OSError, RuntimeError):
        return


@asynccontextmanager
async def proxy_before(servers: str) -> AsyncIterator[Proxy]:
    host, _, port = servers.partition(":")
    proxy = Proxy(host, int(port))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.reset()
        server.close()


async def ask_on_and_on(connection: AIOKafkaConnection, asked: list[asyncio.Task[Any]]) -> None:
    """Write in each turn of the loop: in which of them the reset is seen, nobody can say."""
    for _ in range(2000):
        asked.append(asyncio.ensure_future(connection.send(MetadataRequest([]))))
        await asyncio.sleep(0)


@LOOPS
def test_a_write_to_a_connection_that_was_just_reset_fails_with_a_kafka_error(
    infrastructure: Infrastructure, loop_of: Any
) -> None:
    async def write_on_and_on() -> list[BaseException | None]:
        servers = infrastructure.bootstrap_servers
        client_options(settings_for(infrastructure.admin_dsn, role="toy"))
        async with proxy_before(servers) as proxy:
            connection = await create_conn("127.0.0.1", proxy.port)
            assert (await connection.send(MetadataRequest([]))).brokers
            proxy.reset()
            asked: list[asyncio.Task[Any]] = []
            with pytest.raises(KafkaConnectionError):
                await ask_on_and_on(connection, asked)
            return list(await asyncio.gather(*asked, return_exceptions=True))

    with asyncio.Runner(loop_factory=loop_of) as runner:
        answers = runner.run(asyncio.wait_for(write_on_and_on(), 20))
    assert {type(each) for each in answers} == {KafkaConnectionError}
