"""One table's way from raw records to stored rows: one block at a time, in order."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn

from libs.bus import metrics as bus_metrics
from libs.bus.dead_letters import is_replayed
from libs.bus.errors import BusUnavailableError, TooManyFailuresError
from libs.bus.failures import FailureLimit
from libs.bus.raw_consumer import Partition, RawRecord
from libs.clickhouse.client import ClickHouseError
from libs.clickhouse.table_mapping import DEAD_LETTERS_TABLE, TableLayout
from libs.events.codec import CodecError, UnknownSchemaIdError
from libs.runtime.logging import get_logger
from services.sink import metrics
from services.sink.domain.blocks import BadRecord, Batches, Block, DecodeFields, build_block
from services.sink.domain.pending import Pending
from services.sink.settings import SinkSettings
from services.sink.writer import Writer

PROCESSOR = "sink"
"""Its name in consumer groups, dead letters and metrics."""

log = get_logger(__name__)

FIRST_RETRY_S = 0.1
LONGEST_RETRY_S = 5.0
UPSTREAM_RETRY_S = 1.0


class _GivenUpError(Exception):
    """The partitions were taken away while a block was being retried; their new owner reads it again."""


class Ports:
    """What pipelines ask of the outside world."""

    def __init__(
        self,
        writer: Writer,
        decode: DecodeFields,
        fetch_schema: Callable[[int], Awaitable[None]],
        bury: Callable[[BadRecord], Awaitable[None]],
        stored: Callable[[Mapping[Partition, int]], None],
    ) -> None:
        """`fetch_schema` fetches an unknown schema id (CodecError: nobody knows it; BusUnavailableError: try later).

        `bury` returns when the dead letter is acknowledged. `stored` hears of the next offsets after an insert.
        """
        self.writer = writer
        self.decode = decode
        self.fetch_schema = fetch_schema
        self.bury = bury
        self.stored = stored


class TablePipeline:
    """Collects the records of one table and inserts them block by block.

    A block that fails is tried again, the same with the same token, until it is stored or `reset` gives it up;
    nothing behind it is inserted before, since the highest stored offset is the position. A block with more bad records
    of a partition than its limit is not stored: the table stands still.

    `failing`: ClickHouse does not take a block. `blocked`: a schema cannot be looked up, or the table stands still.
    """

    def __init__(self, layout: TableLayout, ports: Ports, settings: SinkSettings) -> None:
        self.layout = layout
        self._ports = ports
        self._flush_rows = settings.sink_flush_rows
        self._flush_bytes = settings.sink_flush_bytes
        self._settle_s = settings.sink_settle_ms / 1000
        self._interval_s = settings.sink_interval_ms / 1000
        self._pending = Pending()
        self._limits = defaultdict[Partition, FailureLimit](
            lambda: FailureLimit(settings.dead_letter_limit, settings.dead_letter_window_s)
        )
        self._writing_rows = 0
        self._writing_size = 0
        self._last_insert = float("-inf")
        self._generation = 0
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._draining = False
        self.failing = False
        self.blocked = False

    @property
    def rows(self) -> int:
        """Rows that are not stored yet."""
        return self._pending.rows + self._writing_rows

    @property
    def size(self) -> int:
        """Bytes of their values."""
        return self._pending.size + self._writing_size

    @property
    def full(self) -> bool:
        """Whether the topics should not be read further for now."""
        return self._pending.rows >= 4 * self._flush_rows

    def add(self, partition: Partition, records: Sequence[RawRecord]) -> None:
        """Take over the next records of a partition."""
        self._pending.add(partition, records, time.monotonic())
        self._empty.clear()
        self._changed.set()

    async def reset(self) -> None:
        """Forget what is not stored; returns when no insert is under way."""
        self._generation += 1
        self._pending = Pending()
        self._changed.set()
        await self._idle.wait()
        if not self._pending.rows:
            self._empty.set()

    async def drain(self) -> None:
        """Store what is there without delay; returns when that is done."""
        self._draining = True
        self._changed.set()
        await self._empty.wait()

    async def run(self) -> None:
        """Insert what is due, until cancelled."""
        while True:
            await self._until_due()
            now = time.monotonic()
            generation = self._generation
            size = self._pending.size
            batches = self._pending.take(self._flush_rows, self._flush_bytes, now)
            if not batches:
                continue
            self._writing_rows = sum(map(len, batches.values()))
            self._writing_size = size - self._pending.size
            self._idle.clear()
            try:
                block = await self._store(batches, generation)
                self._last_insert = time.monotonic()
                self._count(block, self._last_insert - now)
                if generation == self._generation:
                    self._ports.stored(block.next_offsets)
            except _GivenUpError:
                log.info("block_given_up", table=self.layout.table, rows=self._writing_rows)
            finally:
                self._writing_rows = self._writing_size = 0
                self._idle.set()
                if not self._pending.rows:
                    self._empty.set()

    async def _until_due(self) -> None:
        while True:
            self._changed.clear()
            due = self._pending.due_at(
                self._flush_rows, self._flush_bytes, self._settle_s, self._interval_s, self._last_insert
            )
            wait_s = due - time.monotonic()
            if wait_s <= 0 or (self._draining and self._pending.rows):
                return
            await self._wait_for_change(wait_s)

    async def _wait_for_change(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), None if seconds == float("inf") else seconds)
        except TimeoutError:
            return

    async def _store(self, batches: Batches, generation: int) -> Block:
        block = await self._build(batches, generation)
        await self._bury(block.bad, generation)
        delay_s = FIRST_RETRY_S
        while True:
            try:
                await self._ports.writer.insert(self.layout, block)
            except ClickHouseError as error:
                self.failing = True
                metrics.INSERT_FAILURES.labels(self.layout.table).inc()
                log.warning("insert_failed", table=self.layout.table, rows=block.rows, error=str(error)[:500])
                await self._pause(delay_s, generation)
                delay_s = min(2 * delay_s, LONGEST_RETRY_S)
            else:
                self.failing = False
                return block

    async def _build(self, batches: Batches, generation: int) -> Block:
        hopeless: set[int] = set()
        try:
            while True:
                try:
                    return await self._ports.writer.run(
                        lambda: build_block(self.layout, batches, self._ports.decode, hopeless)
                    )
                except UnknownSchemaIdError as error:
                    schema_id = error.schema_id
                try:
                    await self._ports.fetch_schema(schema_id)
                except CodecError:
                    hopeless.add(schema_id)
                except BusUnavailableError as unavailable:
                    self.blocked = True
                    log.warning("schema_unavailable", schema_id=schema_id, error=str(unavailable))
                    await self._pause(UPSTREAM_RETRY_S, generation)
        finally:
            self.blocked = False

    async def _bury(self, bad: Sequence[BadRecord], generation: int) -> None:
        for one in bad:
            topic = one.partition.topic
            if self.layout.table == DEAD_LETTERS_TABLE:
                metrics.UNREADABLE.labels(topic).inc()
                log.error(
                    "dead_letter_unreadable", topic=topic, offset=one.record.offset, error=str(one.error)
                )
                continue
            if not is_replayed(one.record):
                try:
                    self._limits[one.partition].count(one.record.offset, one.error)
                except TooManyFailuresError as error:
                    await self._stand_still(one.partition, error, generation)
            while True:
                try:
                    await self._ports.bury(one)
                    break
                except BusUnavailableError as error:
                    log.warning("dead_letter_not_written", topic=topic, error=str(error))
                    await self._pause(UPSTREAM_RETRY_S, generation)
            metrics.UNREADABLE.labels(topic).inc()
            bus_metrics.DEAD_LETTERS.labels(PROCESSOR, topic, "undecodable").inc()
            log.error("record_unreadable", topic=topic, offset=one.record.offset, error=str(one.error))

    async def _stand_still(
        self, partition: Partition, error: TooManyFailuresError, generation: int
    ) -> NoReturn:
        """Until the partitions are taken away."""
        place = f"{partition.topic}/{partition.number}"
        log.critical("table_stopped", table=self.layout.table, partition=place, error=str(error))
        self.blocked = True
        try:
            with bus_metrics.STOPPED_PARTITIONS.labels(PROCESSOR, place, error.reason).track_inprogress():
                await self._pause(float("inf"), generation)
                raise AssertionError("unreachable: the pause ends with the partitions")
        finally:
            self.blocked = False

    async def _pause(self, seconds: float, generation: int) -> None:
        until = time.monotonic() + seconds
        while generation == self._generation and (left_s := until - time.monotonic()) > 0:
            self._changed.clear()
            await self._wait_for_change(left_s)
        if generation != self._generation:
            raise _GivenUpError

    def _count(self, block: Block, seconds: float) -> None:
        table = self.layout.table
        for topic, records in block.unknown.items():
            bus_metrics.UNKNOWN_KINDS.labels(PROCESSOR, topic).inc(records)
        metrics.ROWS.labels(table).inc(block.rows)
        metrics.BLOCK_ROWS.observe(block.rows)
        metrics.INSERT_SECONDS.labels(table).observe(seconds)
        metrics.LAST_INSERT.labels(table).set_to_current_time()
