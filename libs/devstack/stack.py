"""The whole stack: Kafka, registry and ClickHouse started side by side in one folder."""

import fcntl
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from libs.devstack import packages
from libs.devstack.clickhouse import ClickHouse
from libs.devstack.endpoints import HOST, Endpoints, Ports, free_ports
from libs.devstack.errors import StackError
from libs.devstack.kafka import ClusterNode, KafkaBroker
from libs.devstack.process import Reporter, Server, ServerProcess, wait_ready
from libs.devstack.registry import RegistryServer

ENDPOINTS_FILE: Final = "endpoints.json"


class Stack(Protocol):
    """Kafka, registry and ClickHouse with handles to each, whatever runs them. All methods block."""

    @property
    def endpoints(self) -> Endpoints:
        """Where the parts are reached."""

    @property
    def brokers(self) -> Sequence[Server]:
        """The Kafka brokers."""

    @property
    def registry(self) -> Server | None:
        """The schema registry, if it has one."""

    @property
    def clickhouse(self) -> Server | None:
        """ClickHouse, if it has one."""

    def start(self, progress: Reporter = ...) -> Endpoints:
        """Start every part and wait until all are ready; raises StackError."""

    def stop(self) -> None:
        """Stop every part."""


def open_stack(
    folder: Path,
    brokers: int = 1,
    registry: bool = True,
    clickhouse: bool = True,
    long_running: bool = False,
) -> Stack:
    """Return a stack, not started yet, for tests on this machine.

    Embedded, with its data in `folder`; in containers where a Docker engine answers and either
    `VOLTBUS_TEST_DOCKER=1` asks for it or there are no embedded packages for this platform. `long_running`
    as for `ProcessStack`.
    """
    if os.environ.get("VOLTBUS_TEST_DOCKER") == "1" or not packages.is_supported():
        from libs.devstack import docker  # noqa: PLC0415 - needs the development dependencies

        if docker.engine_answers():
            return docker.DockerStack(brokers, registry, clickhouse)
    return ProcessStack(folder, brokers, registry=registry, clickhouse=clickhouse, long_running=long_running)


class ProcessStack:
    """Real servers as children of this process, on loopback, with their data under one folder.

    `start` downloads what is missing, starts all parts in parallel and returns when each is ready; the
    folder then holds `endpoints.json` and `logs/`. A later stack on the same folder finds the data again.
    One folder serves one running stack. All methods block; from async code use `asyncio.to_thread`.
    """

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        ports: Ports | None = None,
        *,
        registry: bool = True,
        clickhouse: bool = True,
        clickhouse_password: str = "",
        long_running: bool = False,
    ) -> None:
        """`brokers` is 1 or 3 and stays so for a folder; `ports` are free ones when not given.

        `clickhouse_password`: of ClickHouse's user voltbus; without it everybody here is user default.
        `long_running` has Kafka's code compiled fully, as in production: for hours and benchmarks, not for tests.
        """
        if brokers not in (1, 3):
            raise ValueError("a cluster has 1 or 3 brokers")
        self.folder = folder.resolve()
        self.ports = ports or Ports.free(brokers)
        if len(self.ports.kafka) != brokers:
            raise ValueError(f"{brokers} brokers need as many ports, not {len(self.ports.kafka)}")
        self._with_registry = registry
        self._with_clickhouse = clickhouse
        self._clickhouse_password = clickhouse_password
        self._long_running = long_running
        self._lock_file: int | None = None
        self.brokers: list[KafkaBroker] = []
        self.registry: RegistryServer | None = None
        self.clickhouse: ClickHouse | None = None

    @property
    def bootstrap(self) -> str:
        """Kafka bootstrap servers, `host:port` separated by commas."""
        return ",".join(f"{HOST}:{port}" for port in self.ports.kafka)

    @property
    def endpoints(self) -> Endpoints:
        """Where the parts are reached; those left out have empty addresses."""
        return Endpoints.on_loopback(self.ports, self._with_registry, self._with_clickhouse)

    @property
    def parts(self) -> list[ServerProcess]:
        """Every part, in the order in which they are best stopped."""
        optional: list[ServerProcess | None] = [self.registry, self.clickhouse]
        return [*(part for part in optional if part is not None), *self.brokers]

    def start(self, progress: Reporter = lambda line: None, deadline_s: float = 120.0) -> Endpoints:
        """Download what is missing, start every part and wait until all are ready.

        Raises StackError when a package can't be had, a part dies (with its last log lines) or the
        deadline passes; whatever had started is stopped then.
        """
        self._lock_folder()
        try:
            self._assemble(packages.ensure(progress))
            started = time.monotonic()
            self._launch(progress, deadline_s)
            self.endpoints.save(self.folder / ENDPOINTS_FILE)
            progress(f"stack ready after {time.monotonic() - started:.1f} s")
        except BaseException:
            self.stop()
            raise
        return self.endpoints

    def revive(self, progress: Reporter = lambda line: None) -> None:
        """Start the parts that have ended by themselves again, on their ports and data; raises StackError."""
        for part in self.parts:
            if not part.is_running():
                progress(f"{part.name} has ended and is started again; see {part.log_path}")
                part.start()

    def stop(self, grace_s: float = 10.0) -> None:
        """Stop every part, first the registry and ClickHouse, then the brokers together."""
        (self.folder / ENDPOINTS_FILE).unlink(missing_ok=True)
        clients = [part for part in self.parts if not isinstance(part, KafkaBroker)]
        for group in (clients, self.brokers):
            for part in group:
                part.terminate()
            for part in group:
                part.wait_ended(grace_s)
        self._unlock_folder()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _assemble(self, installed: packages.Installed) -> None:
        if self.parts:
            return
        taken = {*self.ports.kafka, self.ports.registry, self.ports.clickhouse}
        *controllers, management = free_ports(len(self.ports.kafka) + 1, taken)
        nodes = [
            ClusterNode(number, port, controller)
            for number, (port, controller) in enumerate(
                zip(self.ports.kafka, controllers, strict=True), start=1
            )
        ]
        logs = self.folder / "logs"
        self.brokers = [
            KafkaBroker(
                java=installed.java,
                jars=installed.kafka_jars,
                folder=self.folder / f"kafka-{node.node_id}",
                logs=logs,
                node=node,
                cluster=nodes,
                long_running=self._long_running,
            )
            for node in nodes
        ]
        if self._with_registry:
            self.registry = RegistryServer(
                java=installed.java,
                app=installed.registry_app,
                logs=logs,
                bootstrap=self.bootstrap,
                port=self.ports.registry,
                management_port=management,
            )
        if self._with_clickhouse:
            self.clickhouse = ClickHouse(
                installed.chdb,
                self.folder / "clickhouse",
                logs,
                self.ports.clickhouse,
                password=self._clickhouse_password,
            )

    def _launch(self, progress: Reporter, deadline_s: float) -> None:
        with ThreadPoolExecutor(len(self.parts)) as pool:
            for _ in pool.map(lambda part: part.launch(), self.parts):
                pass
        wait_ready(self.parts, deadline_s, progress)

    def _lock_folder(self) -> None:
        if self._lock_file is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StackError(f"another stack runs in {self.folder}") from None
        self._lock_file = lock

    def _unlock_folder(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
