"""Records from a consumer, so many bytes of them: what Kafka holds compressed may be hundreds of times as large."""

from typing import Final, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

_FEW: Final = 16
"""Records that are unpacked before it is known how large they are."""
_OVERHEAD: Final = 256


class Sized(Protocol):
    """A record as far as its size goes."""

    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102


async def fetch(
    consumer: AIOKafkaConsumer, *, timeout_ms: int, max_records: int, max_bytes: int
) -> dict[TopicPartition, list[ConsumerRecord]]:
    """What has arrived, as `getmany` gives it, up to `max_records` of about `max_bytes` in all.

    The bound may be passed by 16 records, or by what they say of those that follow. Raises KafkaError.
    """
    found: dict[TopicPartition, list[ConsumerRecord]] = {}
    count = size = 0
    wanted = min(_FEW, max_records)
    while wanted > 0:
        try:
            fetched = await consumer.getmany(timeout_ms=0 if count else timeout_ms, max_records=wanted)
        except KafkaError:
            if not count:
                raise
            # The consumer is past what it has given, which must not be lost; whatever is wrong will show again.
            break
        new = 0
        for place, records in fetched.items():
            found.setdefault(place, []).extend(records)
            new += len(records)
            size += sum(map(record_bytes, records))
        count += new
        if new < wanted or size >= max_bytes:
            break
        # As many as there is room for if they are like those so far; but what is small may be followed by what is not.
        wanted = min((max_bytes - size) * count // size, 4 * count, max_records - count)
    return found


def record_bytes(record: Sized) -> int:
    """What a record takes in memory, roughly."""
    return _OVERHEAD + len(record.value or b"") + len(record.key or b"")
