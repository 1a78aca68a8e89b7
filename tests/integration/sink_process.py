"""Helpers for tests of the sink: a platform of its own on the shared servers, and the sink as a process."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.devstack import Endpoints
from libs.devstack.endpoints import free_ports
from libs.devstack.process import answers_ok
from libs.runtime.service import Health
from services.sink.app import run
from services.sink.settings import SinkSettings
from tests.integration.bus import make_topics
from tests.integration.children import python

ROOT = Path(__file__).resolve().parents[2]


async def new_platform(servers: Endpoints, namespace: str, **options: Any) -> SinkSettings:
    """Settings of a sink whose topics and database belong to this test alone."""
    settings = SinkSettings(
        kafka=servers.bootstrap,
        registry_url=servers.registry_url,
        namespace=namespace,
        partitions=4,
        slots=4,
        clickhouse_host=servers.clickhouse_host,
        clickhouse_port=servers.clickhouse_port,
        clickhouse_database=f"db_{namespace}",
        **options,
    )
    await make_topics(settings)
    return settings


@asynccontextmanager
async def sink_task(settings: SinkSettings) -> AsyncIterator[Health]:
    """The sink in this process."""
    health, stop = Health(), asyncio.Event()
    task = asyncio.create_task(run(settings, health, stop))
    try:
        yield health
    finally:
        stop.set()
        await task


class SinkProcess:
    """The sink as a process of its own, to be killed."""

    def __init__(self, settings: SinkSettings) -> None:
        (self._port,) = free_ports(1)
        values = settings.model_dump(exclude_none=True, exclude={"clickhouse_password", "http_port"})
        self._environment = {f"VOLTBUS_{name.upper()}": str(value) for name, value in values.items()}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *python("-m", "services.sink"), cwd=ROOT,
            env=os.environ | self._environment | {"VOLTBUS_HTTP_PORT": str(self._port)},
        )  # fmt: skip

    async def end(self, signum: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signum)
        return await self._process.wait()

    def most_memory_kib(self) -> int:
        """The most that the process ever had resident."""
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        (most,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(most)

    async def is_ready(self) -> bool:
        return await self._answers("/health/ready")

    async def is_live(self) -> bool:
        return await self._answers("/health/live")

    async def _answers(self, path: str) -> bool:
        return await asyncio.to_thread(answers_ok, f"http://127.0.0.1:{self._port}{path}")


class Database:
    """Questions about what the sink has stored; an answer that cannot be had yet is None."""

    def __init__(self, settings: SinkSettings) -> None:
        self._client = ClickHouseClient(settings)
        self._name = settings.clickhouse_database

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self._client.rows, sql)

    async def value(self, sql: str) -> Any:
        try:
            return next(iter((await self.rows(sql))[0].values()))
        except ClickHouseError:
            return None

    async def drop(self) -> None:
        await asyncio.to_thread(self._client.execute, f"DROP DATABASE IF EXISTS {self._name}")
