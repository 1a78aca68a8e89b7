"""Every server and service of the platform as child processes of this one."""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
import msgspec

from deploy.local.settings import LocalSettings
from libs.bus.admin import apply_contract
from libs.bus.settings import BusSettings
from libs.clickhouse.migrate import migrate
from libs.clickhouse.settings import ClickHouseSettings
from libs.testing.localstack import LocalStack
from libs.testing.localstack.endpoints import HOST, free_ports
from libs.testing.localstack.errors import StackError
from libs.testing.localstack.process import Part, Report, wait_ready

ROOT: Final = Path(__file__).resolve().parents[2]
READY_DEADLINE_S: Final = 90.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 15.0
_STEADY_S: Final = 30.0

SECRETS: Final = frozenset(
    {"VOLTBUS_API_KEY", "VOLTBUS_OPERATOR_KEYS", "VOLTBUS_SECRETS_KEY", "VOLTBUS_TRANSACTION_KEY"}
)
"""What no service inherits: each is given those that it reads."""
PROCESSORS: Final = (
    "commands", "sessions", "plans", "telemetry", "load", "firmware", "provisioning", "projections", "sink",
)  # fmt: skip


class Service(Part):
    """One service process, ready when its `/health/ready` says so (asked at `ready_port` if given)."""

    def __init__(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str],
        logs: Path,
        ready_port: int | None = None,
    ) -> None:
        super().__init__(name, logs / f"{name}.log")
        self._module = module
        self._http_port = free_ports(1)[0]
        self._ready_port = ready_port or self._http_port
        self._settings = {**environment, "VOLTBUS_HTTP_PORT": str(self._http_port)}

    def command(self) -> list[str]:
        """Run the module with this interpreter."""
        return ["exec", sys.executable, "-m", self._module]

    def environment(self) -> Mapping[str, str]:
        """The settings of the platform, and whatever the environment overrides; secrets only where they are used."""
        return {
            **super().environment(),
            **{
                name: value
                for name, value in os.environ.items()
                if name.startswith(("VOLTBUS_", "OTEL_")) and name not in SECRETS
            },
            **self._settings,
            "PYTHONPATH": str(ROOT),
        }

    @property
    def http_url(self) -> str:
        """Where it serves health and metrics."""
        return f"http://{HOST}:{self._http_port}"

    def is_ready(self) -> bool:
        """Ask `/health/ready`."""
        try:
            url = f"http://{HOST}:{self._ready_port}/health/ready"
            return httpx.get(url, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


class Secrets(msgspec.Struct, frozen=True):
    """What must stay the same between runs and known to nobody else."""

    api_key: str
    transaction_key: str
    # What it seals is soon delivered: a folder without one may have another at each start.
    secrets_key: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))


class Platform:
    """Kafka, registry, ClickHouse and all services, with their data and logs under `settings.data`.

    All methods block. `services` are by name: edge-0, edge-1, ..., commands, sessions, telemetry, load,
    firmware, sink, api; each can be killed and started by itself. `long_running` as for `LocalStack`.
    """

    def __init__(self, settings: LocalSettings, long_running: bool = False) -> None:
        self.settings = settings
        self.folder = settings.data.resolve()
        self.stack = LocalStack(
            self.folder / "stack", settings.brokers, settings.stack_ports, long_running=long_running
        )
        self.secrets = self._secrets()
        self.bus = BusSettings(
            kafka=self.stack.bootstrap,
            registry_url=self.stack.endpoints.registry_url,
            namespace="",
            partitions=settings.partitions,
            slots=settings.edge_processes,
            replication=min(3, settings.brokers),
        )
        self.clickhouse = ClickHouseSettings(
            clickhouse_host=HOST, clickhouse_port=settings.clickhouse_port, clickhouse_database="voltbus"
        )
        self.services: dict[str, Service] = self._make_services()
        self._pauses: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._due: dict[str, float] = {}

    @property
    def edge_url(self) -> str:
        """What chargers connect to, followed by `/<station>`."""
        return f"ws://{HOST}:{self.settings.edge_port}/ocpp"

    @property
    def api_url(self) -> str:
        """The REST API's base."""
        return f"http://{HOST}:{self.settings.api_port}"

    def environment(self) -> dict[str, str]:
        """The settings that every service shares: no secrets."""
        return {
            "VOLTBUS_KAFKA": self.bus.kafka,
            "VOLTBUS_REGISTRY_URL": self.bus.registry_url,
            "VOLTBUS_NAMESPACE": self.bus.namespace,
            "VOLTBUS_PARTITIONS": str(self.bus.partitions),
            "VOLTBUS_SLOTS": str(self.bus.slots),
            "VOLTBUS_REPLICATION": str(self.bus.replication),
            "VOLTBUS_CLICKHOUSE_HOST": HOST,
            "VOLTBUS_CLICKHOUSE_PORT": str(self.settings.clickhouse_port),
            "VOLTBUS_CLICKHOUSE_DATABASE": self.clickhouse.clickhouse_database,
        }

    def start(self, report: Report) -> None:
        """Start everything and wait until it is ready. Raises StackError if a part can't be started."""
        try:
            self.stack.start(report)
            report("applying the contract: topics and schemas")
            asyncio.run(apply_contract(self.bus))
            report("applying the ClickHouse migrations")
            migrate(self.clickhouse)
            for name in self.services:
                self._launch(name)
            wait_ready(self.services.values(), READY_DEADLINE_S, report)
        except BaseException:
            self.stop()
            raise

    def keep(self, report: Report) -> None:
        """Start again what has died, with a growing pause; call this every second or so."""
        now = time.monotonic()
        for name, service in self.services.items():
            if service.is_running():
                if now - self._started[name] > _STEADY_S:
                    self._pauses.pop(name, None)
                continue
            if name not in self._due:
                pause = self._pauses.get(name, _FIRST_PAUSE_S)
                self._pauses[name] = min(2 * pause, _LONGEST_PAUSE_S)
                self._due[name] = now + pause
                report(
                    f"{name} has died: starting it again in {pause:g} s; its log is {from_here(service.log_path)}"
                )
            elif now >= self._due[name]:
                del self._due[name]
                self._launch(name)
        for part in self.stack.parts:
            if not part.is_running():
                report(f"{part.name} has died: starting it again; its log is {from_here(part.log_path)}")
                part.launch()

    def stop(self) -> None:
        """Stop the services in the order of the flow, then the servers."""
        order = [*(name for name in self.services if name.startswith("edge")), "api", *PROCESSORS]
        for name in order:
            self.services[name].terminate()
        for name in order:
            self.services[name].wait_ended(30)
        self.stack.stop()

    def _launch(self, name: str) -> None:
        self.services[name].launch()
        self._started[name] = time.monotonic()

    def _make_services(self) -> dict[str, Service]:
        logs = self.folder / "logs"
        shared = self.environment()
        edge = {
            "VOLTBUS_EDGE_PORT": str(self.settings.edge_port),
            "VOLTBUS_EDGE_PROCESSES": "1",
            "VOLTBUS_TRANSACTION_KEY": self.secrets.transaction_key,
            "VOLTBUS_SECRETS_KEY": self.secrets.secrets_key,
            "VOLTBUS_UNKNOWN_STATIONS": self.settings.unknown_stations,
            "VOLTBUS_UNKNOWN_TOKENS": self.settings.unknown_tokens,
            "VOLTBUS_DEFERRED": "TransactionEvent.eventType=Ended:3",
        }
        services = [
            Service(
                f"edge-{slot}",
                "services.edge",
                {**shared, **edge, "VOLTBUS_SLOT": str(slot), "VOLTBUS_EDGE_ID": f"edge-{slot}"},
                logs,
            )
            for slot in range(self.settings.edge_processes)
        ]
        services += [Service(name, f"services.{name}", shared, logs) for name in PROCESSORS]
        api = {
            **shared,
            "VOLTBUS_API_HOST": HOST,
            "VOLTBUS_API_PORT": str(self.settings.api_port),
            "VOLTBUS_API_KEY": self.secrets.api_key,
            "VOLTBUS_OPERATOR_KEYS": os.environ.get("VOLTBUS_OPERATOR_KEYS", ""),
            "VOLTBUS_SECRETS_KEY": self.secrets.secrets_key,
        }
        services.append(Service("api", "services.api", api, logs, self.settings.api_port))
        return {service.name: service for service in services}

    def _secrets(self) -> Secrets:
        path = self.folder / "secrets.json"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=Secrets)
        made = Secrets(secrets.token_urlsafe(24), secrets.token_urlsafe(32))
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(made))
        return made


def from_here(path: Path) -> Path:
    """`path` as people type it: relative to the working directory if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def run_until_interrupted(platform: Platform, report: Report) -> None:
    """Keep a started platform running until Ctrl-C or SIGTERM, then stop it."""
    try:
        while True:
            platform.keep(report)
            time.sleep(1)
    except KeyboardInterrupt:
        report("stopping")
    finally:
        platform.stop()


__all__ = ["Platform", "Secrets", "Service", "StackError", "from_here", "run_until_interrupted"]
