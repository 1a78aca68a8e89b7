"""Which offsets of a partition may be committed while records overtake each other, and what a reader survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar
from unittest.mock import Mock

import pytest
from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from libs.bus import group
from libs.bus.group import GroupReader, Progress
from libs.bus.message import Message
from libs.bus.settings import BusSettings


def test_nothing_is_committed_past_a_record_that_is_under_way() -> None:
    progress = Progress()
    for offset in (5, 6, 9):
        progress.begin(offset)
    assert progress.next == 5
    progress.done(6)
    assert progress.next == 5
    progress.done(5)
    assert progress.next == 9
    progress.done(9)
    assert progress.next == 10
    progress.done(9)
    assert progress.next == 10
    assert Progress(7).next == 7


class Consumer:
    """A consumer of which each read gives the next of `reads`, or raises it; the last for ever."""

    made: ClassVar[list[Consumer]] = []
    reads: ClassVar[list[dict[TopicPartition, list[ConsumerRecord]] | KafkaError]] = [{}]
    starts: ClassVar[list[KafkaError | None]] = [None]

    def __init__(self, **_: object) -> None:
        self.assigned = {A}
        self.positions = {A: 3, B: 7}
        self.committed: list[dict[TopicPartition, int]] = []
        self.running = False
        self.made.append(self)

    def subscribe(self, _topics: object, listener: ConsumerRebalanceListener) -> None:
        self.listener = listener

    async def start(self) -> None:
        error = self.starts.pop(0) if len(self.starts) > 1 else self.starts[0]
        if error is not None:
            raise error
        self.running = True
        await self.listener.on_partitions_assigned(self.assigned)

    async def stop(self) -> None:
        self.running = False

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        assert self.running
        await asyncio.sleep(0)
        read = self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]
        if isinstance(read, KafkaError):
            raise read
        return read

    async def position(self, partition: TopicPartition) -> int:
        if partition not in self.assigned:
            raise IllegalStateError("not assigned")
        return self.positions[partition]

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if offsets.keys() - self.assigned:
            raise IllegalStateError("not assigned")
        self.committed.append(offsets)


A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def passed_over(partition: TopicPartition, offset: int) -> ConsumerRecord:
    """A record of which nothing is wanted."""
    headers = (("ce_type", b"voltbus.Nothing"),)
    return ConsumerRecord(partition.topic, partition.partition, offset, 0, 0, None, b"", None, 0, 0, headers)


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> type[Consumer]:
    Consumer.made, Consumer.reads, Consumer.starts = [], [{}], [None]
    monkeypatch.setattr(group, "AIOKafkaConsumer", Consumer)
    monkeypatch.setattr(group, "_RETRY_S", 0)
    return Consumer


@asynccontextmanager
async def reading() -> AsyncIterator[GroupReader]:
    async def nobody(message: Message) -> None:
        raise AssertionError(message)

    bus = Mock(settings=BusSettings(kafka="nowhere", registry_url="http://nowhere"))
    reader, stop = GroupReader(bus, ["ocpp.lifecycle"], "g", lambda *_: False), asyncio.Event()
    running = asyncio.create_task(reader.run(nobody, stop))
    try:
        yield reader
    finally:
        stop.set()
        await running


async def turns(condition: Callable[[], object]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("never")


async def test_a_reader_is_healthy_again_once_it_can_read(consumer: type[Consumer]) -> None:
    async with reading() as reader:
        assert not reader.healthy
        await turns(lambda: reader.healthy)
        consumer.reads = [KafkaError("away"), KafkaError("away"), {}]
        await turns(lambda: not reader.healthy)
        await turns(lambda: reader.healthy)
        assert len(consumer.made) == 1
    assert not reader.healthy


async def test_a_membership_that_only_fails_is_given_up_for_a_new_one(consumer: type[Consumer]) -> None:
    async with reading() as reader:
        await turns(lambda: reader.healthy)
        consumer.starts = [KafkaError("still away"), None]
        consumer.reads = [*[KafkaError("for ever")] * group._FAILURES, {}]
        await turns(lambda: len(consumer.made) == 3 and reader.healthy)
        assert [each.running for each in consumer.made] == [False, False, True]


async def test_only_what_is_assigned_is_committed(consumer: type[Consumer]) -> None:
    async with reading():
        # Of a partition that was taken away between its fetch and now.
        fetched = {A: [passed_over(A, 4), passed_over(A, 5)], B: [passed_over(B, 8)]}
        consumer.reads = [fetched, {}]
        await turns(lambda: len(consumer.reads) == 1)
    (only,) = consumer.made
    assert only.committed == [{A: 6}]


async def test_what_was_read_of_a_partition_before_counts_no_more_once_it_is_back(
    consumer: type[Consumer],
) -> None:
    async with reading() as reader:
        consumer.reads = [{B: [passed_over(B, 8)]}, {}]
        await turns(lambda: len(consumer.reads) == 1)
        (only,) = consumer.made
        only.assigned = {A, B}
        await only.listener.on_partitions_assigned(only.assigned)
        await turns(lambda: reader.healthy)
    assert only.committed == [{A: 3, B: 7}]


async def test_where_it_begins_is_committed_though_nothing_comes(consumer: type[Consumer]) -> None:
    async with reading() as reader:
        await turns(lambda: reader.healthy)
    (only,) = consumer.made
    assert only.committed == [{A: 3}]
