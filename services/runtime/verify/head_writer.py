"""Writes the heads of a service's log to a folder, again and again: each to a file of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from services.runtime.errors import Transient
from services.runtime.key_ring import KeyRing
from services.runtime.logs import Logger
from services.runtime.postgres.errors import transient_when_unwell
from services.runtime.settings import RuntimeSettings
from services.runtime.verify.anchors import heads_line
from services.runtime.verify.slices import heads_of

if TYPE_CHECKING:
    import asyncpg


@dataclass(slots=True)
class KeptHeads:
    """What a scraper is told: how often heads are due, and when they were written last (epoch)."""

    interval_seconds: float
    at: float = 0.0


class HeadWriter:
    """Keeps the heads of one service; every process of it writes those of all shards."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        service: str,
        pool: asyncpg.Pool,
        folder: Path,
        seconds: float,
        keys: KeyRing | None,
        clock: Callable[[], datetime],
        logger: Logger,
    ) -> None:
        """Write to `folder`, which may be a mounted bucket, every `seconds`."""
        self._service = service
        self._pool = pool
        self._folder = folder
        self.kept = KeptHeads(seconds)
        self._keys = keys
        self._clock = clock
        self._logger = logger

    async def run(self) -> None:
        """Write until cancelled; a folder that is away is said, and tried again."""
        while True:
            try:
                await self.write()
            except (OSError, Transient) as error:
                self._logger.error("heads_not_kept", error=type(error).__name__)
            await asyncio.sleep(self.kept.interval_seconds)

    async def write(self) -> Path:
        """Write the heads of this moment; return the file, which is complete when it has its name."""
        with transient_when_unwell():
            async with self._pool.acquire() as connection:
                heads = await heads_of(connection)
        now = self._clock()
        line = heads_line(self._service, heads, now, self._keys)
        name = f"{self._service}-{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}.json"
        file = await asyncio.to_thread(_write_whole, self._folder / name, line + "\n")
        self.kept.at = now.timestamp()
        return file


def head_writer_of(
    settings: RuntimeSettings,
    service: str,
    pool: asyncpg.Pool,
    clock: Callable[[], datetime],
    logger: Logger,
) -> HeadWriter | None:
    """Return what keeps the heads of `service` as its settings ask; None when they do not."""
    if settings.anchor_folder is None:
        return None
    return HeadWriter(
        service=service,
        pool=pool,
        folder=settings.anchor_folder,
        seconds=settings.anchor_seconds,
        keys=KeyRing.of(settings.anchor_keys),
        clock=clock,
        logger=logger,
    )


def _write_whole(file: Path, text: str) -> Path:
    partial = file.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    return partial.rename(file)
