"""The admin step: roles, schemas, migrations, shards and topics. Safe to run again at any time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from schemas.registry import SHARD_COUNT_DEFAULT
from schemas.topics import ALL_TOPICS
from services.cli.setup.access import Principals, apply_access, principals
from services.cli.setup.scram import scram_verifier
from services.runtime.errors import ConfigurationError
from services.runtime.kafka.access import confirm_access
from services.runtime.kafka.client import client_options
from services.runtime.kafka.patches.acls import NoAuthorizer
from services.runtime.kafka.topics.topic_limits import (
    Difference,
    differences,
    put_right,
    wanted_limits,
)
from services.runtime.log.migrator import RUNTIME_MIGRATIONS, migrate
from services.runtime.postgres.dsn import refusal, verified
from services.runtime.settings import KafkaSettings

_SERVICES_FOLDER: Final = Path(__file__).parents[2]
_LEADERS_TIMEOUT_SECONDS: Final = 60


def migration_folders(service: str) -> list[Path]:
    """Return the folders whose files make up the schema of `service`, for us and for dbmate."""
    own = _SERVICES_FOLDER / service / "migrations"
    return [RUNTIME_MIGRATIONS, *([own] if own.is_dir() else [])]


async def set_up(  # noqa: PLR0913 - all that a system is made of
    *,
    admin_dsn: str,
    kafka: KafkaSettings,
    passwords: Mapping[str, str],
    shard_count: int = SHARD_COUNT_DEFAULT,
    replication_factor: int = 1,
    users: Principals | None = None,
    remove_other_access: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[int, int] | None:
    """Make Postgres and Kafka ready for the services named in `passwords` (service -> password).

    Returns how many access entries were added and removed; None where the broker keeps none. Each
    setting of a topic that was changed is told.

    Raises:
        ConfigurationError: the shard count or the topics differ from what was made before, or Kafka
            does not let us in.
    """
    await confirm_access(kafka, client_options(kafka))
    for service, password in passwords.items():
        await set_up_postgres(admin_dsn, service, password, shard_count)
    for changed in await set_up_topics(kafka, shard_count, replication_factor):
        tell(f"changed: {changed}")
    return await set_up_access(kafka, users or principals(), remove_others=remove_other_access)


async def set_up_access(
    kafka: KafkaSettings, users: Principals, *, remove_others: bool
) -> tuple[int, int] | None:
    """Bring the table of who may do what to the broker; None where it has no authorizer."""
    admin = AIOKafkaAdminClient(**client_options(kafka))
    await admin.start()
    try:
        return await apply_access(admin, users, remove_others=remove_others)
    except NoAuthorizer:
        return None
    finally:
        await admin.close()


async def set_up_postgres(admin_dsn: str, service: str, password: str, shard_count: int) -> None:
    """Create the role `perennial_<service>` and its schema, migrate it, and create the shards."""
    connection = await _connect(admin_dsn)
    role = f"perennial_{service}"
    try:
        exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
        verb = "ALTER" if exists else "CREATE"
        await connection.execute(f"{verb} ROLE {role} LOGIN PASSWORD '{scram_verifier(password)}'")
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


async def _connect(admin_dsn: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(verified(admin_dsn), timeout=10)
    except OSError as error:
        if reason := refusal(error):
            raise ConfigurationError(reason) from None
        raise


def topics_wanted(shard_count: int, replication_factor: int) -> list[NewTopic]:
    """Return every topic and dead-letter topic with its settings."""
    wanted = []
    for topic in ALL_TOPICS:
        names = [topic.name, *(topic.dead_letter_topic(group) for group in topic.groups)]
        wanted += [
            NewTopic(
                name=name,
                num_partitions=topic.partition_count(shard_count),
                replication_factor=replication_factor,
                topic_configs=wanted_limits(topic, replication_factor),
            )
            for name in names
        ]
    return wanted


async def set_up_topics(
    kafka: KafkaSettings, shard_count: int, replication_factor: int
) -> list[Difference]:
    """Create the topics that are missing, and put right the settings of those that are there.

    Returns what differed, when every partition has a leader.
    """
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
        names = [topic.name for topic in wanted]
        await _wait_for_leaders(admin, {each.name: each.num_partitions for each in wanted})
        # What was made a moment ago has its settings, though not every broker may know them yet.
        before = [name for name in names if name in existing]
        described = await admin.describe_topics(before) if before else []
        found = await differences(admin, ALL_TOPICS, described)
        if found:
            await put_right(admin, found)
        return found
    finally:
        await admin.close()


async def _wait_for_leaders(admin: AIOKafkaAdminClient, partitions: Mapping[str, int]) -> None:
    ends_at = time.monotonic() + _LEADERS_TIMEOUT_SECONDS
    while True:
        described = await admin.describe_topics(list(partitions))
        waiting = [
            topic["topic"]
            for topic in described
            if topic["error_code"]
            or len(topic["partitions"]) < partitions[topic["topic"]]
            or any(partition["leader"] < 0 for partition in topic["partitions"])
        ]
        wrong = [
            f"{topic['topic']} has more than {partitions[topic['topic']]} partitions"
            for topic in described
            if len(topic["partitions"]) > partitions[topic["topic"]]
        ]
        if wrong:
            message = f"{'; '.join(wrong)}: the number is fixed"
            raise ConfigurationError(message)
        if not waiting:
            return
        if time.monotonic() > ends_at:
            message = f"no leader after {_LEADERS_TIMEOUT_SECONDS} s for {', '.join(waiting)}"
            raise ConfigurationError(message)
        await asyncio.sleep(0.2)
