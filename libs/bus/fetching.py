"""Records from a consumer, so many bytes of them: what Kafka holds compressed may be hundreds of times as large."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

_FEW: Final = 16
"""Records that are unpacked before it is known how large they are."""
_OVERHEAD: Final = 256
_VALUE_SIZE: Final = attrgetter("serialized_value_size")

FED_RECORDS: Final = 2_000
FED_BYTES: Final = 4 << 20
_STEP: Final = 64
"""As `_FEW`, later: large ones may follow however many small ones."""


class FetchTarget(Protocol):
    """Who is given what is fetched, and says of which places there are enough bytes at hand."""

    @property
    def filled(self) -> Collection[TopicPartition]: ...  # noqa: D102
    def add_fetched(self, fetched: Mapping[TopicPartition, list[ConsumerRecord]], /) -> object: ...  # noqa: D102


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


async def feed(
    consumer: AIOKafkaConsumer,
    targets: Callable[[], Iterable[FetchTarget]],
    places: Sequence[TopicPartition],
    *,
    timeout_ms: int,
) -> tuple[bool, bool]:
    """Give what has arrived at `places` to the targets: up to 2,000 records or 4 MiB, passed by 64 records at most.

    A place is left out once a target has enough bytes of it.
    Returns whether there was something, and whether there may be more at once. Raises KafkaError.
    """
    count = size = 0
    wanted = _FEW
    while True:
        fetched = await consumer.getmany(*places, timeout_ms=0 if count else timeout_ms, max_records=wanted)
        # At once: a target that starts over must not get what was fetched before. And to all: one may be ready now.
        for target in targets():
            target.add_fetched(fetched)
        new = sum(map(len, fetched.values()))
        count += new
        size += sum(map(value_bytes_of, fetched.values()))
        if new < wanted:
            return count > 0, False
        filled = {place for target in targets() for place in target.filled}
        places = [place for place in places if place not in filled]
        if count >= FED_RECORDS or size >= FED_BYTES or not places:
            return True, True
        wanted = min(_STEP, FED_RECORDS - count)


async def steps(
    consumer: AIOKafkaConsumer, *, timeout_ms: int, max_records: int
) -> AsyncIterator[dict[TopicPartition, list[ConsumerRecord]]]:
    """What has arrived, as `getmany` gives it, a few records at a time: no more than 64 are unpacked at once.

    For who is done with each step before asking for the next. Ends when nothing more is at hand, with `max_records`, or
    with 4 MiB, passed by one step at most. Raises KafkaError, also after some steps.
    """
    count = size = 0
    wanted = min(_FEW, max_records)
    while wanted > 0 and size < FED_BYTES:
        fetched = await consumer.getmany(timeout_ms=0 if count else timeout_ms, max_records=wanted)
        if not fetched:
            return
        yield fetched
        new = sum(map(len, fetched.values()))
        if new < wanted:
            return
        count += new
        size += sum(record_bytes(record) for records in fetched.values() for record in records)
        wanted = min(_STEP, max_records - count)


def record_bytes(record: Sized) -> int:
    """What a record takes in memory, roughly."""
    return _OVERHEAD + len(record.value or b"") + len(record.key or b"")


def value_bytes_of(records: Collection[ConsumerRecord]) -> int:
    """What records with short keys take in memory, roughly; quicker than one by one."""
    values: int = sum(map(_VALUE_SIZE, records))
    return _OVERHEAD * len(records) + values
