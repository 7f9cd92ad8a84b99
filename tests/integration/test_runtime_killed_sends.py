"""A process that is killed while streams send to each other: each parcel comes by once."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from services.cli.setup.setup import set_up_postgres
from services.runtime.app.start import open_pool
from services.runtime.log.postgres_log import PostgresEventLog
from tests.controls import settings_for
from tests.integration.courier_process import POINTS, Killer, Process
from tests.unit.runtime.couriers import ACCOUNTS, expected
from tests.unit.runtime.toy import SHARDS

ASKED = [
    (ACCOUNTS[0], "w.2.0.2-1"),
    (ACCOUNTS[2], "w.0.1.1.2-2"),
    (ACCOUNTS[1], "w.1.1.2-3"),
    (ACCOUNTS[0], "w.2.2.0.0-4"),
]


async def lived(dsn: str, folder: Path, point: str, turn: int) -> int:
    """Run the process until it is dead or done; return how it ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.courier_process"),
        *(dsn, str(folder), point, str(turn)),
    )
    return await process.wait()


@pytest.mark.parametrize("point", POINTS)
async def test_killed_process_delivers_everything_once(
    fresh_database: str, tmp_path: Path, point: str
) -> None:
    await set_up_postgres(fresh_database, "orders", "secret", SHARDS)
    settings = settings_for(fresh_database, role="perennial_orders:secret")
    pool = await open_pool("orders", settings)
    try:
        log = PostgresEventLog(pool)
        couriers = Process(log, tmp_path, Killer(log))
        for account_id, topup_id in ASKED:
            couriers.ask(account_id, topup_id)
        couriers.keep(sent=False)
        ends = [await lived(fresh_database, tmp_path, point, turn) for turn in (1, 2, 1, 1, 9)]
        assert ends[:2] == [-signal.SIGKILL] * 2
        assert ends[-1] == 0
        assert await couriers.counts() == expected(ASKED)
    finally:
        await pool.close()
