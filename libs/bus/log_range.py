"""Reading a range of the log again, one partition at a time, in the order in which processors get it."""

import heapq
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from libs.bus.bus import Bus
from libs.bus.connection import connection
from libs.bus.message import Message
from libs.bus.reading import records_until
from libs.bus.tail import read_message
from libs.events.codec import CodecError, UnknownRecordError

Wanted = Callable[[str, str, int, Iterable[tuple[str, bytes]]], bool]
"""Whether to decode a record, by its topic (as in the contract), key, Kafka's timestamp in microseconds and headers."""

_FETCH_BYTES = 1 << 20
_Head = tuple[int, int, TopicPartition, ConsumerRecord]


class LogRange:
    """The messages of one partition of several topics, from `since` on (microseconds), merged by time.

    Use as an async context manager and iterate. Order within a topic is kept. Across topics the message with the
    earlier Kafka timestamp comes first; at equal times the topic that comes first in `topics`. Reads committed records
    that existed when it was entered; of `bounded` topics only those before `until`. These must not be written in
    transactions: control records carry the broker's time. Unwanted records are skipped without decoding. `done` of
    `total` offsets have been passed; `unreadable` counts records that could not be decoded. Memory is bounded by what
    one fetch returns for each topic. Raises KafkaError.
    """

    def __init__(
        self,
        bus: Bus,
        topics: Sequence[str],
        partition: int,
        *,
        since: int,
        until: int,
        bounded: Collection[str] = (),
        wanted: Wanted = lambda topic, key, at, headers: True,
    ) -> None:
        self._bus = bus
        self._topics = {TopicPartition(bus.settings.topic(topic), partition): topic for topic in topics}
        self._ranks = {place: rank for rank, place in enumerate(self._topics)}
        self._since = since
        self._until = until
        self._bounded = bounded
        self._wanted = wanted
        self._ends: dict[TopicPartition, int] = {}
        self._left: dict[TopicPartition, int] = {}
        self._records: dict[TopicPartition, AsyncIterator[ConsumerRecord]] = {}
        self._consumer = AIOKafkaConsumer(
            **connection(bus.settings),
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=50,
        )
        self.total = 0
        self.unreadable = 0

    @property
    def done(self) -> int:
        """How many of `total` offsets have been passed."""
        return self.total - sum(self._left.values())

    async def __aenter__(self) -> Self:
        consumer = self._consumer
        await consumer.start()
        consumer.assign(list(self._topics))
        starts = await consumer.offsets_for_times(dict.fromkeys(self._topics, max(0, self._since // 1000)))
        bounded = [place for place, topic in self._topics.items() if topic in self._bounded]
        stops: dict[Any, Any] = {}
        if bounded:
            stops = await consumer.offsets_for_times(dict.fromkeys(bounded, self._until // 1000))
        for place, end in (await consumer.end_offsets(list(self._topics))).items():
            stop = end if stops.get(place) is None else stops[place].offset
            start = stop if starts[place] is None else starts[place].offset
            consumer.seek(place, start)
            self._ends[place], self._left[place] = stop, max(0, stop - start)
            self._records[place] = records_until(consumer, place, stop)
        self.total = sum(self._left.values())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def __aiter__(self) -> AsyncIterator[Message]:
        heads: list[_Head] = []
        for place in self._topics:
            await self._queue(heads, place)
        while heads:
            *_, place, record = heapq.heappop(heads)
            message = await self._read(self._topics[place], record)
            if message is not None:
                yield message
            await self._queue(heads, place)

    async def _queue(self, heads: list[_Head], place: TopicPartition) -> None:
        """Put the next record of `place` that is wanted among the heads, if there is one."""
        topic, end = self._topics[place], self._ends[place]
        async for record in self._records[place]:
            self._left[place] = max(0, end - record.offset - 1)
            key = (record.key or b"").decode(errors="replace")
            if self._wanted(topic, key, record.timestamp * 1000, record.headers):
                # Of each place there is one: what is compared ends before the record.
                heapq.heappush(heads, (record.timestamp, self._ranks[place], place, record))
                return
        self._left[place] = 0

    async def _read(self, topic: str, record: ConsumerRecord) -> Message | None:
        try:
            return await read_message(self._bus, topic, record)
        except UnknownRecordError:
            return None
        except CodecError:
            self.unreadable += 1
            return None
