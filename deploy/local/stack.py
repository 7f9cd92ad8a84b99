"""One complete system in one folder: broker, database, mail sink and the three services."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

from deploy.local.errors import StackError
from deploy.local.folder import JAR_CACHE, StackFolder
from deploy.local.ports import HOST, choose_ports
from deploy.local.processes import Child, Processes
from deploy.local.servers.broker_security import ADMIN, USERS, BrokerSecurity
from deploy.local.servers.kafka import KafkaBroker, fetch_jars
from deploy.local.servers.postgres import PostgresServer
from deploy.local.services import (
    SERVICES,
    LocalAddresses,
    http_addresses,
    start_service,
    wait_until_ready,
)
from services.cli.setup.setup import set_up
from services.runtime.clock.virtual_clock import write_ahead

_PORTS: Final = ("kafka", "kafka-controller", "postgres", "smtp", *SERVICES)
_PASSWORDS: Final = ("postgres", *SERVICES, "esim-hash-salt")

Say = Callable[[str], None]
"""Told each step in a few words."""


def _silent(_: str) -> None:
    return


class LocalStack:
    """A system whose parts end with the process that opened it. Use as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        fresh: bool = False,
        secure: bool = False,
        virtual_clock: bool = False,
        say: Say = _silent,
    ) -> None:
        """Take `folder`, end what a crash left running there; `fresh` forgets all data.

        A `secure` stack's broker wants TLS and a login of everybody, and allows what the table of
        who may do what says. A folder is for one profile: the users are in the broker's data. With a
        `virtual_clock` its time can be moved on; a folder that had one keeps it, with its data.

        Raises:
            StackError: the folder is in use.
        """
        self._say = say
        self._secure = secure
        self._folder = StackFolder(folder)
        self._services: dict[str, Child] = {}
        self._mail: Child | None = None
        try:
            self._processes = Processes(folder)
            if self._processes.recovered:
                say(f"left running by a crash, now ended: {self._processes.recovered}")
            if fresh:
                self._processes.close()
                self._folder.clear()
                self._processes = Processes(folder)
            self._prepare(folder, virtual_clock=virtual_clock)
        except BaseException:
            self._folder.release()
            raise

    def _prepare(self, folder: Path, *, virtual_clock: bool) -> None:
        self._ports = choose_ports(folder / "ports.json", _PORTS)
        self._passwords = self._folder.passwords(_PASSWORDS)
        self.event_keys_file = self._folder.event_keys()
        self.anchor_keys_file = self._folder.anchor_keys()
        self.heads_folder = folder / "heads"
        self.heads_folder.mkdir(exist_ok=True)
        self._clock_file = folder / "clock"
        if virtual_clock and not self._clock_file.exists():
            write_ahead(self._clock_file, timedelta(0))
        self.mail_folder = folder / "mail"
        self.postgres = PostgresServer(
            folder, self._ports["postgres"], self._passwords["postgres"], self._processes
        )
        self.kafka: KafkaBroker | None = None
        self._security: BrokerSecurity | None = None
        if self._secure:
            logins = self._folder.passwords(tuple(f"kafka-{user}" for user in USERS))
            passwords = {user: logins[f"kafka-{user}"] for user in USERS}
            self._security = BrokerSecurity(folder / "kafka-access", passwords)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        return self._folder.path

    @property
    def clock_file(self) -> Path | None:
        """What says how far the clock is ahead; None where time is real."""
        return self._clock_file if self._clock_file.exists() else None

    @property
    def processes(self) -> Processes:
        """What starts children that end with the stack."""
        return self._processes

    @property
    def broker(self) -> KafkaBroker:
        """The broker, once the infrastructure is up."""
        if self.kafka is None:
            message = "the infrastructure is not started"
            raise StackError(message)
        return self.kafka

    @property
    def bootstrap_servers(self) -> str:
        return self.broker.bootstrap_servers

    @property
    def admin_dsn(self) -> str:
        return self.postgres.admin_dsn

    @property
    def children(self) -> dict[str, Child]:
        mail = {"smtp": self._mail} if self._mail else {}
        parts = {"kafka": self.broker.child, "postgres": self.postgres.child}
        return {**parts, **mail, **self._services}

    def addresses(self) -> LocalAddresses:
        base = urlsplit(self.admin_dsn)

        def dsn(service: str) -> str:
            login = f"perennial_{service}:{self._passwords[service]}"
            return urlunsplit(base._replace(netloc=f"{login}@{HOST}:{base.port}"))

        return LocalAddresses(
            bootstrap_servers=self.bootstrap_servers,
            postgres={service: dsn(service) for service in SERVICES},
            http=http_addresses(self._ports),
            smtp_port=self._ports["smtp"],
            sandbox_folder=self.folder / "sandbox",
            esim_hash_salt=self._passwords["esim-hash-salt"],
            event_keys=self.event_keys_file.read_text(encoding="utf-8"),
            heads=(self.heads_folder, self.anchor_keys_file.read_text(encoding="utf-8")),
            clock_file=self.clock_file,
            kafka_logins={user: self._security.login(user) for user in USERS}
            if self._security
            else {},
        )

    def start_infrastructure(self) -> None:
        """Start Postgres and Kafka side by side.

        Raises:
            StackError: one of them cannot be started.
        """
        with ThreadPoolExecutor(2) as pool:
            self._say("starting Postgres and Kafka")
            database = pool.submit(self.postgres.start)
            self.start_kafka()
            database.result()

    def start_kafka(self) -> None:
        """Start Kafka alone.

        Raises:
            StackError: it cannot be started.
        """
        self.kafka = KafkaBroker(
            self.folder,
            fetch_jars(JAR_CACHE),
            (self._ports["kafka"], self._ports["kafka-controller"]),
            self._processes,
            self._security,
        )
        self.kafka.start()

    def set_up(self) -> None:
        """Create roles, schemas, tables and topics, and bring who may do what to the broker."""
        self._say("creating schemas and topics")
        passwords = {service: self._passwords[service] for service in SERVICES}
        kafka = self.addresses().kafka_settings(ADMIN)
        asyncio.run(set_up(admin_dsn=self.admin_dsn, kafka=kafka, passwords=passwords))

    def start_mail_sink(self) -> None:
        """Start the SMTP server that keeps messages as files."""
        port = self._ports["smtp"]
        command = [sys.executable, "-m", "deploy.local.servers.smtp", str(port), self.mail_folder]
        self._mail = self._processes.start("smtp", command)
        self._mail.wait_for_port(port)

    def start_services(self, settings: Mapping[str, str] | None = None) -> None:
        """Start the three services, with further environment variables, and wait for them.

        Raises:
            StackError: a service ended or is not ready in time.
        """
        self._say(f"starting {', '.join(SERVICES)}")
        for service in SERVICES:
            self.start_service(service, settings)
        http = self.addresses().http
        wait_until_ready((self._services[service], http[service]) for service in SERVICES)

    def start_service(self, service: str, settings: Mapping[str, str] | None = None) -> None:
        """Start one service without waiting for it."""
        self._services[service] = start_service(
            self._processes,
            service,
            self.addresses(),
            settings=settings,
            secrets=self.folder / "secrets",
        )

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start everything.

        Raises:
            StackError: a part cannot be started.
        """
        self.start_infrastructure()
        self.set_up()
        self.start_mail_sink()
        self.start_services(settings)

    def stop(self) -> None:
        """Stop everything, the services first, and leave the folder to others."""
        self._say("stopping")
        try:
            self._processes.close()
        finally:
            self._folder.release()
