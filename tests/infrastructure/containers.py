"""Postgres and Kafka in containers, for machines that have a Docker daemon."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer

POSTGRES_IMAGE: Final = "postgres:18"
KAFKA_IMAGE: Final = "apache/kafka:4.1.0"
_POSTGRES_PORT: Final = 5432
_KAFKA_PORT: Final = 9092
_KAFKA_TIMEOUT_SECONDS: Final = 60


@dataclass(frozen=True)
class Containers:
    """Running servers and how to reach them."""

    bootstrap_servers: str
    admin_dsn: str
    _running: ExitStack

    def stop(self) -> None:
        """End the containers and remove them with what they hold."""
        self._running.close()
