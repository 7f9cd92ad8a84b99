"""Honest requests alone, then beside a flood of hostile ones: what is measured and what must hold."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from deploy.bench.results.figures import percentile
from deploy.bench.system.load import Load
from deploy.bench.usage import MIB
from deploy.local.processes import Child
from deploy.local.services import SERVICES
from schemas.topics import REQUESTS
from services.runtime.flow.journal import CACHED_STREAMS_MAX
from services.runtime.flow.letters.letter_room import PER_SOURCE_MAX, SOURCES_MAX
from tests.hostile.honest import Honest
from tests.infrastructure.system import SHARDS, System

HOSTILE_SHARE: Final = 0.9
RATIO_MAX: Final = 2.0
GROWTH_MAX: Final = 1.15
"""Resident memory at the end by that in the middle, but for what is still cached by then."""
_CACHED_MIB: Final = 8 / 1024
"""What a cached order takes at most."""
MEMORY_MIB_MAX: Final = 300
LETTERS_MAX: Final = (SOURCES_MAX + 1) * PER_SOURCE_MAX
LETTER_BYTES_MAX: Final = 200 * MIB
LOG_BYTES_PER_RECORD_MAX: Final = 100
_STARTED_SECONDS: Final = 60
_WARM_SECONDS: Final = 3.0
_ALONE_SHARE: Final = 0.2
"""How long the honest are measured alone, before and after, by the time of the flood."""
_READERS: Final = ("orders", "notifier")
_TABLE: Final = (
    "SELECT count(*), pg_total_relation_size('dead_letter') AS bytes,"
    " (SELECT coalesce(sum(letters), 0)::bigint FROM dead_letter_overflow) AS overflow"
    " FROM dead_letter"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how much: `rate` records a second in all."""

    seconds: float
    rate: int
    seed: int

    @property
    def honest_rate(self) -> int:
        """Renewals a second."""
        return round(self.rate * (1 - HOSTILE_SHARE))

    @property
    def hostile_rate(self) -> int:
        """Hostile records a second."""
        return self.rate - self.honest_rate


@dataclass(slots=True)
class Found:
    """What a siege measured; memory in MiB at a quarter, the half and the end of the flood."""

    hostile_sent: int = 0
    alone_ms: list[float] = field(default_factory=list)
    beside_ms: list[float] = field(default_factory=list)
    honest: int = 0
    not_once: list[str] = field(default_factory=list)
    memory: dict[str, list[float]] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    not_ready: list[str] = field(default_factory=list)
    parked: dict[str, int] = field(default_factory=dict)
    letters: dict[str, int] = field(default_factory=dict)
    letter_bytes: dict[str, int] = field(default_factory=dict)
    overflow: dict[str, int] = field(default_factory=dict)
    log_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The 99th percentile beside the flood by that without it."""
        return percentile(self.beside_ms, 99) / percentile(self.alone_ms, 99)

    def broken(self) -> list[str]:
        """Return each promise that does not hold, but those of time and growth: `ratio`, `grown`."""
        records = self.hostile_sent + self.honest
        checks = [
            (not self.hostile_sent, "nothing hostile arrived"),
            (self.not_once, f"{len(self.not_once)} honest requests not answered exactly once"),
            (self.ended, f"ended: {self.ended}"),
            (self.not_ready, f"not ready: {', '.join(self.not_ready)}"),
            (any(self.parked.values()), f"parked shards: {self.parked}"),
            (
                max(self.letters.values()) > LETTERS_MAX,
                f"dead letters kept: {self.letters}, at most {LETTERS_MAX}",
            ),
            (
                max(self.letter_bytes.values()) > LETTER_BYTES_MAX,
                f"bytes of dead letters: {self.letter_bytes}, at most {LETTER_BYTES_MAX}",
            ),
            (
                max(size for sizes in self.memory.values() for size in sizes) > MEMORY_MIB_MAX,
                f"more than {MEMORY_MIB_MAX} MiB: {self.memory}",
            ),
            (not all(self.overflow[each] for each in _READERS), "nothing overflowed"),
            (
                max(self.log_bytes.values()) > LOG_BYTES_PER_RECORD_MAX * records,
                f"log bytes: {self.log_bytes} for {records} records",
            ),
        ]
        return [text for failed, text in checks if failed]

    def grown(self) -> list[str]:
        """Return the services whose memory still grew in the second half.

        Streams are cached up to a number: until that is reached, each new one takes its place.
        """
        in_half = len(self.beside_ms) // 2
        before = self.honest - len(self.beside_ms) + in_half
        cached = max(0, min(in_half, CACHED_STREAMS_MAX - before))
        return [
            f"{name}: {_mib(sizes)} MiB"
            for name, sizes in self.memory.items()
            if sizes[-1] > GROWTH_MAX * sizes[1] + cached * _CACHED_MIB
        ]


def _mib(sizes: list[float]) -> str:
    return " -> ".join(f"{size:.0f}" for size in sizes)


class Siege:
    """Runs against a system whose services are started with `start`."""

    def __init__(self, system: System, plan: Plan) -> None:
        """Measure `system` by `plan`."""
        self._system = system
        self._plan = plan
        self._honest = Honest(system.infrastructure.bootstrap_servers, SHARDS)

    def start(self) -> None:
        """Start the services; emails are counted, not sent."""
        for service in SERVICES:
            more: dict[str, Any] = {"CHANNEL": "counting"} if service == "notifier" else {}
            self._system.start(service, wait=False, **more)
        self._system.wait_for(
            "all are ready", lambda: all(map(self._system.is_ready, SERVICES)), seconds=90
        )

    def run(self) -> Found:
        """Measure, and return when everything was handled."""
        found = asyncio.run(self._run())
        self._look(found)
        return found

    async def _run(self) -> Found:
        plan, found = self._plan, Found()
        alone_seconds = max(_WARM_SECONDS, _ALONE_SHARE * plan.seconds)
        async with self._honest.listening():
            await self._ask("warm", _WARM_SECONDS)
            before = await self._ask("before", alone_seconds)
            child = await self._flood()
            # The flood begins when its records are made.
            watching = asyncio.create_task(self._watch_memory(found))
            beside = await self._ask("beside", plan.seconds)
            await watching
            found.hostile_sent = await self._delivered(child)
            await self._handled()
            after = await self._ask("after", alone_seconds)
        names = [*before, *beside, *after]
        found.honest = len(names)
        found.not_once = self._honest.not_once(names)
        found.alone_ms = [1000 * s for s in self._honest.seconds([*before, *after])]
        found.beside_ms = [1000 * s for s in self._honest.seconds(beside)]
        return found

    async def _ask(self, name: str, seconds: float) -> list[str]:
        return await self._honest.ask(Load(name), rate=self._plan.honest_rate, seconds=seconds)

    async def _flood(self) -> Child:
        plan = self._plan
        command = [
            *(sys.executable, "-m", "tests.hostile.flood", "--shards", SHARDS),
            *("--servers", self._system.infrastructure.bootstrap_servers, "--seed", plan.seed),
            *("--rate", plan.hostile_rate, "--seconds", plan.seconds),
        ]
        child = self._system.processes.start("flood", command)
        ends_at = time.monotonic() + _STARTED_SECONDS
        while "ready" not in child.log.read_text():
            if child.exit_code is not None or time.monotonic() > ends_at:
                raise child.failed("did not begin")
            await asyncio.sleep(0.05)
        return child

    async def _delivered(self, child: Child) -> int:
        while child.exit_code is None:
            await asyncio.sleep(0.1)
        if child.exit_code != 0:
            raise child.failed("failed")
        return int(child.log.read_text().rpartition("delivered ")[2])

    async def _watch_memory(self, found: Found) -> None:
        pids = {name: self._system.children[name].pid for name in SERVICES}
        started = time.monotonic()
        for share in (0.25, 0.5, 1.0):
            await asyncio.sleep(started + share * self._plan.seconds - time.monotonic())
            for name, pid in pids.items():
                if psutil.pid_exists(pid):
                    resident = psutil.Process(pid).memory_info().rss / MIB
                    found.memory.setdefault(name, []).append(resident)

    async def _handled(self) -> None:
        """Return when orders and the notifier are behind everything that was sent, or give up."""
        ends_at = time.monotonic() + _STARTED_SECONDS
        while time.monotonic() < ends_at:
            ends = await self._honest.ends()
            behind = [await asyncio.to_thread(self._cursors, each) for each in _READERS]
            if all(cursors == ends for cursors in behind):
                return
            await asyncio.sleep(0.2)

    def _cursors(self, service: str) -> dict[int, int]:
        rows = self._system.query(
            service, "SELECT partition, next_offset FROM cursor WHERE topic = $1", REQUESTS.name
        )
        return {row["partition"]: row["next_offset"] for row in rows}

    def _look(self, found: Found) -> None:
        system = self._system
        for name in SERVICES:
            child = system.children[name]
            if child.exit_code is not None:
                found.ended[name] = child.exit_code
            elif not system.is_ready(name):
                found.not_ready.append(name)
            [letters] = system.query(name, _TABLE)
            found.letters[name], found.letter_bytes[name], found.overflow[name] = letters
            parked = "SELECT count(*) FROM parked_shard WHERE resumed_at IS NULL"
            found.parked[name] = system.query(name, parked)[0][0]
            found.log_bytes[name] = child.log.stat().st_size
