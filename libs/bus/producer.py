"""The producer: idempotent, acknowledged by all in-sync replicas, batching, bounded."""

import asyncio
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from libs.bus import metrics
from libs.bus.batching import OnAcknowledged, PartitionBatcher, SendPacer
from libs.bus.bus import Bus
from libs.bus.compression import compression_type
from libs.bus.connection import connection
from libs.bus.errors import BusUnavailableError
from libs.bus.message import Headers, headers_for, kafka_time
from libs.bus.partitioner import partition_of
from libs.bus.settings import DEAD_LETTER_BYTES, MAX_RECORD_BYTES
from libs.events.codec import CodecError
from libs.events.record import Record
from libs.runtime.logging import get_logger

log = get_logger(__name__)


_BATCH_BYTES = 1 << 18
_SEND_GAP_S = 0.01
"""The least time between two sends, for records that follow closely upon each other."""

Acknowledgement = asyncio.Future[None]


class Producer:
    """Sends records as `source` (a service name, for the CloudEvents header).

    Memory is bounded: one batch per partition is filled while another is under way; beyond that
    `send` waits. Records that follow closely upon a batch wait a moment for others. After a failure nothing is
    known of the records under way, and `failed` stays True until `restart`: an idempotent producer must not skip
    a sequence number.
    """

    def __init__(
        self,
        bus: Bus,
        source: str,
        *,
        timeout_s: float = 30,
    ) -> None:
        self._bus = bus
        self._source = source
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {
            "client_id": f"voltbus-{source}",
            "acks": "all",
            "enable_idempotence": True,
            "max_batch_size": _BATCH_BYTES,
            "max_request_size": DEAD_LETTER_BYTES,
            "request_timeout_ms": int(timeout_s * 1000),
            "retry_backoff_ms": 50,
            "compression_type": compression_type(bus.settings),
        }
        self._kafka: AIOKafkaProducer | None = None
        self._pacer: SendPacer
        self._batchers: dict[tuple[str, int], PartitionBatcher] = {}
        self._partitions: dict[str, int] = {}
        self.failed = False

    async def start(self) -> None:
        """Connect. Raises KafkaConnectionError if no broker answers."""
        self._pacer = SendPacer(_SEND_GAP_S)
        self._kafka = AIOKafkaProducer(**connection(self._bus.settings), **self._options)
        await self._kafka.start()
        self.failed = False

    async def stop(self) -> None:
        """Flush what is under way, bounded by the timeout, and disconnect; what is not flushed is given up."""
        if self._kafka is None:
            return
        kafka, self._kafka = self._kafka, None
        batchers, self._batchers = list(self._batchers.values()), {}
        try:
            async with asyncio.timeout(self._timeout_s):
                for batcher in batchers:
                    await batcher.flushed()
                await kafka.stop()
        except (TimeoutError, KafkaError):
            log.warning("producer_stopped_unflushed", source=self._source)
        for batcher in batchers:
            batcher.abandon()

    async def restart(self) -> None:
        """Start over with a new producer identity after a failure; what was under way is given up.

        Raises BusUnavailableError if no broker answers.
        """
        await self.stop()
        try:
            await self.start()
        except KafkaError as error:
            raise BusUnavailableError(f"no broker answers: {error!r}") from error

    async def send(
        self,
        topic: str,
        key: str,
        record: Record | None,
        *,
        partition: int | None = None,
        traceparent: str | None = None,
    ) -> Acknowledgement:
        """Queue one record (None: a tombstone); the future resolves once Kafka has acknowledged it.

        The future raises BusUnavailableError if the producer fails; while Kafka is merely away it waits. Raises
        CodecError for a record that does not fit the topic, BusUnavailableError if the producer has failed.
        """
        key_bytes, value, headers = self._encode(topic, key, record, traceparent)
        batcher = self._batcher(topic, key_bytes, partition)
        if batcher is None:
            await self._count_partitions(topic)
            batcher = self._batcher(topic, key_bytes, partition)
            assert batcher is not None
        acknowledged: Acknowledgement = asyncio.get_running_loop().create_future()
        settle = partial(_settle, acknowledged)
        while not batcher.append(key_bytes, value, headers, kafka_time(record), settle):
            await batcher.room()
            if self.failed:
                raise BusUnavailableError("the producer has failed")
        return acknowledged

    def try_send(
        self,
        topic: str,
        key: str,
        record: Record,
        on_acknowledged: OnAcknowledged,
        *,
        traceparent: str | None = None,
    ) -> bool:
        """`send` for a hot path: queue a record if that needs no waiting; False if it does.

        `on_acknowledged` is called at the end of the record's batch, and must neither block nor raise.
        """
        key_bytes, value, headers = self._encode(topic, key, record, traceparent)
        batcher = self._batcher(topic, key_bytes, None)
        return batcher is not None and batcher.append(
            key_bytes, value, headers, kafka_time(record), on_acknowledged
        )

    async def send_and_wait(
        self,
        topic: str,
        key: str,
        record: Record | None,
        *,
        partition: int | None = None,
        traceparent: str | None = None,
    ) -> None:
        """`send`, and wait for the acknowledgement. Raises BusUnavailableError if there is none in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await (await self.send(topic, key, record, partition=partition, traceparent=traceparent))
        except TimeoutError as error:
            raise BusUnavailableError(f"{topic}: not acknowledged in {self._timeout_s} s") from error

    def _encode(
        self, topic: str, key: str, record: Record | None, traceparent: str | None
    ) -> tuple[bytes, bytes | None, Headers]:
        if self._kafka is None or self.failed:
            raise BusUnavailableError("the producer has failed or is not started")
        if record is None:
            return key.encode(), None, []
        value = self._bus.codec.encode(topic, record)
        key_bytes = key.encode()
        if len(key_bytes) + len(value) > MAX_RECORD_BYTES:
            raise CodecError(f"{topic}: a record of {len(key_bytes) + len(value)} bytes is too large")
        return key_bytes, value, headers_for(record, self._source, traceparent)

    def _batcher(self, topic: str, key: bytes, partition: int | None) -> PartitionBatcher | None:
        """The batcher of the key's partition; None while the number of partitions is not known."""
        if partition is None:
            count = self._partitions.get(topic)
            if count is None:
                return None
            partition = partition_of(key, count)
        return self._batchers.get((topic, partition)) or self._open_batcher(topic, partition)

    async def _count_partitions(self, topic: str) -> None:
        assert self._kafka is not None
        try:
            found = await self._kafka.partitions_for(self._bus.settings.topic(topic))
        except KafkaError as error:
            raise BusUnavailableError(f"{topic}: {error!r}") from error
        if not found:
            raise BusUnavailableError(f"{topic}: no such topic")
        self._partitions[topic] = len(found)

    def _open_batcher(self, topic: str, partition: int) -> PartitionBatcher:
        produced, name = metrics.PRODUCED.labels(topic), self._bus.settings.topic(topic)

        def on_settled(records: int, error: BaseException | None) -> None:
            if error is None:
                produced.inc(records)
            else:
                self._fail(topic, records, error)

        batcher = self._batchers[topic, partition] = PartitionBatcher(
            self._kafka, name, partition, self._pacer, on_settled
        )
        return batcher

    def _fail(self, topic: str, records: int, error: BaseException) -> None:
        metrics.PRODUCE_FAILED.labels(topic).inc(records)
        if not self.failed:
            self.failed = True
            log.error("producer_failed", source=self._source, topic=topic, error=repr(error))


def _settle(acknowledged: Acknowledgement, error: BusUnavailableError | None) -> None:
    if acknowledged.done():
        return
    if error is None:
        acknowledged.set_result(None)
    else:
        acknowledged.set_exception(error)
        # Not everybody waits: asyncio would complain of an exception that nobody looked at.
        acknowledged.exception()
