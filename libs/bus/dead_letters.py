"""Dead letters: a record that a processor could not handle is kept as it was, and can be replayed."""

from collections.abc import AsyncIterator

import msgspec
from aiokafka import AIOKafkaProducer, ConsumerRecord

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.encoding import EncodedRecord
from libs.bus.failures import FailureLimit
from libs.bus.message import headers_for
from libs.bus.raw_consumer import RawRecord
from libs.bus.settings import DEAD_LETTER_BYTES
from libs.bus.tail import read_all
from libs.events.contract import dead_letter_topic
from libs.events.dead_letters import Header, RecordDeadLettered
from libs.events.ids import derive_id
from libs.runtime.clock import now_us
from libs.runtime.logging import get_logger

log = get_logger(__name__)

REPLAYED_HEADER = "voltbus-replayed-from"


def dead_letter(processor: str, topic: str, record: ConsumerRecord, error: Exception) -> RecordDeadLettered:
    """The dead letter of Kafka's `record` of the contract's `topic`; the same failure always gives the same id."""
    cause = derive_id(f"{topic}/{record.partition}", str(record.offset))
    return RecordDeadLettered(
        event_id=derive_id(cause, f"dead:{processor}"),
        record_key=(record.key or b"").decode(errors="replace")[:256],
        occurred_at=record.timestamp * 1000,
        recorded_at=now_us(),
        cause_id=cause,
        processor=processor,
        source_topic=topic,
        source_partition=record.partition,
        source_offset=record.offset,
        error_type=type(error).__name__,
        error=str(error)[:2000],
        key=record.key,
        value=record.value,
        headers=tuple(Header(name=name, value=value) for name, value in record.headers),
    )


def is_replayed(record: ConsumerRecord | RawRecord) -> bool:
    """Whether Kafka's `record` was a dead letter before."""
    return any(name == REPLAYED_HEADER for name, _ in record.headers)


def encode_dead_letter(
    bus: Bus,
    processor: str,
    topic: str,
    record: ConsumerRecord,
    error: Exception,
    *,
    decoded: bool,
    failures: FailureLimit,
) -> list[EncodedRecord]:
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
    return [EncodedRecord(name, letter.record_key.encode(), value, None, headers)]


def count_failed_tick(processor: str, key: str, error: Exception, failures: FailureLimit) -> None:
    """Count and log a tick that raised: there is no message to put aside. Raises TooManyFailuresError."""
    failures.count(("tick", key), error)
    metrics.DEAD_LETTERS.labels(processor, "tick", "failed").inc()
    log.error("tick_failed", processor=processor, key=key, exc_info=error)


class DeadLetter(msgspec.Struct, frozen=True):
    """A dead letter at its place in `<topic>.dead`."""

    offset: int
    letter: RecordDeadLettered


async def list_dead_letters(bus: Bus, topic: str) -> AsyncIterator[DeadLetter]:
    """Every dead letter of `topic` that is still kept, oldest first; ends at what was there when it began."""
    async for message in read_all(bus, dead_letter_topic(topic)):
        if isinstance(message.record, RecordDeadLettered):
            yield DeadLetter(message.offset, message.record)


async def replay_dead_letters(bus: Bus, topic: str, offsets: set[int] | None = None) -> int:
    """Write dead letters of `topic` (those at `offsets`, or all) back to it, as they were; returns how many.

    Every consumer of the topic sees them again; they all drop records that they have seen. Whoever replays twice
    sends them twice.
    """
    producer = AIOKafkaProducer(
        **connection(bus.settings),
        acks="all",
        enable_idempotence=True,
        max_request_size=DEAD_LETTER_BYTES,
    )
    await producer.start()
    count = 0
    try:
        async for dead in list_dead_letters(bus, topic):
            if offsets is not None and dead.offset not in offsets:
                continue
            headers = [(h.name, h.value) for h in dead.letter.headers if h.name != REPLAYED_HEADER]
            headers.append((REPLAYED_HEADER, str(dead.offset).encode()))
            # Back to its own partition: the key may be missing, and the order per charger is kept there.
            await producer.send_and_wait(
                bus.settings.topic(topic),
                dead.letter.value,
                dead.letter.key,
                partition=dead.letter.source_partition,
                headers=headers,
            )
            count += 1
    finally:
        await producer.stop()
    return count
