"""Kafka brokers in KRaft combined mode (each is broker and controller)."""

import socket
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.devstack.endpoints import HOST
from libs.devstack.errors import StackError
from libs.devstack.process import ServerProcess

_JVM_FLAGS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData")
# Without the optimising compiler: sooner ready and quiet from then on, slower for as long as it runs.
_QUICK_START = "-XX:TieredStopAtLevel=1"

_LOGGING = """\
status = warn
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
"""


@dataclass(frozen=True)
class ClusterNode:
    """The addresses of one broker."""

    node_id: int
    port: int
    controller_port: int


class KafkaBroker(ServerProcess):
    """One broker of a cluster whose other members are known beforehand.

    `long_running` has its code compiled fully; otherwise it is ready sooner and does less per second.
    """

    def __init__(
        self,
        *,
        java: Path,
        jars: Path,
        folder: Path,
        logs: Path,
        node: ClusterNode,
        cluster: list[ClusterNode],
        long_running: bool = False,
    ) -> None:
        super().__init__(f"kafka-{node.node_id}", logs / f"kafka-{node.node_id}.log")
        self._java = java
        self._jars = jars
        self._folder = folder
        self._cluster = cluster
        self._compilation = () if long_running else (_QUICK_START,)
        self.node = node

    def command(self) -> list[str]:
        """Return the launcher's arguments."""
        arguments = self._java_arguments("kafka.Kafka", str(self._properties_path))
        return ["exec", str(self._java), *self._compilation, *arguments]

    def prepare(self) -> None:
        """Write the configuration and, the first time, format the data folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "log4j2.properties").write_text(_LOGGING)
        self._properties_path.write_text(
            "".join(f"{key}={value}\n" for key, value in self._properties().items())
        )
        if not (self._folder / "data" / "meta.properties").exists():
            self._format()

    def is_ready(self) -> bool:
        """Say whether this broker answers metadata requests and knows every broker of the cluster."""
        return len(known_brokers(self.node.port)) == len(self._cluster)

    @property
    def _properties_path(self) -> Path:
        return self._folder / "server.properties"

    def _java_arguments(self, main_class: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}"
        return [*_JVM_FLAGS, logging, "-cp", f"{self._jars}/*", main_class, *arguments]

    def _format(self) -> None:
        # The brokers of a cluster must agree on its id without asking each other; their folders are siblings.
        cluster = uuid.uuid5(uuid.NAMESPACE_URL, self._folder.parent.as_uri())
        cluster_id = urlsafe_b64encode(cluster.bytes).decode().rstrip("=")
        arguments = (
            "format",
            f"--cluster-id={cluster_id}",
            f"--config={self._properties_path}",
            *self._format_options(),
        )
        result = subprocess.run(  # noqa: S603 - our own Java by absolute path
            [str(self._java), _QUICK_START, *self._java_arguments("kafka.tools.StorageTool", *arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise StackError(
                f"{self.name}: formatting its data folder failed: {result.stderr or result.stdout}"
            )

    def _format_options(self) -> Sequence[str]:
        """What else the data folder is formatted with."""
        return ()

    def _properties(self) -> Mapping[str, object]:
        voters = ",".join(f"{node.node_id}@{HOST}:{node.controller_port}" for node in self._cluster)
        return {
            **cluster_properties(len(self._cluster)),
            "process.roles": "broker,controller",
            "node.id": self.node.node_id,
            "controller.quorum.voters": voters,
            "listeners": f"CLIENT://{HOST}:{self.node.port},CONTROLLER://{HOST}:{self.node.controller_port}",
            "advertised.listeners": f"CLIENT://{HOST}:{self.node.port}",
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._folder / "data",
        }


def cluster_properties(brokers: int) -> Mapping[str, object]:
    """Return the broker properties that do not depend on addresses, for a cluster of this size."""
    replicas = min(3, brokers)
    in_sync = 2 if replicas == 3 else 1
    return {
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 8,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": 1,
        "log.retention.ms": -1,
        # A producer may keep a transaction open through a debugger's pause; one whose process was
        # killed is aborted by its successor, or soon after its own timeout.
        "transaction.max.timeout.ms": 3_600_000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # A killed broker's partitions get new leaders after this time (default 9 s).
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # The default buffer takes 128 MB of a heap of 512.
        "log.cleaner.dedupe.buffer.size": 8_388_608,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }


_METADATA_KEY = 3
_METADATA_VERSION = 4
_NO_TOPICS = 0


def known_brokers(port: int) -> list[int]:
    """Ask the broker at a loopback port for its cluster's metadata; returns the node ids that it knows.

    Empty when it doesn't answer within a second. Source: the Kafka protocol guide, Metadata v4; by hand,
    because readiness is asked before and outside any event loop.
    """
    client_id = b"devstack"
    body = struct.pack(
        f">hhih{len(client_id)}s", _METADATA_KEY, _METADATA_VERSION, 1, len(client_id), client_id
    )
    body += struct.pack(">i?", _NO_TOPICS, False)
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as stream:
                return broker_ids(stream.read(struct.unpack(">i", stream.read(4))[0]))
    except (OSError, struct.error):
        return []


def broker_ids(response: bytes) -> list[int]:
    """Parse correlation id, throttle time and the array of brokers (id, host, port, nullable rack)."""
    (count,) = struct.unpack_from(">i", response, 8)
    position = 12
    ids = []
    for _ in range(count):
        node_id, host_length = struct.unpack_from(">ih", response, position)
        ids.append(node_id)
        position += 6 + host_length + 4
        (rack_length,) = struct.unpack_from(">h", response, position)
        position += 2 + max(0, rack_length)
    return ids
