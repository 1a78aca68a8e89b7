"""The clients' side: a consumer and a producer with aiokafka's methods, errors and visibility rules."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalStateError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import RecordMetadata

from libs.testing.memory_kafka.broker import Entry, MemoryBroker, headers_of

Fetched = dict[TopicPartition, list[ConsumerRecord]]

_PARTITIONER = DefaultPartitioner()


class MemoryConsumer:
    """AIOKafkaConsumer on a MemoryBroker. `topics_wanted`: what it subscribed to."""

    def __init__(
        self,
        broker: MemoryBroker,
        *topics: str,
        group_id: str | None = None,
        auto_offset_reset: str = "latest",
        isolation_level: str = "read_uncommitted",
        **_: Any,
    ) -> None:
        self._broker = broker
        self._group = group_id
        self._reset = auto_offset_reset
        self._committed_only = isolation_level == "read_committed"
        self.topics_wanted = set(topics)
        self._listener: ConsumerRebalanceListener | None = None
        self._assigned: set[TopicPartition] = set()
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, tuple[int, int]] = {}
        self._answered: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._running = False

    async def start(self) -> None:
        """Connect, and join the group if there is one."""
        self._broker.raise_failure("start")
        self._running = True
        if self.topics_wanted:
            await self._join()

    async def stop(self) -> None:
        """Leave the group and disconnect."""
        if not self._running:
            return
        self._running = False
        self._broker.tell()
        if self._group is not None and self in self._broker.groups[self._group].members:
            self._broker.groups[self._group].members.remove(self)
            self._assigned = set()
            self._broker.rebalance(self._group)

    def subscribe(self, topics: Iterable[str], listener: ConsumerRebalanceListener | None = None) -> None:
        """Ask for `topics`; `listener` hears what the group gives and takes away."""
        self.topics_wanted = set(topics)
        self._listener = listener
        if self._running:
            self._joining = asyncio.create_task(self._join())

    async def _join(self) -> None:
        if self._group is None:
            self._assigned = {
                TopicPartition(topic, number)
                for topic in self.topics_wanted
                for number in self._broker.partitions(topic)
            }
            return
        self._broker.groups[self._group].members.append(self)
        await self._broker.rebalance(self._group)

    async def revoke(self) -> None:
        """The group takes everything away."""
        revoked, self._assigned = self._assigned, set()
        if self._listener is not None and self._running:
            await self._listener.on_partitions_revoked(revoked)

    async def take(self, places: set[TopicPartition]) -> None:
        """The group gives `places`."""
        if not self._running:
            return
        self.assign(places)
        if self._listener is not None:
            await self._listener.on_partitions_assigned(places)

    def assign(self, places: Collection[TopicPartition]) -> None:
        """Read `places`, from where was committed or the reset policy says, until `seek` says otherwise."""
        self._assigned = set(places)
        self._positions.clear()
        self._ends.clear()
        self._answered.clear()
        self._paused.clear()

    def assignment(self) -> set[TopicPartition]:
        """What it reads."""
        return set(self._assigned)

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Read on at `offset`. Raises IllegalStateError for what is not assigned."""
        self._check_assigned(place)
        self._positions[place] = offset

    async def position(self, place: TopicPartition) -> int:
        """The next offset to be read; moves past markers as `getmany` does."""
        self._broker.raise_failure("position")
        self._check_assigned(place)
        return self._place(place)

    def last_stable_offset(self, place: TopicPartition) -> int | None:
        """As of the last fetch; None before it."""
        self._check_assigned(place)
        return self._ends[place][1] if place in self._ends else None

    def highwater(self, place: TopicPartition) -> int | None:
        """As of the last fetch; None before it."""
        self._check_assigned(place)
        return self._ends[place][0] if place in self._ends else None

    def last_poll_timestamp(self, place: TopicPartition) -> int | None:
        """When the last fetch was answered (milliseconds); None before it."""
        self._check_assigned(place)
        return self._answered.get(place)

    def pause(self, *places: TopicPartition) -> None:
        """Fetch nothing from `places` until `resume`."""
        self._paused.update(places)

    def resume(self, *places: TopicPartition) -> None:
        """Fetch from `places` again."""
        self._paused.difference_update(places)

    async def committed(self, place: TopicPartition) -> int | None:
        """What the group has committed of `place`."""
        self._broker.raise_failure("committed")
        return self._broker.groups[self._need_group()].committed.get(place)

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        """Commit `offsets`, or the positions. Raises IllegalStateError for what is not assigned."""
        self._broker.raise_failure("commit")
        for place in offsets or ():
            self._check_assigned(place)
        self._broker.commit(self._need_group(), offsets or self._positions)

    async def beginning_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Always 0: nothing is deleted here."""
        return {place: len(self._broker.log(place)[:0]) for place in places}

    async def end_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends as this consumer may see them: the last stable offsets if it reads what is committed."""
        return {place: self._end(place) for place in places}

    async def topics(self) -> set[str]:
        """All topics."""
        return {place.topic for place in self._broker.logs}

    @property
    def _client(self) -> MemoryConsumer:
        """aiokafka has no public way to wait for a topic's partitions; the platform asks its client."""
        return self

    async def _wait_on_metadata(self, topic: str) -> set[int]:
        """Numbers of the partitions of `topic`. Raises UnknownTopicOrPartitionError."""
        numbers = self._broker.partitions(topic)
        if not numbers:
            raise UnknownTopicOrPartitionError
        return numbers

    async def getmany(
        self, *places: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Fetched:
        """Records of `places` (default: all assigned) from their positions on; waits up to `timeout_ms` for some."""
        if not self._running:
            raise ConsumerStoppedError
        self._broker.raise_failure("getmany")
        found = self._fetch(places, max_records)
        if not found and timeout_ms:
            await self._broker.news(timeout_ms / 1000)
            if self._running:
                found = self._fetch(places, max_records)
        else:
            await asyncio.sleep(0)
        return found

    def _fetch(self, places: Iterable[TopicPartition], most: int | None) -> Fetched:
        found: Fetched = {}
        left = most if most is not None else 1 << 30
        for place in sorted(set(places or self._assigned) & self._assigned - self._paused):
            records: list[ConsumerRecord] = []
            at, end = self._place(place), self._end(place)
            if at > end:
                raise OffsetOutOfRangeError({place: at})
            log = self._broker.log(place)
            self._ends[place] = len(log), self._broker.last_stable_offset(place)
            self._answered[place] = self._broker.clock()
            while at < end and left:
                if self._visible(log[at]):
                    records.append(_record(place, at, log[at]))
                    left -= 1
                at += 1
            # Markers and what was given up count as read, once nothing readable comes before them.
            while at < end and not self._visible(log[at]):
                at += 1
            self._positions[place] = at
            if records:
                found[place] = records
        return found

    def _visible(self, entry: Entry) -> bool:
        if entry.marker:
            return False
        return not self._committed_only or entry.writer is None or bool(entry.writer.committed)

    def _end(self, place: TopicPartition) -> int:
        return (
            self._broker.last_stable_offset(place) if self._committed_only else len(self._broker.log(place))
        )

    def _place(self, place: TopicPartition) -> int:
        if place not in self._positions:
            start = None if self._group is None else self._broker.groups[self._group].committed.get(place)
            if start is None:
                start = 0 if self._reset == "earliest" else self._end(place)
            self._positions[place] = start
        return self._positions[place]

    def _check_assigned(self, place: TopicPartition) -> None:
        if place not in self._assigned:
            raise IllegalStateError(f"{place} is not assigned")

    def _need_group(self) -> str:
        if self._group is None:
            raise IllegalStateError("no group")
        return self._group


def _record(place: TopicPartition, offset: int, entry: Entry) -> ConsumerRecord:
    return ConsumerRecord(
        topic=place.topic, partition=place.partition, offset=offset, timestamp=entry.timestamp_ms, timestamp_type=0,
        key=entry.key, value=entry.value, checksum=None, serialized_key_size=len(entry.key or b""),
        serialized_value_size=len(entry.value or b""), headers=entry.headers,
    )  # fmt: skip


class MemoryBatch:
    """What `create_batch` gives."""

    def __init__(self, broker: MemoryBroker, most_bytes: int) -> None:
        self.entries: list[Entry] = []
        self._clock = broker.clock
        self._room = most_bytes

    def append(
        self,
        *,
        timestamp: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes]] = (),
    ) -> object | None:
        """None if it is full; the first record always fits."""
        size = len(key or b"") + len(value or b"")
        if self.entries and size > self._room:
            return None
        self._room -= size
        self.entries.append(
            Entry(self._clock() if timestamp is None else timestamp, key, value, headers_of(headers))
        )
        return self


class MemoryProducer:
    """AIOKafkaProducer on a MemoryBroker."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        transactional_id: str | None = None,
        max_batch_size: int = 16_384,
        max_request_size: int = 1 << 20,
        **_: Any,
    ) -> None:
        self._broker = broker
        self._id = transactional_id
        self._batch_bytes = max_batch_size
        self._most_bytes = max_request_size
        self._epoch = -1
        self._transaction: Any = None

    async def start(self) -> None:
        """Connect; with a transactional id, take it over from whoever had it."""
        self._broker.raise_failure("start")
        if self._id is not None:
            self._epoch = self._broker.take_over(self._id)

    async def stop(self) -> None:
        """Disconnect. What a transaction wrote stays open, as if the process had died."""

    async def partitions_for(self, topic: str) -> set[int]:
        """Numbers of the partitions of `topic`."""
        return self._broker.partitions(topic)

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        *,
        timestamp_ms: int | None = None,
        headers: Iterable[tuple[str, bytes]] | None = None,
    ) -> asyncio.Future[RecordMetadata]:
        """Write one record. Raises MessageSizeTooLargeError and, where it is fenced, ProducerFenced."""
        if len(key or b"") + len(value or b"") > self._most_bytes:
            raise MessageSizeTooLargeError
        if partition is None:
            count = len(self._broker.partitions(topic)) or 1
            partition = 0 if key is None else _PARTITIONER(key, range(count), range(count))
        batch = self.create_batch()
        batch.append(timestamp=timestamp_ms, key=key, value=value, headers=headers or ())
        return await self.send_batch(batch, topic, partition=partition)

    async def send_and_wait(self, *args: Any, **options: Any) -> RecordMetadata:
        """`send`, acknowledged."""
        return await (await self.send(*args, **options))

    def create_batch(self) -> MemoryBatch:
        """An empty batch."""
        return MemoryBatch(self._broker, self._batch_bytes)

    async def send_batch(
        self, batch: MemoryBatch, topic: str, *, partition: int
    ) -> asyncio.Future[RecordMetadata]:
        """Write a batch."""
        self._broker.raise_failure("send")
        self._check()
        place = TopicPartition(topic, partition)
        offset = len(self._broker.log(place))
        for entry in batch.entries:
            entry.writer = self._transaction
            self._broker.append(place, entry)
        done: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        stamp = batch.entries[0].timestamp_ms if batch.entries else self._broker.clock()
        done.set_result(RecordMetadata(topic, partition, place, offset, stamp, 0, 0))
        return done

    async def begin_transaction(self) -> None:
        """Open a transaction. Raises ProducerFenced."""
        self._check()
        assert self._id is not None
        self._transaction = self._broker.begin(self._id)

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, int], group_id: str) -> None:
        """Let the commit note `offsets` of `group_id`. Raises ProducerFenced."""
        self._broker.raise_failure("send_offsets_to_transaction")
        self._check()
        self._transaction.offsets[group_id].update(offsets)

    async def commit_transaction(self) -> None:
        """Let what was written be seen. Raises ProducerFenced."""
        self._broker.raise_failure("commit_transaction")
        await self._end(committed=True)

    async def abort_transaction(self) -> None:
        """Let nobody who reads committed records see what was written. Raises ProducerFenced."""
        await self._end(committed=False)

    async def _end(self, *, committed: bool) -> None:
        assert self._id is not None
        self._broker.end(self._id, self._epoch, committed=committed)
        self._transaction = None

    def _check(self) -> None:
        if self._id is not None:
            self._broker.check_epoch(self._id, self._epoch)
