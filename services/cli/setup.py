"""The admin step: roles, schemas, migrations, shards and topics. Safe to run again at any time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.topics import SHARD_COUNT_DEFAULT, TOPICS
from services.runtime.errors import ConfigurationError
from services.runtime.kafka.access import confirm_access
from services.runtime.kafka.client import client_options
from services.runtime.log.migrator import RUNTIME_MIGRATIONS, migrate
from services.runtime.settings import KafkaSettings

_SERVICES_FOLDER: Final = Path(__file__).parents[1]
_LEADERS_TIMEOUT_SECONDS: Final = 60
_DAY_MS: Final = 24 * 60 * 60 * 1000


def migration_folders(service: str) -> list[Path]:
    """Return the folders whose files make up the schema of `service`, for us and for dbmate."""
    own = _SERVICES_FOLDER / service / "migrations"
    return [RUNTIME_MIGRATIONS, *([own] if own.is_dir() else [])]


async def set_up(
    *,
    admin_dsn: str,
    kafka: KafkaSettings,
    passwords: Mapping[str, str],
    shard_count: int = SHARD_COUNT_DEFAULT,
    replication_factor: int = 1,
) -> None:
    """Make Postgres and Kafka ready for the services named in `passwords` (service -> password).

    Raises:
        ConfigurationError: the shard count or the topics differ from what was made before, or Kafka
            does not let us in.
    """
    await confirm_access(kafka, client_options(kafka))
    for service, password in passwords.items():
        await set_up_postgres(admin_dsn, service, password, shard_count)
    await set_up_topics(kafka, shard_count, replication_factor)


async def set_up_postgres(admin_dsn: str, service: str, password: str, shard_count: int) -> None:
    """Create the role `perennial_<service>` and its schema, migrate it, and create the shards."""
    connection = await asyncpg.connect(admin_dsn, timeout=10)
    role = f"perennial_{service}"
    try:
        exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
        secret = await connection.fetchval("SELECT quote_literal($1::text)", password)
        verb = "ALTER" if exists else "CREATE"
        await connection.execute(f"{verb} ROLE {role} LOGIN PASSWORD {secret}")
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {service}")
        await connection.execute(f"GRANT USAGE ON SCHEMA {service} TO {role}")
        await connection.execute(f"SET search_path = {service}")
        await migrate(connection, migration_folders(service))
        await connection.execute(f"GRANT SELECT ON schema_migrations, migration_hash TO {role}")
        made = await connection.fetchval("SELECT count(*) FROM shard")
        if made not in {0, shard_count}:
            message = f"{service} has {made} shards: the shard count cannot change to {shard_count}"
            raise ConfigurationError(message)
        await connection.execute(
            "INSERT INTO shard (shard) SELECT generate_series(0, $1::int - 1)"
            " ON CONFLICT DO NOTHING",
            shard_count,
        )
    finally:
        await connection.close()


def topics_wanted(shard_count: int, replication_factor: int) -> list[NewTopic]:
    """Return every topic and dead-letter topic with its settings."""
    wanted = []
    for topic in TOPICS:
        names = [topic.name, *(topic.dead_letter_topic(group) for group in topic.groups)]
        wanted += [
            NewTopic(
                name=name,
                num_partitions=shard_count,
                replication_factor=replication_factor,
                topic_configs={
                    "cleanup.policy": "delete",
                    "retention.ms": str(topic.retention_days * _DAY_MS),
                    "min.insync.replicas": str(max(1, replication_factor - 1)),
                },
            )
            for name in names
        ]
    return wanted


async def set_up_topics(kafka: KafkaSettings, shard_count: int, replication_factor: int) -> None:
    """Create the topics that are missing and wait until every partition has a leader."""
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        wanted = topics_wanted(shard_count, replication_factor)
        existing = set(await admin.list_topics())
        if missing := [topic for topic in wanted if topic.name not in existing]:
            response = await admin.create_topics(missing)
            for name, code, *_ in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    message = f"topic {name} could not be created: {error.__name__}"
                    raise ConfigurationError(message)
        await _wait_for_leaders(admin, [topic.name for topic in wanted], shard_count)
    finally:
        await admin.close()


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: list[str], shard_count: int) -> None:
    ends_at = time.monotonic() + _LEADERS_TIMEOUT_SECONDS
    while True:
        described = await admin.describe_topics(names)
        waiting = [
            topic["topic"]
            for topic in described
            if topic["error_code"]
            or len(topic["partitions"]) < shard_count
            or any(partition["leader"] < 0 for partition in topic["partitions"])
        ]
        wrong = [t["topic"] for t in described if len(t["partitions"]) > shard_count]
        if wrong:
            message = f"{', '.join(wrong)}: more partitions than the {shard_count} shards"
            raise ConfigurationError(message)
        if not waiting:
            return
        if time.monotonic() > ends_at:
            message = f"no leader after {_LEADERS_TIMEOUT_SECONDS} s for {', '.join(waiting)}"
            raise ConfigurationError(message)
        await asyncio.sleep(0.2)
