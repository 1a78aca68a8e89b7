"""Every server and service of the platform as child processes of this one."""

import asyncio
import errno
import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import msgspec
from pydantic import SecretStr

from deploy.local.settings import LocalSettings
from libs.access.roles import Role
from libs.bus.admin import apply_contract
from libs.bus.settings import BusSettings
from libs.clickhouse.migrate import migrate
from libs.clickhouse.settings import ClickHouseSettings
from libs.devstack import ProcessStack
from libs.devstack.clickhouse import USER as CLICKHOUSE_USER
from libs.devstack.endpoints import HOST, free_ports
from libs.devstack.errors import StackError
from libs.devstack.process import Reporter, ServerProcess, answers_ok, wait_ready

ROOT: Final = Path(__file__).resolve().parents[2]
READY_DEADLINE_S: Final = 90.0
_MB: Final = 1 << 20
GO_ON: Final = "Make room, then start again: it goes on with all that was answered"
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 15.0
_STEADY_S: Final = 30.0

SECRETS: Final = frozenset(
    {"VOLTBUS_API_KEY", "VOLTBUS_OPERATOR_KEYS", "VOLTBUS_SECRETS_KEY", "VOLTBUS_TRANSACTION_KEY"}
)
"""What no service inherits: each is given those that it reads."""
FIRST_ACCOUNT: Final = "admin"
PROCESSORS: Final = (
    "commands", "sessions", "plans", "telemetry", "load", "firmware", "provisioning", "projections", "sink",
)  # fmt: skip


class DiskFullError(StackError):
    """There is no room for the data to grow."""


class Service(ServerProcess):
    """One service process at `host`, ready when its `/health/ready` says so (asked at `ready_at` if given)."""

    def __init__(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str],
        logs: Path,
        *,
        host: str = HOST,
        ready_at: str | None = None,
    ) -> None:
        super().__init__(name, logs / f"{name}.log")
        self._module = module
        port = free_ports(1)[0]
        self.http_url = f"http://{_reached(host)}:{port}"
        """Where it serves health and metrics."""
        self._ready_at = ready_at or self.http_url
        self.settings = {**environment, "VOLTBUS_HTTP_PORT": str(port)}
        """What it is given, whatever else is set."""

    def command(self) -> list[str]:
        """Run the module with this interpreter."""
        return ["exec", sys.executable, "-m", self._module]

    def environment(self) -> Mapping[str, str]:
        """The platform's settings, which have what is set in the environment, and what else is set there.

        Secrets only where they are used.
        """
        return {
            **super().environment(),
            **{
                name: value
                for name, value in os.environ.items()
                if name.startswith(("VOLTBUS_", "OTEL_")) and name not in SECRETS
            },
            **self.settings,
            "PYTHONPATH": str(ROOT),
        }

    def is_ready(self) -> bool:
        """Ask `/health/ready`."""
        return answers_ok(f"{self._ready_at}/health/ready")


class Secrets(msgspec.Struct, frozen=True):
    """What must stay the same between runs and known to nobody else."""

    api_key: str
    transaction_key: str
    # What it seals is soon delivered: a folder without one may have another at each start.
    secrets_key: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(32))
    # ClickHouse is told at each start.
    clickhouse_password: str = msgspec.field(default_factory=lambda: secrets.token_urlsafe(24))


class Platform:
    """Kafka, registry, ClickHouse and all services, with their data and logs under `settings.data`.

    All methods block. `services` are by name: edge-0, edge-1, ..., those of `PROCESSORS`, api and console; each can be
    killed and started by itself. `long_running` as for `ProcessStack`.
    """

    def __init__(self, settings: LocalSettings, long_running: bool = False) -> None:
        self.settings = settings
        self.folder = settings.data.resolve()
        self.secrets = self._secrets()
        self.stack = ProcessStack(
            self.folder / "stack",
            settings.brokers,
            settings.stack_ports,
            clickhouse_password=self.secrets.clickhouse_password,
            long_running=long_running,
        )
        self.bus = BusSettings(
            kafka=self.stack.bootstrap,
            registry_url=self.stack.endpoints.registry_url,
            namespace=settings.namespace,
            partitions=settings.partitions,
            slots=settings.slots or settings.edge_processes,
            replication=settings.replication or min(3, settings.brokers),
        )
        self.clickhouse = ClickHouseSettings(
            clickhouse_host=HOST,
            clickhouse_port=settings.clickhouse_port,
            clickhouse_database=settings.clickhouse_database,
            clickhouse_user=CLICKHOUSE_USER,
            clickhouse_password=SecretStr(self.secrets.clickhouse_password),
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
        return f"http://{_reached(self.settings.api_host)}:{self.settings.api_port}"

    @property
    def console_url(self) -> str:
        """What operators open in a browser."""
        return f"http://{_reached(self.settings.console_host)}:{self.settings.console_port}"

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
            # For trials on one machine: chargers come without passwords.
            "VOLTBUS_LEAST_SECURITY_PROFILE": os.environ.get("VOLTBUS_LEAST_SECURITY_PROFILE", "0"),
        }

    def start(self, report: Reporter) -> None:
        """Start everything and wait until it is ready. Raises StackError if a part can't be started."""
        self.check_room()
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

    def first_sign_in(self) -> str:
        """How to sign in to the console: the account `admin` is made if it is not there. Raises StackError."""
        password = secrets.token_urlsafe(12)
        account = {
            "account_id": FIRST_ACCOUNT,
            "password": password,
            "grants": [{"role": Role.PLATFORM_ADMIN}],
        }
        headers = {"Authorization": f"Bearer {self.secrets.api_key}"}
        try:
            with httpx.Client(headers=headers, timeout=30, trust_env=False) as api:
                answer = api.post(f"{self.api_url}/api/v1/accounts", json=account)
        except httpx.HTTPError as error:
            raise StackError(f"the first account could not be made: {error!r}") from error
        if answer.status_code == HTTPStatus.CREATED:
            return f"name {FIRST_ACCOUNT}, password {password}"
        if answer.status_code == HTTPStatus.CONFLICT:
            return f"name {FIRST_ACCOUNT}; for another password: voltbus accounts password {FIRST_ACCOUNT}"
        raise StackError(f"the first account could not be made: {answer.text}")

    def check_room(self) -> None:
        """Raise DiskFullError if the data has hardly any room left to grow."""
        folder = next(each for each in (self.folder, *self.folder.parents) if each.exists())
        usage = shutil.disk_usage(folder)
        if usage.free < self.settings.least_free_mb * _MB:
            raise DiskFullError(
                f"the file system of {from_here(self.folder)} is full: {usage.free // _MB} of {usage.total // _MB} MB "
                f"are free, less than VOLTBUS_LEAST_FREE_MB={self.settings.least_free_mb}. {GO_ON}"
            )

    def keep(self, report: Reporter) -> None:
        """Start again what has died, with a growing pause; call this every second or so.

        Raises DiskFullError before servers die of it.
        """
        self.check_room()
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
        order = [*(name for name in self.services if name.startswith("edge")), "api", "console", *PROCESSORS]
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
            "VOLTBUS_DEFERRED": self.settings.deferred,
        }
        services = [
            Service(
                f"edge-{slot}",
                "services.edge",
                {**shared, **edge, "VOLTBUS_SLOT": str(slot), "VOLTBUS_EDGE_ID": f"edge-{slot}"},
                logs,
                host=self.settings.http_host,
            )
            for slot in range(self.settings.edge_processes)
        ]
        host = self.settings.http_host
        clickhouse = {
            "VOLTBUS_CLICKHOUSE_USER": CLICKHOUSE_USER,
            "VOLTBUS_CLICKHOUSE_PASSWORD": self.secrets.clickhouse_password,
        }
        told = {name: shared | clickhouse if name == "sink" else shared for name in PROCESSORS}
        services += [Service(name, f"services.{name}", told[name], logs, host=host) for name in PROCESSORS]
        api = {
            **shared,
            **clickhouse,
            "VOLTBUS_API_HOST": self.settings.api_host,
            "VOLTBUS_API_PORT": str(self.settings.api_port),
            "VOLTBUS_API_KEY": self.secrets.api_key,
            "VOLTBUS_OPERATOR_KEYS": os.environ.get("VOLTBUS_OPERATOR_KEYS", ""),
            "VOLTBUS_SECRETS_KEY": self.secrets.secrets_key,
        }
        services.append(Service("api", "services.api", api, logs, host=host, ready_at=self.api_url))
        console = {
            **shared,
            **clickhouse,
            "VOLTBUS_CONSOLE_HOST": self.settings.console_host,
            "VOLTBUS_CONSOLE_PORT": str(self.settings.console_port),
            "VOLTBUS_SECRETS_KEY": self.secrets.secrets_key,
        }
        services.append(
            Service("console", "services.console", console, logs, host=host, ready_at=self.console_url)
        )
        return {service.name: service for service in services}

    def _secrets(self) -> Secrets:
        """Those that are set, else those that are kept, else new ones."""
        kept = self._kept_secrets()
        return Secrets(
            self.settings.api_key.get_secret_value() or kept.api_key,
            self.settings.transaction_key.get_secret_value() or kept.transaction_key,
            self.settings.secrets_key.get_secret_value() or kept.secrets_key,
            self.settings.clickhouse_password.get_secret_value() or kept.clickhouse_password,
        )

    def _kept_secrets(self) -> Secrets:
        path = self.folder / "secrets.json"
        if path.exists():
            path.chmod(0o600)
            try:
                return msgspec.json.decode(path.read_bytes(), type=Secrets)
            except msgspec.DecodeError as error:
                raise StackError(f"{path} cannot be read: {error}") from error
        made = Secrets(secrets.token_urlsafe(24), secrets.token_urlsafe(32))
        # Whoever is not its owner reads neither the secrets nor what the servers keep.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(made))
        draft.replace(path)
        return made


def _reached(host: str) -> str:
    """How one from here gets to who listens at `host`."""
    return HOST if host in ("", "0.0.0.0", "::") else host  # noqa: S104 - compared, not bound


def from_here(path: Path) -> Path:
    """`path` as people type it: relative to the working directory if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def is_full(error: OSError) -> bool:
    """Whether there was no room, by itself or for this user."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def run_until_interrupted(platform: Platform, report: Reporter) -> None:
    """Keep a started platform running until Ctrl-C or SIGTERM, then stop it. Raises DiskFullError after stopping it."""
    try:
        while True:
            platform.keep(report)
            time.sleep(1)
    except KeyboardInterrupt:
        report("stopping")
    except DiskFullError:
        report("the disk is full: stopping")
        raise
    finally:
        platform.stop()


__all__ = [
    "GO_ON",
    "DiskFullError",
    "Platform",
    "Secrets",
    "Service",
    "StackError",
    "from_here",
    "is_full",
    "run_until_interrupted",
]
