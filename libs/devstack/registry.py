"""The schema registry (Apicurio, Confluent-compatible API v7), which keeps its schemas in Kafka."""

from collections.abc import Mapping
from pathlib import Path

from libs.devstack.endpoints import HOST
from libs.devstack.process import ServerProcess, answers_ok

_JVM_FLAGS = (
    "-Xmx400m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    # The framework's thread pools reach into java.lang; Java 24 and later keep it shut by default.
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
)


class RegistryServer(ServerProcess):
    """A schema registry whose storage is Kafka topics: it can be killed and loses nothing."""

    def __init__(
        self,
        *,
        java: Path,
        app: Path,
        logs: Path,
        bootstrap: str,
        port: int,
        management_port: int,
        security: Mapping[str, str] | None = None,
    ) -> None:
        """`security`: its own settings of how it comes to Kafka, when that asks who it is."""
        super().__init__("registry", logs / "registry.log")
        self._java = java
        self._app = app
        self._bootstrap = bootstrap
        self.port = port
        self._management_port = management_port
        self._security = security or {}

    @property
    def url(self) -> str:
        """Base URL of the Confluent-compatible API."""
        return f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def command(self) -> list[str]:
        """Return the launcher's arguments."""
        return ["exec", str(self._java), *_JVM_FLAGS, "-jar", str(self._app / "quarkus-run.jar")]

    def environment(self) -> Mapping[str, str]:
        """Return the child's whole environment: the registry is configured by it."""
        return {
            **super().environment(),
            **registry_settings(self._bootstrap),
            **self._security,
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(self.port),
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(self._management_port),
        }

    def is_ready(self) -> bool:
        """Say whether its own readiness check passes and the subjects can be listed."""
        ready = answers_ok(f"http://{HOST}:{self._management_port}/health/ready")
        return ready and registry_answers(self.url)


def registry_settings(bootstrap: str) -> Mapping[str, str]:
    """Return the registry's environment variables, apart from its ports."""
    return {
        "APICURIO_STORAGE_KIND": "kafkasql",
        "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": bootstrap,
        # At start the registry waits several times for a poll of an empty topic to time out: with
        # the default of 5 s it is ready after 25 s, so after 5 s.
        "APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT": "250",
        "APICURIO_LOG_LEVEL": "WARN",
        "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
        "QUARKUS_LOG_LEVEL": "WARN",
        "QUARKUS_BANNER_ENABLED": "false",
    }


def registry_answers(url: str) -> bool:
    """Say whether the registry's Confluent-compatible API at this base URL lists its subjects now."""
    return answers_ok(f"{url}/subjects")
