"""Which offsets of a partition may be committed while records overtake each other, and what a reader survives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from libs.bus import concurrent_consumer
from libs.bus.concurrent_consumer import ConcurrentConsumer, OffsetTracker
from libs.bus.errors import ContractMismatchError
from libs.bus.message import Message
from libs.bus.settings import BusSettings
from libs.testing.memory_kafka import MemoryBroker, MemoryConsumer, MemoryProducer
from tests.patience import until


def test_nothing_is_committed_past_a_record_that_is_under_way() -> None:
    progress = OffsetTracker()
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
    assert OffsetTracker(7).next == 7


SETTINGS = BusSettings(kafka="nowhere", registry_url="http://nowhere")
TOPIC, GROUP = SETTINGS.topic("ocpp.lifecycle"), SETTINGS.group("g")
A, B = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)
NOT_WANTED = [("ce_type", b"voltbus.Nothing")]


class Rig:
    """A topic of two partitions with three and seven records, which nobody wants, and the consumers made so far."""

    def __init__(self) -> None:
        self.broker = MemoryBroker({TOPIC: 2})
        self.others: list[MemoryBroker] = []
        """Whom the next consumers ask instead, one each."""
        self.made: list[MemoryConsumer] = []

    def consumer(self, **options: Any) -> MemoryConsumer:
        broker = self.others.pop() if self.others else self.broker
        self.made.append(MemoryConsumer(broker, **options))
        return self.made[-1]

    async def write(self, place: TopicPartition, count: int) -> None:
        producer = MemoryProducer(self.broker)
        for _ in range(count):
            await producer.send_and_wait(TOPIC, b"", None, place.partition, headers=NOT_WANTED)

    @property
    def committed(self) -> dict[TopicPartition, int]:
        return self.broker.groups[GROUP].committed


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    rig = Rig()
    monkeypatch.setattr(concurrent_consumer, "AIOKafkaConsumer", rig.consumer)
    monkeypatch.setattr(concurrent_consumer, "RETRY_S", 0)
    await rig.write(A, 3)
    await rig.write(B, 7)
    return rig


@asynccontextmanager
async def reading() -> AsyncIterator[ConcurrentConsumer]:
    async def nobody(message: Message) -> None:
        raise AssertionError(message)

    reader, stop = (
        ConcurrentConsumer(Mock(settings=SETTINGS), ["ocpp.lifecycle"], "g", lambda *_: False),
        asyncio.Event(),
    )
    running = asyncio.create_task(reader.run(nobody, stop))
    try:
        await until(lambda: reader.healthy)
        yield reader
    finally:
        stop.set()
        await running


async def until_read(consumer: MemoryConsumer, place: TopicPartition, offset: int) -> None:
    async def read() -> bool:
        return await consumer.position(place) >= offset

    await until(read, f"read up to {offset}")


async def another_member(rig: Rig) -> MemoryConsumer:
    """Joins the group and takes partition B over."""
    other = MemoryConsumer(rig.broker, TOPIC, group_id=GROUP)
    await other.start()
    await until(lambda: other.assignment() == {B})
    return other


async def test_a_reader_is_healthy_again_once_it_can_read(rig: Rig) -> None:
    async with reading() as reader:
        rig.broker.fail("getmany", KafkaError("away"), KafkaError("away"))
        await until(lambda: not reader.healthy)
        await until(lambda: reader.healthy)
        assert len(rig.made) == 1
    assert not reader.healthy


async def test_a_membership_that_only_fails_is_given_up_for_a_new_one(rig: Rig) -> None:
    async with reading() as reader:
        rig.broker.fail("start", KafkaError("still away"))
        rig.broker.fail("getmany", *[KafkaError("for ever")] * concurrent_consumer.FAILURES)
        await until(lambda: len(rig.made) == 3 and reader.healthy)
        assert rig.broker.groups[GROUP].members == [rig.made[2]]


async def test_a_broker_that_lacks_a_topic_when_it_joins_anew_ends_nothing(rig: Rig) -> None:
    """It has started again, say, and does not know everything yet."""
    async with reading() as reader:
        rig.others = [MemoryBroker({}), MemoryBroker({})]
        rig.broker.fail("getmany", *[KafkaError("for ever")] * concurrent_consumer.FAILURES)
        await until(lambda: len(rig.made) == 4 and reader.healthy)
        assert rig.broker.groups[GROUP].members == [rig.made[3]]


async def test_who_does_not_know_a_topic_does_not_join(rig: Rig) -> None:
    """It would be given nothing, and look healthy."""
    reader = ConcurrentConsumer(
        Mock(settings=SETTINGS), ["ocpp.lifecycle", "ocpp.new"], "g", lambda *_: False
    )
    with pytest.raises(ContractMismatchError, match=r"ocpp\.new"):
        await reader.run(AsyncMock(), asyncio.Event())
    assert rig.broker.groups[GROUP].balanced is None
    assert not reader.healthy


async def test_only_what_is_assigned_is_committed(rig: Rig) -> None:
    async with reading() as reader:
        await rig.write(B, 1)
        other = await another_member(rig)
        await other.commit({B: 9})
        await until(lambda: reader.healthy)
        await rig.write(A, 2)
        await rig.write(B, 3)
        await until_read(rig.made[0], A, 5)
    assert rig.committed == {A: 5, B: 9}, "the other member's offset stays"


async def test_what_was_read_of_a_partition_before_counts_no_more_once_it_is_back(rig: Rig) -> None:
    async with reading() as reader:
        await rig.write(B, 2)
        other = await another_member(rig)
        await other.commit({B: 8})
        await other.stop()
        await until(lambda: rig.made[0].assignment() == {A, B} and reader.healthy)
        await until_read(rig.made[0], B, 9)
    assert rig.committed == {A: 3, B: 9}


async def test_where_it_begins_is_committed_though_nothing_comes(rig: Rig) -> None:
    async with reading():
        pass
    assert rig.committed == {A: 3, B: 7}
