"""From an environment to a running service: settings, waiting for Postgres and Kafka, exit status."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import asyncpg
import uvloop
from aiokafka.errors import KafkaError

from schemas.registry import EventRegistry, Topic
from services.runtime.app.composition import Composition
from services.runtime.app.process import ServiceProcess
from services.runtime.authenticity import EventKeys
from services.runtime.clock.database_clock import DatabaseClock
from services.runtime.clock.virtual_clock import VirtualClock
from services.runtime.environment import refuse_outside_demo
from services.runtime.errors import ConfigurationError, Halt, Stuck, Transient
from services.runtime.kafka.access import confirm_access
from services.runtime.kafka.client import assert_complete_client, check_topics, client_options
from services.runtime.kafka.topics.own_topic import check_own_topic
from services.runtime.log.migrator import (
    RUNTIME_MIGRATIONS,
    applied_versions,
    check_applied,
    read_migrations,
)
from services.runtime.logs import Logger, configure_logs
from services.runtime.postgres.dsn import refusal, verified, weakness
from services.runtime.postgres.errors import UNWELL
from services.runtime.processor import Processor
from services.runtime.settings import RuntimeSettings, load_settings
from services.runtime.stopping import Stopping
from services.runtime.watch.open_tracing import open_tracing

EXIT_HALTED: Final = 70
EXIT_TRY_AGAIN: Final = 75
EXIT_CONFIGURATION: Final = 78

ResultT = TypeVar("ResultT")
SettingsT = TypeVar("SettingsT", bound=RuntimeSettings)
OpenProcessor = Callable[
    [SettingsT, asyncpg.Pool, Callable[[], datetime]], AbstractAsyncContextManager[Processor]
]
"""Opens what a service needs (gateways, mail connections), with a clock; yields its processor."""


def run_service(
    name: str,
    settings_model: type[SettingsT],
    open_processor: OpenProcessor[SettingsT],
    migrations: Sequence[Path],
    events: EventRegistry,
) -> None:
    """Run one service as this process until a signal, and exit with its status.

    0: stopped as asked. 70: halted, a person must look. 75: start it again: Postgres or Kafka did
    not come up in time, or it got stuck. 78: the configuration is not usable. 1: a defect.
    """
    try:
        settings = load_settings(settings_model)
        require_event_keys(settings, name, events.topics.values())
        assert_complete_client()
    except ConfigurationError as error:
        sys.stderr.write(f"{name}: {error}\n")
        sys.exit(EXIT_CONFIGURATION)
    logger = configure_logs(name, log_format=settings.log_format, level=settings.log_level)
    try:
        uvloop.run(_serve(name, settings, open_processor, migrations, logger))
    except ConfigurationError as error:
        logger.error("not_started", error=str(error))
        sys.exit(EXIT_CONFIGURATION)
    except Halt as error:
        logger.error("halted", error=str(error))
        sys.exit(EXIT_HALTED)
    except Stuck as error:
        logger.error("stuck", error=str(error))
        sys.exit(EXIT_TRY_AGAIN)
    except Transient as error:
        logger.error("not_started", error=str(error))
        sys.exit(EXIT_TRY_AGAIN)


def require_event_keys(settings: RuntimeSettings, service: str, topics: Collection[Topic]) -> None:
    """See that what `service` reads on our own of `topics` is verified, unless this is a demonstration.

    Raises:
        ConfigurationError: there are no keys, or not all that it signs and verifies with.
    """
    if (keys := EventKeys.of(settings.event_keys, topics)) is not None:
        keys.signer(service)
        keys.verifier(service)
        return
    try:
        refuse_outside_demo(
            settings.perennial_environment,
            "reading our topics without EVENT_KEYS",
            "give every service its EVENT_KEYS_FILE (docs/OPERATIONS.md, Keys of events)",
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


async def _serve(
    name: str,
    settings: SettingsT,
    open_processor: OpenProcessor[SettingsT],
    migrations: Sequence[Path],
    logger: Logger,
) -> None:
    _warn_of_weakness(settings, logger)
    tracing = open_tracing(name, logger)
    stopping = Stopping()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopping.ask)
    connect = partial(open_pool, name, settings)
    pool = await _wait_for("Postgres", connect, settings, logger, stopping)
    if pool is None:
        return
    try:
        await _check_migrations(pool, migrations)
        clock = open_clock(settings, logger)
        async with open_processor(settings, pool, clock.counted) as processor:
            topics = [*(sub.topic for sub in processor.subscriptions), processor.output_topic]
            reach = partial(_reach_kafka, settings, topics)
            if await _wait_for("Kafka", reach, settings, logger, stopping) is None:
                return
            await check_own_topic(settings, pool, processor)
            parts = Composition(
                settings=settings,
                processor=processor,
                pool=pool,
                clock=clock,
                logger=logger,
                stopping=stopping,
                tracing=tracing,
            )
            collect_garbage_seldom()
            await ServiceProcess(parts).run()
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), settings.stop_timeout_seconds)


def open_clock(settings: RuntimeSettings, logger: Logger) -> DatabaseClock:
    """Return the clock of the database, or the virtual one that goes ahead of it.

    Raises:
        ConfigurationError: the file of the virtual clock cannot be read.
    """
    file = settings.perennial_virtual_clock
    if file is None:
        return DatabaseClock(logger)
    virtual = VirtualClock(file)
    logger.warning("clock_is_virtual", ahead_seconds=virtual.ahead().total_seconds())
    return DatabaseClock(logger, ahead=virtual.ahead)


async def _check_migrations(pool: asyncpg.Pool, migrations: Sequence[Path]) -> None:
    """See that the database has the tables that this version knows.

    Raises:
        Halt: it lacks some, or has others.
    """
    async with pool.acquire() as connection:
        known = read_migrations([RUNTIME_MIGRATIONS, *migrations])
        applied = await applied_versions(connection)
    check_applied(known, applied)
    if missing := [m.version for m in known if m.version not in applied]:
        message = f"the database lacks migrations {', '.join(missing)}: run `perennial setup`"
        raise Halt(message)


def _warn_of_weakness(settings: RuntimeSettings, logger: Logger) -> None:
    """Say at every start what goes over a network and could be read or forged there."""
    if weak := weakness(settings.postgres_dsn.get_secret_value()):
        logger.warning("postgres_not_verified", reason=weak)
    if "SSL" not in settings.kafka_security_protocol and not settings.kafka_is_local():
        reason = "the network to Kafka is trusted with everything: set KAFKA_SECURITY_PROTOCOL"
        logger.warning("kafka_in_plain_text", reason=reason)


def collect_garbage_seldom() -> None:
    """Look for cycles a hundred times less often: batches make few, and cached streams none.

    By default every 700 new objects start a search, a fifth of the time that a batch takes.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def open_pool(schema: str, settings: RuntimeSettings) -> asyncpg.Pool:
    """Connect to Postgres with `schema` first in the search path and a limit on every command."""
    return await asyncpg.create_pool(
        verified(settings.postgres_dsn.get_secret_value()),
        min_size=1,
        max_size=settings.postgres_pool_size,
        timeout=10,
        command_timeout=settings.postgres_timeout_seconds,
        reset=_keep_session,
        server_settings={
            "search_path": schema,
            "application_name": f"perennial-{schema}",
            # A frozen process must not hold its shards: the next one waits for their rows.
            "idle_in_transaction_session_timeout": f"{settings.postgres_timeout_seconds}s",
            # A plan that is kept was made when a table may have been empty, and reads all of it later.
            "plan_cache_mode": "force_custom_plan",
        },
    )


async def _reach_kafka(settings: RuntimeSettings, topics: Sequence[str]) -> int:
    await confirm_access(settings, client_options(settings))
    return await check_topics(settings, topics)


async def _keep_session(_connection: asyncpg.Connection) -> None:
    """Spare a round trip for each use: nothing sets session state, and the pool itself rolls back."""


async def _wait_for(
    what: str,
    attempt: Callable[[], Awaitable[ResultT]],
    settings: RuntimeSettings,
    logger: Logger,
    stopping: Stopping,
) -> ResultT | None:
    """Try until it succeeds; None when asked to stop meanwhile.

    Raises:
        Transient: the time allowed for the start is over.
    """
    ends_at = time.monotonic() + settings.start_timeout_seconds
    while not stopping.is_asked():
        try:
            return await attempt()
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            message = f"Postgres refuses the login of POSTGRES_DSN ({type(error).__name__})"
            raise ConfigurationError(message) from None
        except asyncpg.InvalidCatalogNameError:
            message = "the database that POSTGRES_DSN names does not exist: run `perennial setup`"
            raise ConfigurationError(message) from None
        except (*UNWELL, KafkaError) as error:
            if reason := refusal(error):
                raise ConfigurationError(reason) from None
            if time.monotonic() >= ends_at:
                message = (
                    f"{what} was not reachable within {settings.start_timeout_seconds} s "
                    f"({type(error).__name__}): start it, or check its address in the settings"
                )
                raise Transient(message) from None
            logger.warning("waiting", what=what, error=type(error).__name__)
            await asyncio.sleep(1)
    return None
