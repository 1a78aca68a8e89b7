"""The same stack on the official images, for machines with a Docker engine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from libs.devstack.clickhouse import clickhouse_answers
from libs.devstack.endpoints import HOST, Endpoints, Ports
from libs.devstack.errors import StackError
from libs.devstack.kafka import cluster_properties, known_brokers
from libs.devstack.process import Reporter, wait_ready
from libs.devstack.registry import registry_answers, registry_settings

KAFKA_IMAGE: Final = "apache/kafka:4.4.0"
REGISTRY_IMAGE: Final = "apicurio/apicurio-registry:3.3.3"
CLICKHOUSE_IMAGE: Final = "clickhouse/clickhouse-server:26.7.3.19"
_INTERNAL_PORT: Final = 19092
_CONTROLLER_PORT: Final = 19093
_CLUSTER_ID: Final = "dm9sdGJ1cy1kb2NrZXItMQ"


def engine_answers() -> bool:
    """Say whether a Docker engine answers here."""
    try:
        return bool(DockerClient(timeout=5).client.ping())
    except (DockerException, OSError):
        return False


class DockerPart:
    """A server in a container, with the same methods as a child process has.

    Host ports are fixed and data lives in the container, so that both stay the same over `kill` and `start`.
    """

    def __init__(self, name: str, container: DockerContainer, answers: Callable[[], bool]) -> None:
        self.name = name
        self._container = container
        self._answers = answers

    @property
    def pid(self) -> int:
        """Process id as the engine's host sees it; raises StackError when it does not run."""
        pid = int(self._wrapped().attrs["State"]["Pid"])
        if pid == 0:
            raise StackError(f"{self.name} does not run")
        return pid

    def is_ready(self) -> bool:
        """Say whether the server answers its clients' protocol now."""
        return self._answers()

    def is_running(self) -> bool:
        """Say whether the container runs, ready or not."""
        return bool(self._wrapped().attrs["State"]["Running"])

    def check_alive(self) -> None:
        """Raise StackError with the last log lines if the container has ended."""
        if not self.is_running():
            raise StackError(f"{self.name} ended; {self.log_tail()}")

    def log_tail(self) -> str:
        """Return the container's last log lines."""
        return str(self._wrapped().logs(tail=15).decode(errors="replace"))

    def create(self) -> None:
        """Create and start the container, without waiting for readiness."""
        self._container.start()

    def remove(self) -> None:
        """Remove the container and its data."""
        self._container.stop()

    def start(self, deadline_s: float = 60.0) -> None:
        """Start the container again and wait until it is ready."""
        self._wrapped().start()
        wait_ready([self], deadline_s)

    def stop(self, grace_s: float = 10.0) -> None:
        """End the server with SIGTERM, after `grace_s` with SIGKILL."""
        self._wrapped().stop(timeout=int(grace_s))

    def kill(self) -> None:
        """End the server with SIGKILL and wait until it is gone."""
        if self.is_running():
            wrapped = self._wrapped()
            wrapped.kill()
            wrapped.wait()

    def restart(self, deadline_s: float = 60.0) -> None:
        """Stop the server if it runs, then start it on the same ports and data; returns when ready."""
        self.stop()
        self.start(deadline_s)

    def _wrapped(self) -> Any:
        container = self._container.get_wrapped_container()
        container.reload()
        return container


class DockerStack:
    """The stack in containers: `ProcessStack`'s interface where a Docker engine answers."""

    def __init__(self, brokers: int = 1, registry: bool = True, clickhouse: bool = True) -> None:
        """`brokers` is 1 or 3."""
        self._ports = Ports.free(brokers)
        self._network = Network()
        self.brokers: Sequence[DockerPart] = [self._broker(number) for number in range(1, brokers + 1)]
        self.registry = self._registry() if registry else None
        self.clickhouse = self._clickhouse() if clickhouse else None

    @property
    def endpoints(self) -> Endpoints:
        """Where the parts are reached; those left out have empty addresses."""
        return Endpoints.on_loopback(self._ports, self.registry is not None, self.clickhouse is not None)

    def start(self, progress: Reporter = lambda line: None, deadline_s: float = 600.0) -> Endpoints:
        """Pull what is missing, start all containers and wait until they are ready."""
        self._network.create()
        try:
            for part in self._parts():
                progress(f"starting the container of {part.name}")
                part.create()
            wait_ready(self._parts(), deadline_s, progress)
        except BaseException:
            self.stop()
            raise
        return self.endpoints

    def stop(self) -> None:
        """Remove the containers, their data and their network."""
        for part in self._parts():
            part.remove()
        self._network.remove()

    def _parts(self) -> list[DockerPart]:
        return [part for part in (*self.brokers, self.registry, self.clickhouse) if part is not None]

    def _broker(self, number: int) -> DockerPart:
        count = len(self._ports.kafka)
        port = self._ports.kafka[number - 1]
        host = f"kafka-{number}"
        voters = ",".join(f"{n}@kafka-{n}:{_CONTROLLER_PORT}" for n in range(1, count + 1))
        properties: Mapping[str, object] = {
            **cluster_properties(count),
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": voters,
            "listeners": f"CLIENT://:{port},INTERNAL://:{_INTERNAL_PORT},CONTROLLER://:{_CONTROLLER_PORT}",
            "advertised.listeners": f"CLIENT://{HOST}:{port},INTERNAL://{host}:{_INTERNAL_PORT}",
            "inter.broker.listener.name": "INTERNAL",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
        # The image turns KAFKA_A_B into the property a.b.
        settings = {f"KAFKA_{key.replace('.', '_').upper()}": str(value) for key, value in properties.items()}
        container = self._container(KAFKA_IMAGE, host, {**settings, "CLUSTER_ID": _CLUSTER_ID})
        _publish(container, port, port)
        return DockerPart(host, container, lambda: len(known_brokers(port)) == count)

    def _registry(self) -> DockerPart:
        bootstrap = f"kafka-1:{_INTERNAL_PORT}"
        container = self._container(REGISTRY_IMAGE, "registry", registry_settings(bootstrap))
        _publish(container, 8080, self._ports.registry)
        return DockerPart("registry", container, lambda: registry_answers(self.endpoints.registry_url))

    def _clickhouse(self) -> DockerPart:
        # Without user management, like the embedded server.
        container = self._container(CLICKHOUSE_IMAGE, "clickhouse", {"CLICKHOUSE_SKIP_USER_SETUP": "1"})
        _publish(container, 9000, self._ports.clickhouse)
        return DockerPart("clickhouse", container, lambda: clickhouse_answers(self._ports.clickhouse))

    def _container(self, image: str, alias: str, environment: Mapping[str, str]) -> DockerContainer:
        container = DockerContainer(image, env=dict(environment), hostname=alias)
        return container.with_network(self._network).with_network_aliases(alias)


def _publish(container: DockerContainer, inner: int, port: int) -> None:
    # Not `with_bind_ports`, which opens the port to the whole network.
    ports: Any = container.ports  # given to the engine's client as they are, which knows addresses, too
    ports[str(inner)] = (HOST, port)
