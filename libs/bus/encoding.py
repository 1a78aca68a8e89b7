"""Records as bytes, as they are written to Kafka."""

from collections.abc import Iterable
from typing import NamedTuple

from libs.bus.bus import Bus
from libs.bus.message import Emit, Headers, headers_for, kafka_time
from libs.bus.processor import Processor, S
from libs.bus.settings import MAX_RECORD_BYTES
from libs.events.codec import Codec


class RecordTooLargeError(ValueError):
    """A record or state that Kafka would refuse; the message that led to it is dead-lettered."""


class UndeclaredOutputError(ValueError):
    """A processor emits to a topic that is none of its `outputs`; the message that led to it is dead-lettered."""


class EncodedRecord(NamedTuple):
    """An Emit in bytes; `topic` as Kafka names it, `timestamp_ms` None for now."""

    topic: str
    key: bytes
    value: bytes | None
    partition: int | None
    headers: Headers
    timestamp_ms: int | None = None


def encode(bus: Bus, source: str, out: Iterable[Emit], traceparent: str | None) -> list[EncodedRecord]:
    """What `source` (a service's name) writes, as bytes. Raises like `encode_value`."""
    encoded = []
    for emit in out:
        record = emit.record
        key = emit.key.encode()
        value = encode_value(bus.codec, emit, key)
        headers = [] if record is None else headers_for(record, source, traceparent)
        topic = bus.settings.topic(emit.topic)
        encoded.append(EncodedRecord(topic, key, value, emit.partition, headers, kafka_time(record)))
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
