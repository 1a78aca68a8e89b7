"""What the runtimes on Kafka share: encoded output, dead letters, timers, the check of the partition counts."""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.partitioner import murmur2

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.dead_letters import dead_letter, is_replayed
from libs.bus.errors import ContractMismatchError
from libs.bus.failures import FailureLimit
from libs.bus.message import SUBJECT_HEADER, TYPE_HEADER, TYPE_PREFIX, Emit, Headers, headers_for, kafka_time
from libs.bus.processor import Processor, S
from libs.bus.reading import partitions_of
from libs.bus.settings import MAX_RECORD_BYTES
from libs.events.catalogue import RECORDS
from libs.events.codec import Codec
from libs.events.contract import dead_letter_topic
from libs.events.record import Record
from libs.runtime.clock import SECOND
from libs.runtime.logging import get_logger

log = get_logger(__name__)

TICK_GRACE_US = 1 * SECOND
"""Timers run this much behind the wall clock, so that what was recorded before a deadline is read before it."""
TICK_INTERVAL_S = 0.25
TICK_RETRY_US = 60 * SECOND
"""When a tick that raised is tried again."""


class RecordTooLargeError(ValueError):
    """A record or state that Kafka would refuse; the message that led to it is dead-lettered."""


class Encoded(NamedTuple):
    """An Emit in bytes; `topic` as Kafka names it, `timestamp_ms` None for now."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None
    headers: Headers
    timestamp_ms: int | None = None


class UndeclaredOutputError(ValueError):
    """A processor emits to a topic that is none of its `outputs`; the message that led to it is dead-lettered."""


def encode(bus: Bus, source: str, out: Iterable[Emit], traceparent: str | None) -> list[Encoded]:
    """What `source` (a service's name) writes, as bytes. Raises like `encode_value`."""
    encoded = []
    for emit in out:
        record = emit.record
        key = emit.key.encode()
        value = encode_value(bus.codec, emit, key)
        headers = [] if record is None else headers_for(record, source, traceparent)
        topic = bus.settings.topic(emit.topic)
        encoded.append(Encoded(topic, key, value, emit.partition, headers, kafka_time(record)))
    return encoded


def encode_value(codec: Codec, emit: Emit, key: bytes) -> bytes | None:
    """The value of `emit`, whose key in bytes is `key`; None for a tombstone.

    Raises CodecError for a record that does not fit its topic, RecordTooLargeError.
    """
    if emit.record is None:
        return None
    return checked_size(codec.encode(emit.topic, emit.record), len(key))


def declared(processor: Processor[S], out: Iterable[Emit]) -> Iterable[Emit]:
    """`out` itself. Raises UndeclaredOutputError if `processor` must not emit it."""
    for emit in out:
        if emit.topic not in processor.outputs:
            raise UndeclaredOutputError(f"{emit.topic} is none of the outputs of {processor.name}")
    return out


def checked_size(value: bytes, key_bytes: int = 0) -> bytes:
    """`value` itself. Raises RecordTooLargeError if no topic takes it with its key."""
    if len(value) + key_bytes > MAX_RECORD_BYTES:
        raise RecordTooLargeError(f"{len(value)} bytes, more than {MAX_RECORD_BYTES}")
    return value


class StateSizes:
    """Measures the states of `processor` as they are written, and warns of one that grows beyond its declared most."""

    def __init__(self, processor: Processor[S]) -> None:
        self._name = processor.name
        self._most = processor.max_state_bytes
        self._observe = metrics.STATE_BYTES.labels(processor.name).observe

    def measure(self, key: str, before: int, after: int) -> None:
        """The state of `key` had so many bytes, and has so many now."""
        self._observe(after)
        if before <= self._most < after:
            metrics.STATES_TOO_LARGE.labels(self._name).inc()
            log.warning("state_too_large", processor=self._name, key=key, bytes=after, declared=self._most)


def encode_dead_letter(
    bus: Bus,
    processor: str,
    topic: str,
    record: ConsumerRecord,
    error: Exception,
    *,
    decoded: bool,
    failures: FailureLimit,
) -> list[Encoded]:
    """The dead letter of `record` of the contract's `topic`, counted and logged. Raises TooManyFailuresError.

    `decoded`: whether the record could be read, so that the processor is what failed.
    """
    if not is_replayed(record):
        failures.count((topic, record.offset), error)
    reason = "failed" if decoded else "undecodable"
    metrics.DEAD_LETTERS.labels(processor, topic, reason).inc()
    letter = dead_letter(processor, topic, record, error)
    log.error(
        "record_dead_lettered",
        processor=processor,
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        error_type=letter.error_type,
        error=letter.error,
        exc_info=error if decoded else None,
    )
    value = bus.codec.encode(dead_letter_topic(topic), letter)
    headers = headers_for(letter, processor)
    name = bus.settings.topic(dead_letter_topic(topic))
    return [Encoded(name, letter.record_key.encode(), value, None, headers)]


def count_failed_tick(processor: str, key: str, error: Exception, failures: FailureLimit) -> None:
    """Count and log a tick that raised: there is no message to put aside. Raises TooManyFailuresError."""
    failures.count(("tick", key), error)
    metrics.DEAD_LETTERS.labels(processor, "tick", "failed").inc()
    log.error("tick_failed", processor=processor, key=key, exc_info=error)


_key_hash = lru_cache(maxsize=100_000)(murmur2)


class RecordWriter:
    """Writes many records at once through `producer`: a future per batch, where `send` makes one per record.

    Keys go to the same partitions as with `send`.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._counts: dict[str, int] = {}

    async def send(self, records: Iterable[Encoded]) -> list["asyncio.Future[Any]"]:
        """Queue `records`; each future resolves when its batch is acknowledged. Raises KafkaError."""
        builders: dict[tuple[str, int], Any] = {}
        futures: list[asyncio.Future[Any]] = []
        for topic, key, value, wanted, headers, timestamp in records:
            partition = wanted
            if partition is None:
                count = self._counts.get(topic) or await self._count(topic)
                partition = (_key_hash(key) & 0x7FFFFFFF) % count
            place = topic, partition
            builder = builders.get(place)
            if builder is None:
                builder = builders[place] = self._producer.create_batch()
            if builder.append(timestamp=timestamp, key=key, value=value, headers=headers) is None:
                futures.append(await self._producer.send_batch(builder, topic, partition=partition))
                builder = builders[place] = self._producer.create_batch()
                builder.append(timestamp=timestamp, key=key, value=value, headers=headers)
        for (topic, partition), builder in builders.items():
            futures.append(await self._producer.send_batch(builder, topic, partition=partition))
        return futures

    async def _count(self, topic: str) -> int:
        count = self._counts[topic] = len(await self._producer.partitions_for(topic))
        return count


class Timers:
    """Keys by the moment at which they are to be looked at again.

    `due` says when a key wants a tick, None for never or a key without state. A timer that moved away stays
    where it is until it rings: a state whose deadline moves with every message would otherwise fill the heap.
    """

    def __init__(self, due: Callable[[str], int | None]) -> None:
        self._due = due
        self._heap: list[tuple[int, str]] = []
        self._armed: dict[str, int] = {}

    def arm(self, key: str, due: int | None) -> None:
        """Look at `key` no later than `due`."""
        if due is None:
            return
        armed = self._armed.get(key)
        if armed is None or due < armed:
            self._armed[key] = due
            heapq.heappush(self._heap, (due, key))

    def take_due(self, now: int) -> list[str]:
        """Keys that are due at or before `now`, earliest first, each once; they are no longer armed."""
        keys: dict[str, None] = {}
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._armed.get(key) != at:
                continue
            del self._armed[key]
            due = self._due(key)
            if due is not None and due <= now:
                keys[key] = None
            else:
                self.arm(key, due)
        return list(keys)


class Glance:
    """Tells from headers alone whether `processor` wants a record, before it is decoded."""

    def __init__(self, processor: Processor[S]) -> None:
        # Bounded: headers come from whoever may write to the topic.
        self._asked = lru_cache(maxsize=1024)(partial(_asks, processor))
        self._picky = type(processor).wants is not Processor.wants

    def wants(self, topic: str, headers: Iterable[tuple[str, bytes]]) -> bool:
        """Whether to decode a record of the contract's `topic`; what has no readable headers has to be."""
        if not self._picky:
            return True
        known = dict(headers)
        kind = known.get(TYPE_HEADER)
        if kind is None or not kind.startswith(TYPE_PREFIX):
            return True
        try:
            return self._asked(topic, kind, known.get(SUBJECT_HEADER))
        # Also what a faulty `wants` raises: the record is decoded, and then goes the way of all records.
        except Exception:
            return True


def _asks(processor: Processor[S], topic: str, raw_kind: bytes, raw_subject: bytes | None) -> bool:
    kind = raw_kind.removeprefix(TYPE_PREFIX).decode()
    subject = None if raw_subject is None else raw_subject.decode()
    record = RECORDS.get(kind)
    if subject is None and record is not None and record.subject is not Record.subject:
        # It has a subject, but whoever wrote it did not say so.
        return True
    return processor.wants(topic, kind, subject)


def due_of(processor: Processor[S], state: S) -> int | None:
    """When `state` wants a tick; at once if `due` raises: whoever runs the tick meets the error."""
    try:
        return processor.due(state)
    except Exception:
        return 0


def has_timers(processor: Processor[S]) -> bool:
    """Whether `processor` overrides `due`."""
    return type(processor).due is not Processor.due


async def check_partitions(bus: Bus, processor: Processor[S], consumer: AIOKafkaConsumer) -> None:
    """Joined topics, and the state beside them, must have as many partitions as each other.

    `consumer` is started and need not be subscribed. Raises ContractMismatchError.
    """
    counts = {
        name: len(await partitions_of(bus.settings, name, consumer))
        for name in [*processor.inputs, *([processor.state_topic] if processor.state else [])]
    }
    if len(set(counts.values())) != 1:
        raise ContractMismatchError(f"{processor.name} joins topics of unequal partition counts: {counts}")
