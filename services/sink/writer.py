"""Blocking access to ClickHouse from worker threads, each with a connection of its own."""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from libs.bus.raw_consumer import Partition
from libs.clickhouse.client import ClickHouseClient
from libs.clickhouse.migrate import migrate
from libs.clickhouse.settings import ClickHouseSettings
from libs.clickhouse.table_mapping import DERIVED, TableLayout
from services.sink.domain.blocks import Block

T = TypeVar("T")


class Writer(Protocol):
    """What the sink needs of ClickHouse. Every method may raise ClickHouseError and can then be called again."""

    async def prepare(self) -> None:
        """Make database and tables, where they are missing."""

    async def ping(self) -> None:
        """Return if ClickHouse answers."""

    async def positions(self, layouts: Collection[TableLayout]) -> Mapping[Partition, int]:
        """The next offset of every partition that has rows in the tables."""

    async def insert(self, layout: TableLayout, block: Block) -> None:
        """Store a block: whole, and once, however often the same block is given."""

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` where it does not block the event loop."""


class ClickHouseWriter:
    """A Writer on a real ClickHouse; nothing is connected before the first call."""

    def __init__(self, settings: ClickHouseSettings, threads: int) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="clickhouse")
        self._local = threading.local()

    async def prepare(self) -> None:
        """Apply the migrations that are missing."""
        await self.run(lambda: migrate(self._settings))

    async def ping(self) -> None:
        """Ask a trivial question."""
        await self.run(lambda: self._client().execute("SELECT 1"))

    async def positions(self, layouts: Collection[TableLayout]) -> Mapping[Partition, int]:
        """The highest stored offset of each partition, plus one."""
        return await self.run(lambda: self._positions(layouts))

    async def insert(self, layout: TableLayout, block: Block) -> None:
        """Write the feed of the table's derived tables first, then the table, each in one block."""
        await self.run(lambda: self._insert(layout, block))

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for what is under way and end the threads."""
        self._pool.shutdown()

    def _positions(self, layouts: Collection[TableLayout]) -> dict[Partition, int]:
        found: dict[Partition, int] = {}
        for layout in layouts:
            rows = self._client().rows(
                f"SELECT _topic, _partition, max(_offset) AS last FROM {layout.table}"  # noqa: S608
                " GROUP BY _topic, _partition"
            )
            found |= {Partition(row["_topic"], row["_partition"]): row["last"] + 1 for row in rows}
        return found

    def _insert(self, layout: TableLayout, block: Block) -> None:
        client = self._client()
        if layout.table in DERIVED:
            client.insert(f"{layout.table}_feed", layout.column_names, block.data, block.token)
        client.insert(layout.table, layout.column_names, block.data, block.token)

    def _client(self) -> ClickHouseClient:
        client: ClickHouseClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = ClickHouseClient(self._settings)
        return client
