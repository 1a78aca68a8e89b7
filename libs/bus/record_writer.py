"""Many records written at once, to the partitions of their keys."""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from libs.bus.encoding import EncodedRecord
from libs.bus.partitioner import partition_of


class RecordWriter:
    """Writes many records at once through `producer`: a future per batch, where `send` makes one per record.

    Keys go to the same partitions as with `send`.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._counts: dict[str, int] = {}

    async def send(self, records: Iterable[EncodedRecord]) -> list["asyncio.Future[Any]"]:
        """Queue `records`; each future resolves when its batch is acknowledged. Raises KafkaError."""
        builders: dict[tuple[str, int], Any] = {}
        futures: list[asyncio.Future[Any]] = []
        for topic, key, value, wanted, headers, timestamp in records:
            partition = wanted
            if partition is None:
                count = self._counts.get(topic) or await self._count(topic)
                partition = partition_of(key, count)
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
