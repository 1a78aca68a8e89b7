"""The producer: idempotent, acknowledged by all in-sync replicas, batching, bounded."""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.structs import RecordMetadata

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.errors import BusUnavailableError
from libs.bus.message import headers_for
from libs.events.record import Record
from libs.runtime.logging import get_logger

log = get_logger(__name__)


# In Python the hash takes longer than the rest of a send, and keys repeat: they are stations.
_hash_of = lru_cache(maxsize=1 << 17)(murmur2)


def partition_of(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """The partition of `key`, by the hash that every Kafka client uses; any, if it has no key."""
    if key is None:
        return random.choice(available or partitions)  # noqa: S311 (spreads load, keeps no secret)
    number: int = _hash_of(key)
    return partitions[(number & 0x7FFFFFFF) % len(partitions)]


class Producer:
    """Sends records as `source` (a service name, for the CloudEvents header).

    Memory is bounded: one batch of `batch_bytes` per partition is filled while another is under way; beyond that
    `send` waits. After a failure nothing is known of the records under way, and `failed` stays True until
    `restart`: an idempotent producer must not skip a sequence number.
    """

    def __init__(
        self, bus: Bus, source: str, *, timeout_s: float = 30, linger_ms: int = 0, batch_bytes: int = 1 << 18
    ) -> None:
        self._bus = bus
        self._source = source
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {
            "bootstrap_servers": bus.settings.kafka,
            "client_id": f"voltbus-{source}",
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": linger_ms,
            "max_batch_size": batch_bytes,
            "max_request_size": 4 << 20,
            "request_timeout_ms": int(timeout_s * 1000),
            "retry_backoff_ms": 50,
            "partitioner": partition_of,
            "compression_type": None if bus.settings.compression == "none" else bus.settings.compression,
        }
        self._kafka: AIOKafkaProducer | None = None
        self._settlers: dict[str, Callable[[asyncio.Future[RecordMetadata]], None]] = {}
        self.failed = False

    async def start(self) -> None:
        """Connect. Raises KafkaConnectionError if no broker answers."""
        self._kafka = AIOKafkaProducer(**self._options)
        await self._kafka.start()
        self.failed = False

    async def stop(self) -> None:
        """Flush what is under way, bounded by the timeout, and disconnect."""
        if self._kafka is not None:
            kafka, self._kafka = self._kafka, None
            try:
                await asyncio.wait_for(kafka.stop(), self._timeout_s)
            except (TimeoutError, KafkaError):
                log.warning("producer_stopped_unflushed", source=self._source)

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
    ) -> "asyncio.Future[RecordMetadata]":
        """Queue one record (None: a tombstone); the future resolves once Kafka has acknowledged it.

        The future raises a KafkaError if it was not acknowledged in time. Raises CodecError for a record that does
        not fit the topic, BusUnavailableError if the queue stays full or the producer has failed.
        """
        if self._kafka is None or self.failed:
            raise BusUnavailableError("the producer has failed or is not started")
        value = None if record is None else self._bus.codec.encode(topic, record)
        headers = [] if record is None else headers_for(record, self._source, traceparent)
        try:
            future: asyncio.Future[RecordMetadata] = await self._kafka.send(
                self._bus.settings.topic(topic), value, key.encode(), partition, headers=headers
            )
        except KafkaError as error:
            self._fail(topic, error)
            raise BusUnavailableError(f"{topic}: {error!r}") from error
        future.add_done_callback(self._settlers.get(topic) or self._settler(topic))
        return future

    async def send_and_wait(
        self,
        topic: str,
        key: str,
        record: Record | None,
        *,
        partition: int | None = None,
        traceparent: str | None = None,
    ) -> RecordMetadata:
        """`send`, and wait for the acknowledgement. Raises BusUnavailableError if there is none in time."""
        future = await self.send(topic, key, record, partition=partition, traceparent=traceparent)
        try:
            return await future
        except KafkaError as error:
            raise BusUnavailableError(f"{topic}: {error!r}") from error

    def _settler(self, topic: str) -> "Callable[[asyncio.Future[RecordMetadata]], None]":
        """What is called with each acknowledgement of `topic`; made once, because it is called for every record."""
        produced = metrics.PRODUCED.labels(topic)

        def settle(future: "asyncio.Future[RecordMetadata]") -> None:
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                self._fail(topic, error)
            else:
                produced.inc()

        self._settlers[topic] = settle
        return settle

    def _fail(self, topic: str, error: BaseException) -> None:
        metrics.PRODUCE_FAILED.labels(topic).inc()
        if not self.failed:
            self.failed = True
            log.error("producer_failed", source=self._source, topic=topic, error=repr(error))
