"""The probes of a process, asked over HTTP."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.metadata import version

import httpx
import pytest

from services.runtime.watch.health import HealthServer, Readiness


@dataclass
class World:
    address: str = ""
    alive: bool = True
    readiness: Readiness = field(default_factory=Readiness)

    async def ready(self) -> Readiness:
        return self.readiness

    def server(self, port: int) -> HealthServer:
        return HealthServer(
            service="toys",
            host="127.0.0.1",
            port=port,
            alive=lambda: self.alive,
            readiness=self.ready,
        )

    async def ask(self, path: str, method: str = "GET") -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.address, trust_env=False) as client:
            return await client.request(method, path)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture
async def world() -> AsyncIterator[World]:
    port = free_port()
    world = World(f"http://127.0.0.1:{port}")
    server = world.server(port)
    await server.start()
    try:
        yield world
    finally:
        await server.stop()


async def test_living_process_says_so_and_a_failed_one_asks_to_be_restarted(world: World) -> None:
    answer = await world.ask("/livez")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})
    world.alive = False
    answer = await world.ask("/livez")
    assert (answer.status_code, answer.json()) == (503, {"alive": False})


async def test_ready_process_tells_its_lag_and_how_many_partitions_it_holds(world: World) -> None:
    world.readiness = Readiness([], lag=7, partitions=3, parked=["s"], held_back=["t"])
    answer = await world.ask("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "problems": [],
        "lag": 7,
        "partitions": 3,
        "parked": ["s"],
        "held_back": ["t"],
    }


async def test_process_that_is_not_ready_says_what_is_missing(world: World) -> None:
    world.readiness = Readiness(["Postgres does not answer"])
    answer = await world.ask("/readyz")
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["Postgres does not answer"]


async def test_version_names_the_service_and_what_is_deployed(world: World) -> None:
    answer = await world.ask("/version")
    assert answer.json() == {"service": "toys", "version": version("perennial")}


@pytest.mark.parametrize("path", ["/", "/docs", "/asyncapi", "/metrics/../livez/try"])
async def test_nothing_else_is_served(world: World, path: str) -> None:
    assert (await world.ask(path)).status_code == 404


async def test_probes_take_no_orders(world: World) -> None:
    assert (await world.ask("/livez", "POST")).status_code == 405


async def test_taken_port_is_refused_with_what_to_do(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    port = int(world.address.rpartition(":")[2])
    with pytest.raises(OSError, match="set HTTP_PORT to a free one"):
        await world.server(port).start()
    capfd.readouterr()
