"""`/livez`, `/readyz`, `/version` and `/metrics` of one process: plain HTTP, no secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this process does its work now; `problems` say what is missing.

    `parked` shards wait for a person; the process does its work for all others. `held_back` says
    which partitions an open transaction of their writer holds up: nothing here mends that.
    """

    problems: list[str] = field(default_factory=list)
    lag: int = 0
    partitions: int = 0
    parked: list[str] = field(default_factory=list)
    held_back: list[str] = field(default_factory=list)


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HealthServer:
    """Serves the probes until stopped."""

    def __init__(  # noqa: PLR0913 - each is another page
        self,
        *,
        service: str,
        host: str,
        port: int,
        alive: Callable[[], bool],
        readiness: Callable[[], Awaitable[Readiness]],
        metrics: Callable[[str], Awaitable[tuple[bytes, str]]] | None = None,
    ) -> None:
        """Listen on `host`:`port`; 0 takes a free port.

        `metrics` returns a page and its content type for what a scraper accepts.
        """
        self._service = service
        self._alive = alive
        self._readiness = readiness
        routes = [
            Route("/livez", self._livez),
            Route("/readyz", self._readyz),
            Route("/version", self._version),
        ]
        if metrics is not None:
            routes.append(Route("/metrics", _endpoint(metrics)))
        config = uvicorn.Config(
            Starlette(routes=routes),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            lifespan="off",
            log_config=None,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the port is open.

        Raises:
            OSError: the port is taken.
        """
        self._task = asyncio.create_task(self._serve())
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.01)

    @property
    def port(self) -> int:
        """The port that is open; 0 when none is."""
        sockets = self._server.servers[0].sockets if self._server.started else ()
        return int(sockets[0].getsockname()[1]) if sockets else 0

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    async def _serve(self) -> None:
        try:
            await self._server.serve()
        except SystemExit:
            message = (
                f"port {self._server.config.port} on {self._server.config.host} is taken: "
                "set HTTP_PORT to a free one"
            )
            raise OSError(message) from None

    async def _livez(self, _: Request) -> JSONResponse:
        alive = self._alive()
        return JSONResponse({"alive": alive}, 200 if alive else 503)

    async def _readyz(self, _: Request) -> JSONResponse:
        readiness = await self._readiness()
        return JSONResponse(
            {
                "ready": not readiness.problems,
                "problems": readiness.problems,
                "lag": readiness.lag,
                "partitions": readiness.partitions,
                "parked": readiness.parked,
                "held_back": readiness.held_back,
            },
            503 if readiness.problems else 200,
        )

    async def _version(self, _: Request) -> JSONResponse:
        return JSONResponse({"service": self._service, "version": version("perennial")})


def _endpoint(
    page: Callable[[str], Awaitable[tuple[bytes, str]]],
) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        text, content_type = await page(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    return serve
