"""What an operator does to a broker and with `perennial recover`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient

from services.cli.setup.setup import set_up_topics
from services.runtime.settings import KafkaSettings
from tests.infrastructure.system import EVENT_KEYS, SALT, SHARDS, System

SERVICES = ("orders", "ledger", "notifier")


def perennial(system: System, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the operator."""
    environment = os.environ | {
        "PERENNIAL_BOOTSTRAP_SERVERS": system.infrastructure.bootstrap_servers,
        "PERENNIAL_EVENT_KEYS": EVENT_KEYS,
        "PERENNIAL_ORDERS_ESIM_HASH_SALT": SALT,
        **{f"PERENNIAL_{name.upper()}_POSTGRES_DSN": system.dsn(name) for name in SERVICES},
    }
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def recover(system: System, *arguments: str) -> str:
    """Run `perennial recover`, which must succeed; return what it prints."""
    done = perennial(system, "recover", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_again(system: System, topics: Sequence[str]) -> None:
    """Delete topics with all that is in them, and make them anew."""
    settings = KafkaSettings(bootstrap_servers=system.infrastructure.bootstrap_servers)
    asyncio.run(_delete(system.infrastructure.bootstrap_servers, topics))
    asyncio.run(set_up_topics(settings, SHARDS, 1))


async def _delete(servers: str, topics: Sequence[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_topics(list(topics))
        while set(topics) & set(await admin.list_topics()):  # noqa: ASYNC110 - Kafka has no signal
            await asyncio.sleep(0.1)
    finally:
        await admin.close()
