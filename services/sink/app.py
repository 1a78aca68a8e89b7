"""Wiring of the sink: consumer group to table pipelines to ClickHouse."""

import asyncio
import time
from collections.abc import Mapping

from libs.bus.bus import Bus, connect
from libs.bus.dead_letters import dead_letter
from libs.bus.producer import Producer
from libs.bus.raw_consumer import Partition, RawConsumer
from libs.clickhouse.client import ClickHouseError
from libs.clickhouse.table_mapping import layouts, table_name
from libs.events.contract import dead_letter_topic
from libs.runtime.logging import get_logger
from libs.runtime.service import Health
from services.sink import metrics
from services.sink.domain.blocks import BadRecord
from services.sink.pipeline import PROCESSOR, Ports, TablePipeline
from services.sink.settings import SinkSettings
from services.sink.writer import ClickHouseWriter, Writer

log = get_logger(__name__)

_RETRY_S = 1.0
_READ_S = 0.2
_DRAIN_S = 8.0
_LAST_TRY_S = 1.0
"""Instead, while ClickHouse is away or a table stands still: whoever goes on reads the rows again."""
_BURY_S = 8.0
"""For Kafka's acknowledgement of a dead letter; then it is written again."""


async def run(settings: SinkSettings, health: Health, stop: asyncio.Event) -> None:
    """Copy the log into ClickHouse until `stop`; then insert what was read, and leave.

    Raises LogShorterError when ClickHouse holds more of a topic than Kafka does: the topic was made anew, and an
    operator has to decide what becomes of the rows (`python -m libs.clickhouse forget TOPIC`).
    """
    writer = ClickHouseWriter(settings, settings.sink_threads)
    try:
        async with connect(settings) as bus:
            producer = Producer(bus, PROCESSOR, timeout_s=_BURY_S)
            await producer.start()
            try:
                await Sink(bus, producer, writer, settings).run(health, stop)
            finally:
                await producer.stop()
    finally:
        writer.close()


class Sink:
    """The running sink."""

    def __init__(self, bus: Bus, producer: Producer, writer: Writer, settings: SinkSettings) -> None:
        self._producer = producer
        self._writer = writer
        self._budget = settings.sink_buffer_bytes
        ports = Ports(writer, bus.codec.decode_fields, bus.fetch_schema, self._bury, self._stored)
        self._pipelines = {
            layout.table: TablePipeline(layout, ports, settings) for layout in layouts(bus.contract).values()
        }
        # Confidential topics have no table.
        self._topics = [topic for pipeline in self._pipelines.values() for topic in pipeline.layout.topics]
        self._source = RawConsumer(
            bus, self._topics, PROCESSOR, on_assigned=self._start_offsets, on_revoked=self._reset
        )
        self._shown: dict[Partition, int] = {}
        self._last_stored = time.monotonic()
        self._reachable = False

    async def run(self, health: Health, stop: asyncio.Event) -> None:
        """Work until `stop`."""
        health.ready("clickhouse", lambda: self._reachable and not self._failing)
        health.ready("records", lambda: not self._blocked)
        health.ready("positions", lambda: self._source.positioned)
        metrics.LAST_INSERT_AGE.set_function(lambda: time.monotonic() - self._last_stored)
        if not await self._until_reachable(stop):
            return
        await self._source.start()
        work = [pipeline.run() for pipeline in self._pipelines.values()]
        tasks = [asyncio.create_task(one) for one in (self._read(stop), self._report(), self._watch(), *work)]
        try:
            # Only reading ever ends by itself; whatever else ends has failed.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._drain()
            await self._source.commit(self._shown)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._source.stop()

    @property
    def _failing(self) -> bool:
        return any(pipeline.failing for pipeline in self._pipelines.values())

    @property
    def _blocked(self) -> bool:
        return any(pipeline.blocked for pipeline in self._pipelines.values())

    async def _until_reachable(self, stop: asyncio.Event) -> bool:
        while not stop.is_set():
            try:
                await self._writer.prepare()
            except ClickHouseError as error:
                log.warning("clickhouse_not_ready", error=str(error)[:500])
                await _sleep(stop, _RETRY_S)
            else:
                self._reachable = True
                return True
        return False

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for partition, records in (await self._source.read(_READ_S)).items():
                self._pipelines[table_name(partition.topic)].add(partition, records)
            self._source.hold(self._held_topics())

    def _held_topics(self) -> list[str]:
        if sum(pipeline.size for pipeline in self._pipelines.values()) >= self._budget:
            return self._topics
        full = [pipeline for pipeline in self._pipelines.values() if pipeline.full]
        return [topic for pipeline in full for topic in pipeline.layout.topics]

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(
                _DRAIN_S if self._reachable and not self._failing and not self._blocked else _LAST_TRY_S
            ):
                await asyncio.gather(*(pipeline.drain() for pipeline in self._pipelines.values()))
        except TimeoutError:
            log.warning("stopped_with_rows_unwritten", rows=sum(p.rows for p in self._pipelines.values()))

    async def _start_offsets(self, partitions: frozenset[Partition]) -> Mapping[Partition, int]:
        while True:
            try:
                tables = [pipeline.layout for pipeline in self._pipelines.values()]
                stored = await self._writer.positions(tables)
            except ClickHouseError as error:
                self._reachable = False
                log.warning("positions_unknown", error=str(error)[:500])
                await asyncio.sleep(_RETRY_S)
            else:
                self._reachable = True
                self._shown = {p: offset for p, offset in stored.items() if p in partitions}
                return self._shown

    async def _reset(self) -> None:
        await asyncio.gather(*(pipeline.reset() for pipeline in self._pipelines.values()))
        self._shown = {}

    def _stored(self, next_offsets: Mapping[Partition, int]) -> None:
        self._last_stored = time.monotonic()
        self._shown = {**self._shown, **next_offsets}

    async def _bury(self, bad: BadRecord) -> None:
        topic = bad.partition.topic
        letter = dead_letter(PROCESSOR, topic, bad.record, bad.error)
        if self._producer.failed:
            await self._producer.restart()
        await self._producer.send_and_wait(dead_letter_topic(topic), letter.record_key, letter)

    async def _watch(self) -> None:
        """Readiness must not wait for rows that fail."""
        while True:
            await asyncio.sleep(_RETRY_S)
            try:
                await self._writer.ping()
            except ClickHouseError as error:
                log.warning("clickhouse_away", error=str(error)[:500])
                self._reachable = False
            else:
                self._reachable = True

    async def _report(self) -> None:
        committed: Mapping[Partition, int] = {}
        while True:
            await asyncio.sleep(1)
            if self._shown is not committed:
                committed = self._shown
                await self._source.commit(committed)
            unread = await self._source.unread()
            for pipeline in self._pipelines.values():
                metrics.BUFFERED_ROWS.labels(pipeline.layout.table).set(pipeline.rows)
            for topic in self._topics:
                waiting = self._pipelines[table_name(topic)].rows if not topic.endswith(".dead") else 0
                metrics.LAG.labels(topic).set(unread.get(topic, 0) + waiting)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
