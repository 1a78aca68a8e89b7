"""Compacted topics as dictionaries in memory, kept up to date."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from libs.bus import metrics
from libs.bus.bounds import leave
from libs.bus.bus import Bus
from libs.bus.errors import BusUnavailableError
from libs.events.codec import CodecError, UnknownRecordError
from libs.events.record import Record
from libs.runtime.logging import get_logger

log = get_logger(__name__)

OnChange = Callable[[str, Record | None], None]


class TableSet(Mapping[str, Mapping[str, Record]]):
    """The latest record of every key of some compacted topics (named as in the contract).

    The last record by offset counts. A value that cannot be read is logged and counted, and the key keeps what it
    had. `healthy` is False while Kafka cannot be read; the tables then go stale but stay usable.
    """

    def __init__(self, bus: Bus, topics: tuple[str, ...]) -> None:
        self._bus = bus
        self._tables: dict[str, dict[str, Record]] = {topic: {} for topic in topics}
        self._callbacks: dict[str, list[OnChange]] = {topic: [] for topic in topics}
        self._ends: dict[TopicPartition, int] = {}
        self._caught_up = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._applying = False
        self._waiting: list[tuple[dict[TopicPartition, int], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self.healthy = False

    def __getitem__(self, topic: str) -> Mapping[str, Record]:
        return self._tables[topic]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def on_change(self, topic: str, callback: OnChange) -> None:
        """Call `callback(key, record or None)` after every change of `topic`, those of the start included."""
        self._callbacks[topic].append(callback)

    async def start(self) -> None:
        """Read the topics from their beginning; returns when everything written before now has been read.

        Raises KafkaError if that fails; afterwards errors are retried until `stop`.
        """
        if not self._tables:
            self.healthy = True
            return
        self._task = asyncio.create_task(self._run(), name="tables")
        waiter = asyncio.create_task(self._caught_up.wait())
        await asyncio.wait({self._task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        if not waiter.done():
            waiter.cancel()
            self._task.result()

    async def catch_up(self) -> None:
        """Return once everything that was committed before this call is in the tables.

        Raises BusUnavailableError if Kafka cannot be asked; waits while the tables cannot be read.
        """
        assert self._consumer is not None
        try:
            ends = await self._consumer.end_offsets(self._consumer.assignment())
        except KafkaError as error:
            raise BusUnavailableError(f"the topics' ends are not known: {error!r}") from error
        if not self._applying and await _at(self._consumer, ends) and not self._applying:
            return
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((ends, applied))
        await applied

    async def stop(self) -> None:
        """Stop following the topics; the tables stay as they are."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        consumer = self._consumer = AIOKafkaConsumer(
            *(self._bus.settings.topic(topic) for topic in self._tables),
            bootstrap_servers=self._bus.settings.kafka,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        try:
            self._ends = await consumer.end_offsets(consumer.assignment())
            while True:
                try:
                    batches = await consumer.getmany(timeout_ms=200)
                    self.healthy = True
                except KafkaError as error:
                    self.healthy = False
                    log.warning("tables_unreadable", error=repr(error))
                    await asyncio.sleep(0.5)
                    continue
                # Positions are those of what was fetched, which is not in the tables yet.
                self._applying = True
                for partition, messages in batches.items():
                    topic = self._bus.settings.logical(partition.topic)
                    for message in messages:
                        await self._take(topic, message.key, message.value)
                self._applying = False
                if not self._caught_up.is_set() and await _at(consumer, self._ends):
                    self._caught_up.set()
                await self._tell_waiting(consumer)
        finally:
            self.healthy = False
            await leave(consumer)

    async def _tell_waiting(self, consumer: AIOKafkaConsumer) -> None:
        for waiting in list(self._waiting):
            ends, applied = waiting
            if applied.done() or await _at(consumer, ends):
                self._waiting.remove(waiting)
                if not applied.done():
                    applied.set_result(None)

    async def _take(self, topic: str, raw_key: bytes | None, value: bytes | None) -> None:
        key = (raw_key or b"").decode(errors="replace")
        table = self._tables[topic]
        if value is None:
            table.pop(key, None)
            record = None
        else:
            try:
                record = await self._bus.decode_patiently(value)
            except UnknownRecordError:
                metrics.UNKNOWN_KINDS.labels("table", topic).inc()
                return
            except CodecError as error:
                metrics.DEAD_LETTERS.labels("table", topic, "undecodable").inc()
                log.error("table_record_unreadable", topic=topic, key=key, error=str(error))
                return
            table[key] = record
        metrics.TABLE_KEYS.labels(topic).set(len(table))
        for callback in self._callbacks[topic]:
            callback(key, record)


async def _at(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    for partition, end in ends.items():
        if await consumer.position(partition) < end:
            return False
    return True
