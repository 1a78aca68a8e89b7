"""Records of a topic as messages."""

from collections.abc import AsyncIterator

from aiokafka import ConsumerRecord

from libs.bus import metrics
from libs.bus.bus import Bus
from libs.bus.message import Message, header
from libs.bus.reading import read_to_end
from libs.events.codec import CodecError, UnknownRecordError
from libs.events.record import Record
from libs.runtime.logging import get_logger

log = get_logger(__name__)


async def read_all(bus: Bus, topic: str) -> AsyncIterator[Message]:
    """Every message of `topic` that can be read, from its beginning to what was there when this began.

    In order within a partition. Values that cannot be read are logged, counted and passed over. Raises KafkaError.
    """
    async for record in read_to_end(bus.settings, topic):
        try:
            message = await read_message(bus, topic, record)
        except UnknownRecordError:
            metrics.UNKNOWN_KINDS.labels("tail", topic).inc()
            continue
        except CodecError as error:
            metrics.DEAD_LETTERS.labels("tail", topic, "undecodable").inc()
            log.error("tail_record_unreadable", topic=topic, offset=record.offset, error=str(error))
            continue
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
