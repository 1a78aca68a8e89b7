"""Following a topic without a consumer group."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Literal, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from libs.bus import metrics
from libs.bus.bounds import leave
from libs.bus.bus import Bus
from libs.bus.message import Message, header
from libs.events.codec import CodecError, UnknownRecordError
from libs.events.record import Record
from libs.runtime.logging import get_logger

log = get_logger(__name__)


class Tail:
    """Messages of `topic` (all partitions, or some) from its beginning or from what is written after entering.

    Use as an async context manager and iterate. Reads committed records only. While Kafka is away it waits;
    a value that cannot be read is logged, counted and passed over. `gap_s`: least time between two reads, so that a
    busy topic is read in few requests; news after a pause comes at once.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        partitions: Sequence[int] | None = None,
        start: Literal["beginning", "end"] = "end",
        gap_s: float = 0.0,
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._wanted = partitions
        self._start = start
        self._gap_s = gap_s
        self._consumer = AIOKafkaConsumer(
            *([bus.settings.topic(topic)] if partitions is None else []),
            bootstrap_servers=bus.settings.kafka,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,
        )
        self.healthy = False

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        if self._wanted is not None:
            name = self._bus.settings.topic(self._topic)
            self._consumer.assign([TopicPartition(name, partition) for partition in self._wanted])
        if self._start == "end":
            for partition, end in (await self._consumer.end_offsets(self._consumer.assignment())).items():
                self._consumer.seek(partition, end)
        self.healthy = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.healthy = False
        await leave(self._consumer)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                batches = await self._consumer.getmany(timeout_ms=500)
                self.healthy = True
            except KafkaError as error:
                self.healthy = False
                log.warning("tail_unreadable", topic=self._topic, error=repr(error))
                await asyncio.sleep(0.2)
                continue
            for records in batches.values():
                for record in records:
                    if (message := await self._message(record)) is not None:
                        yield message
            if batches and self._gap_s:
                await asyncio.sleep(self._gap_s)

    async def to_end(self) -> AsyncIterator[Message]:
        """Iterate, but only over what had been written when this was called."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        for partition, end in ends.items():
            while await self._consumer.position(partition) < end:
                for record in (await self._consumer.getmany(partition, timeout_ms=500)).get(partition, ()):
                    if (message := await self._message(record)) is not None:
                        yield message

    async def _message(self, record: ConsumerRecord) -> Message | None:
        try:
            return await read_message(self._bus, self._topic, record)
        except UnknownRecordError:
            metrics.UNKNOWN_KINDS.labels("tail", self._topic).inc()
            return None
        except CodecError as error:
            metrics.DEAD_LETTERS.labels("tail", self._topic, "undecodable").inc()
            log.error("tail_record_unreadable", topic=self._topic, offset=record.offset, error=str(error))
            return None


async def read_all(bus: Bus, topic: str) -> AsyncIterator[Message]:
    """Every message of `topic` that can be read, from its beginning to what was there when this began.

    In order within a partition. Values that cannot be read are logged, counted and passed over.
    """
    async with Tail(bus, topic, start="beginning") as tail:
        async for message in tail.to_end():
            yield message


async def read_message(bus: Bus, topic: str, record: ConsumerRecord) -> Message:
    """Kafka's `record` of the contract's `topic` as a Message; waits for a schema that cannot be looked up.

    Raises CodecError if it cannot be read.
    """
    value = record.value
    return as_message(topic, record, None if value is None else await bus.decode_patiently(value))


def as_message(topic: str, record: ConsumerRecord, decoded: Record | None) -> Message:
    """Kafka's `record` of the contract's `topic`, whose value is `decoded`, as a Message."""
    return Message(
        topic,
        record.partition,
        record.offset,
        (record.key or b"").decode("utf-8", "replace"),
        decoded,
        record.timestamp * 1000,
        header(record.headers, "traceparent"),
    )
