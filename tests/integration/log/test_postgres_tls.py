"""Postgres over TLS, and logins that the server never sees as text, on the real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.controls import dsn_for
from tests.infrastructure import Infrastructure
from tests.infrastructure.system import PASSWORD, SHARDS, System
from tests.infrastructure.tls_postgres import REMOTE, TlsPostgres, at, tls_postgres

CONFIGURATION, USAGE = 78, 2


@pytest.fixture
def tls(tmp_path: Path, infrastructure: Infrastructure) -> Iterator[TlsPostgres]:
    with tls_postgres(tmp_path, infrastructure.admin_dsn) as ready:
        yield ready


def perennial(
    system: System, dsns: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | dsns
    environment["PERENNIAL_BOOTSTRAP_SERVERS"] = system.infrastructure.bootstrap_servers
    environment["PERENNIAL_STATE_FOLDER"] = str(system.folder / "none")
    environment |= {f"PERENNIAL_{s}_PASSWORD": PASSWORD for s in ("ORDERS", "LEDGER", "NOTIFIER")}
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=90
    )


SETUP = ("setup", "--shard-count", str(SHARDS), "--replication-factor", "1")


def test_service_and_every_command_verify_the_server(system: System, tls: TlsPostgres) -> None:
    def through(dsn: str) -> str:
        return tls.dsn(dsn, query=f"sslrootcert={tls.ca_file}")

    made = perennial(system, {"PERENNIAL_ADMIN_DSN": through(system.admin_dsn)}, *SETUP)
    assert made.returncode == 0, made.stdout + made.stderr
    child = system.start("orders", POSTGRES_DSN=through(system.dsn("orders")))
    assert child.stop() == 0
    assert "postgres_not_verified" not in child.log.read_text()
    # One connection by asyncpg, one by libpq.
    ledger = {"PERENNIAL_LEDGER_POSTGRES_DSN": through(system.dsn("ledger"))}
    replayed = perennial(system, ledger, "ledger", "replay")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_server_that_is_not_trusted_gets_no_login(system: System, tls: TlsPostgres) -> None:
    told = "the certificate of Postgres is not trusted"
    child = system.start("orders", wait=False, POSTGRES_DSN=tls.dsn(system.dsn("orders")))
    assert child.popen.wait(60) == CONFIGURATION
    assert told in child.log.read_text()
    admin = {"PERENNIAL_ADMIN_DSN": tls.dsn(system.admin_dsn)}
    ledger = {"PERENNIAL_LEDGER_POSTGRES_DSN": tls.dsn(system.dsn("ledger"))}
    for done in (
        perennial(system, admin, *SETUP),
        perennial(system, ledger, "ledger", "balances"),
    ):
        assert done.returncode == USAGE, done.stdout + done.stderr
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_certificate_for_another_name_is_not_trusted(system: System, tls: TlsPostgres) -> None:
    dsn = tls.dsn(system.dsn("ledger"), query=f"sslrootcert={tls.ca_file}", host="127.0.1")
    done = perennial(system, {"PERENNIAL_LEDGER_POSTGRES_DSN": dsn}, "ledger", "balances")
    assert done.returncode == USAGE, done.stdout + done.stderr
    assert "is not trusted" in done.stderr


def test_server_without_tls_is_used_only_when_that_is_said(
    system: System, infrastructure: Infrastructure
) -> None:
    address = f"{REMOTE}:{infrastructure.admin_dsn.rpartition(':')[2].partition('/')[0]}"
    dsn = at(system.dsn("orders"), address)
    child = system.start("orders", wait=False, POSTGRES_DSN=dsn)
    assert child.popen.wait(60) == CONFIGURATION
    assert "Postgres speaks no TLS" in child.log.read_text()

    child = system.start("orders", POSTGRES_DSN=f"{dsn}?sslmode=disable")
    assert child.stop() == 0
    assert "postgres_not_verified" in child.log.read_text()


def test_password_reaches_the_server_as_a_verifier_only(system: System) -> None:
    async def look() -> str:
        admin = await asyncpg.connect(system.admin_dsn)
        try:
            stored = await admin.fetchval(
                "SELECT rolpassword FROM pg_authid WHERE rolname = 'perennial_orders'"
            )
        finally:
            await admin.close()
        service = await asyncpg.connect(dsn_for(system.admin_dsn, f"perennial_orders:{PASSWORD}"))
        await service.close()
        return str(stored)

    stored = asyncio.run(look())
    assert stored.startswith("SCRAM-SHA-256$4096:")
    assert PASSWORD not in stored
