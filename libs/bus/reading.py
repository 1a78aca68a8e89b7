"""Partitions read without a consumer group, up to an end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError, UnknownTopicOrPartitionError

from libs.bus.connection import connection
from libs.bus.errors import ContractMismatchError
from libs.bus.settings import BusSettings

_MISSING_S: Final = 5.0
"""How long a topic may be missing in metadata before it counts as not there: a new one takes a moment to be known."""
_ATTEMPTS: Final = 3
"""How often a busy broker is asked for the partitions of a topic that it has."""
_FETCH_BYTES: Final = 8 << 20


async def partitions_of(
    settings: BusSettings, topic: str, consumer: AIOKafkaConsumer
) -> list[TopicPartition]:
    """The partitions of the contract's `topic`, in order.

    Raises ContractMismatchError if Kafka says that it does not have it, KafkaError if Kafka does not say.
    """
    name = settings.topic(topic)
    silence: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            async with asyncio.timeout(_MISSING_S):
                numbers = await consumer._client._wait_on_metadata(name)
            return [TopicPartition(name, number) for number in sorted(numbers)]
        except (UnknownTopicOrPartitionError, TimeoutError) as error:
            if name not in await consumer.topics():
                raise ContractMismatchError(
                    f"there is no topic {name}: run `voltbus contract apply`"
                ) from error
            silence = error
    raise KafkaTimeoutError(f"the partitions of {name} are not told") from silence


async def records_until(
    consumer: AIOKafkaConsumer, place: TopicPartition, end: int, stopping: Callable[[], bool] = lambda: False
) -> AsyncIterator[ConsumerRecord]:
    """The records of an assigned partition from the consumer's position to before offset `end`, unless `stopping`.

    Raises KafkaError.
    """
    # Unlike the last record's offset, the position also moves past transaction markers.
    while await consumer.position(place) < end and not stopping():
        for record in (await consumer.getmany(place, timeout_ms=200)).get(place, ()):
            if record.offset < end:
                yield record


async def read_to_end(
    settings: BusSettings,
    topic: str,
    partitions: Iterable[int] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> AsyncIterator[ConsumerRecord]:
    """Every committed record that is in the contract's `topic` now, partition after partition, unless `stopping`.

    While no broker answers it waits. Raises ContractMismatchError if there is no such topic, and KafkaError, also if
    the log is cut where it is read.
    """
    consumer = AIOKafkaConsumer(
        **connection(settings),
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=_FETCH_BYTES,
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        if partitions is None:
            places = await partitions_of(settings, topic, consumer)
        else:
            places = [TopicPartition(settings.topic(topic), number) for number in partitions]
        for place, end in (await consumer.end_offsets(places)).items():
            # One at a time, so that what is fetched ahead is bounded by one partition.
            consumer.assign([place])
            consumer.seek(place, (await consumer.beginning_offsets([place]))[place])
            async for record in records_until(consumer, place, end, stopping):
                yield record
    finally:
        await consumer.stop()


async def partition_end(settings: BusSettings, topic: str, partition: int) -> int:
    """Where a partition of the contract's `topic` ends. Raises KafkaError."""
    place = TopicPartition(settings.topic(topic), partition)
    consumer = AIOKafkaConsumer(**connection(settings))
    await consumer.start()
    try:
        end: int = (await consumer.end_offsets([place]))[place]
        return end
    finally:
        await consumer.stop()
