"""Postgres and Kafka in containers, on the Docker daemon that DOCKER_HOST names.

PERENNIAL_TEST_POSTGRES_IMAGE and PERENNIAL_TEST_KAFKA_IMAGE replace the public images by others
that take the same environment; docs/CONTAINERS.md says how to build them where none can be pulled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer

from deploy.local.ports import HOST, choose_ports

POSTGRES_IMAGE: Final = "postgres:18"
KAFKA_IMAGE: Final = "apache/kafka:4.1.0"
_POSTGRES_PORT: Final = 5432
_KAFKA_PORT: Final = 9092
_START_SECONDS: Final = 120
_ASK_SECONDS: Final = 0.2

# The public image turns each KAFKA_<NAME> into a property, and takes none of its own beside them.
_BROKER: Final = {
    "CLUSTER_ID": "cGVyZW5uaWFsLXRlc3RzIQ",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_NODE_ID": "1",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    # The broker talks to itself too, for transactions, and cannot by the address of the host.
    "KAFKA_LISTENERS": f"PLAINTEXT://:{_KAFKA_PORT},INTERNAL://localhost:9094,CONTROLLER://:9093",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": (
        "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT"
    ),
    "KAFKA_INTER_BROKER_LISTENER_NAME": "INTERNAL",
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "8",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_TRANSACTION_MAX_TIMEOUT_MS": "60000",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_LOG_RETENTION_HOURS": "-1",
    "KAFKA_BROKER_SESSION_TIMEOUT_MS": "4000",
    "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "1000",
}


class Containers:
    """A broker and a database server, each in a container with a port that outlives a restart."""

    def __init__(self) -> None:
        """Choose images and ports; nothing runs yet."""
        with TemporaryDirectory() as folder:
            ports = choose_ports(Path(folder) / "ports", ["postgres", "kafka"])
        self._resources = ExitStack()
        self._postgres = _postgres(ports["postgres"])
        self._kafka = _kafka(ports["kafka"])
        self.bootstrap_servers = _bootstrap_servers(self._kafka, ports["kafka"])
        self.admin_dsn = ""

    def start(self) -> None:
        """Return when both accept connections; leave nothing behind when one does not."""
        with ExitStack() as resources:
            resources.enter_context(self._postgres)
            resources.enter_context(self._kafka)
            self._wait_for_kafka()
            host = _host(self._postgres)
            self.admin_dsn = self._postgres.get_connection_url(host=host, driver=None)
            self._resources = resources.pop_all()

    def stop(self) -> None:
        """End the containers and remove them with what they hold."""
        self._resources.close()

    def restart_kafka(self) -> None:
        """Kill the broker and start it again."""
        _restart(self._kafka)
        self._wait_for_kafka()

    def restart_postgres(self) -> None:
        """Kill the database server and start it again."""
        _restart(self._postgres)
        ready = ["pg_isready", "--quiet", "--host=127.0.0.1"]
        _wait_until(self._postgres, lambda: self._postgres.exec(ready).exit_code == 0)

    def _wait_for_kafka(self) -> None:
        # The port is Docker's and open at once, so only an answer of the broker tells.
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap_servers,
            "log_level": 0,
        }
        client = AdminClient(settings)

        def answers() -> bool:
            try:
                return bool(client.list_topics(timeout=1).brokers)
            except KafkaException:
                return False

        _wait_until(self._kafka, answers)


@contextmanager
def start() -> Iterator[Containers]:
    """Yield running servers with no data."""
    containers = Containers()
    containers.start()
    try:
        yield containers
    finally:
        containers.stop()


def _postgres(port: int) -> PostgresContainer:
    image = os.environ.get("PERENNIAL_TEST_POSTGRES_IMAGE", POSTGRES_IMAGE)
    container = PostgresContainer(image, username="postgres", password="secret", dbname="perennial")
    container.with_bind_ports(_POSTGRES_PORT, port)
    container.with_command("-c max_connections=300")
    return container


def _kafka(port: int) -> DockerContainer:
    container = DockerContainer(os.environ.get("PERENNIAL_TEST_KAFKA_IMAGE", KAFKA_IMAGE))
    container.with_bind_ports(_KAFKA_PORT, port)
    container.with_envs(**_BROKER)
    address = _bootstrap_servers(container, port)
    container.with_env(
        "KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://{address},INTERNAL://localhost:9094"
    )
    return container


def _bootstrap_servers(container: DockerContainer, port: int) -> str:
    return f"{_host(container)}:{port}"


def _host(container: DockerContainer) -> str:
    host = container.get_docker_client().host()
    return HOST if host == "localhost" else host


def _restart(container: DockerContainer) -> None:
    running = container.get_wrapped_container()
    running.kill()
    running.wait()
    running.start()


def _wait_until(container: DockerContainer, ready: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + _START_SECONDS
    while not ready():
        if time.monotonic() > ends_at:
            output = b"".join(container.get_logs()).decode(errors="replace")
            message = f"{container.image} did not answer in {_START_SECONDS} s; its last words:\n"
            raise TimeoutError(message + output[-2000:])
        time.sleep(_ASK_SECONDS)
