"""Queries from async code."""

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from libs.clickhouse.client import ClickHouseClient
from libs.clickhouse.settings import ClickHouseSettings


class Reader:
    """Runs queries in a few threads, each with a connection of its own; nothing is connected before the first."""

    def __init__(self, settings: ClickHouseSettings, connections: int = 4) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="clickhouse-reader")
        self._local = threading.local()

    async def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Like `ClickHouseClient.rows`, without blocking the event loop; raises the same errors."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._rows, sql, params)

    def close(self) -> None:
        """Wait for running queries and end the threads."""
        self._pool.shutdown()

    def _rows(self, sql: str, params: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        client: ClickHouseClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = ClickHouseClient(self._settings)
        return client.rows(sql, params)
