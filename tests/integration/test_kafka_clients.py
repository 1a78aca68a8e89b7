"""What the platform counts on in Kafka's clients, case by case: on a real broker and on the one in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Protocol

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import IllegalStateError, KafkaError, MessageSizeTooLargeError, ProducerFenced

from libs.bus.admin import topics_known
from libs.devstack import Endpoints
from libs.testing.memory_kafka import MemoryBroker, MemoryConsumer, MemoryProducer
from tests.patience import WAIT_S, until


class Kafka(Protocol):
    """A broker with topic `topic` of two partitions, and clients that are stopped at the end."""

    topic: str

    async def consumer(self, *topics: str, started: bool = True, **options: Any) -> Any:
        """A consumer that reads from the beginning what is committed, unless `options` say otherwise."""

    async def producer(self, **options: Any) -> Any:
        """A started producer."""


class Clients:
    """Makes clients by `consumer` and `producer`; stops them when it is left."""

    def __init__(
        self, topic: str, consumer: Callable[..., Any], producer: Callable[..., Any], stack: AsyncExitStack
    ) -> None:
        self.topic = topic
        self._consumer = consumer
        self._producer = producer
        self._stack = stack

    async def consumer(self, *topics: str, started: bool = True, **options: Any) -> Any:
        defaults = {"auto_offset_reset": "earliest", "isolation_level": "read_committed"}
        made = self._consumer(*topics, **{**defaults, **options})
        if started:
            await made.start()
            self._stack.push_async_callback(made.stop)
        return made

    async def producer(self, **options: Any) -> Any:
        made = self._producer(**options)
        await made.start()
        self._stack.push_async_callback(_stop, made)
        return made


async def _stop(producer: Any) -> None:
    with suppress(KafkaError):
        await producer.stop()


@pytest.fixture(params=["memory", "real"])
async def kafka(request: pytest.FixtureRequest) -> AsyncIterator[Kafka]:
    async with AsyncExitStack() as clients:
        if request.param == "memory":
            broker = MemoryBroker({"topic": 2})
            yield Clients("topic", partial(MemoryConsumer, broker), partial(MemoryProducer, broker), clients)
            return
        endpoints: Endpoints = request.getfixturevalue("stack")
        topic = f"{request.getfixturevalue('namespace')}.clients"
        where = {"bootstrap_servers": endpoints.bootstrap}
        admin = AIOKafkaAdminClient(**where)
        await admin.start()
        await admin.create_topics([NewTopic(topic, 2, 1)])
        await topics_known(admin, {topic: 2})
        quick = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 500, "fetch_max_wait_ms": 50}
        yield Clients(
            topic, partial(AIOKafkaConsumer, **where, **quick), partial(AIOKafkaProducer, **where), clients
        )
        await clients.aclose()
        await admin.delete_topics([topic])
        await admin.close()


async def read(consumer: Any, count: int) -> list[Any]:
    """The next `count` records."""
    found: list[Any] = []
    async with asyncio.timeout(WAIT_S):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    return found


async def test_a_record_is_read_as_it_was_written(kafka: Kafka) -> None:
    producer, consumer = await kafka.producer(), await kafka.consumer(kafka.topic)
    await producer.send_and_wait(kafka.topic, b"v", b"k", 1, timestamp_ms=17, headers=[("h", b"x")])
    await producer.send_and_wait(kafka.topic, None, b"k", 1, timestamp_ms=16)
    first, second = await read(consumer, 2)
    assert (first.topic, first.partition, first.offset, first.timestamp) == (kafka.topic, 1, 0, 17)
    assert (first.key, first.value, list(first.headers)) == (b"k", b"v", [("h", b"x")])
    assert (second.offset, second.timestamp, second.value, list(second.headers)) == (1, 16, None, [])


async def test_a_key_has_a_partition(kafka: Kafka) -> None:
    producer = await kafka.producer()
    places = [(await producer.send_and_wait(kafka.topic, b"v", f"s{n}".encode())).partition for n in range(8)]
    assert places == [0, 1, 1, 1, 0, 1, 0, 0]
    assert await producer.partitions_for(kafka.topic) == {0, 1}


async def test_a_batch_is_one_write(kafka: Kafka) -> None:
    producer, consumer = await kafka.producer(max_batch_size=1_000), await kafka.consumer(kafka.topic)
    batch = producer.create_batch()
    taken = 0
    while batch.append(timestamp=taken, key=b"k", value=b"v" * 200, headers=[]) is not None:
        taken += 1
    assert 2 <= taken <= 5
    await (await producer.send_batch(batch, kafka.topic, partition=0))
    assert [record.timestamp for record in await read(consumer, taken)] == list(range(taken))


async def test_a_record_beyond_the_producers_limit_is_refused(kafka: Kafka) -> None:
    producer = await kafka.producer(max_request_size=2_000)
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send(kafka.topic, b"v" * 3_000, b"k")


async def test_assigned_partitions_are_read_from_where_one_seeks(kafka: Kafka) -> None:
    producer, consumer = await kafka.producer(), await kafka.consumer()
    zero, one = TopicPartition(kafka.topic, 0), TopicPartition(kafka.topic, 1)
    for number in range(3):
        await producer.send_and_wait(kafka.topic, str(number).encode(), partition=0)
    consumer.assign([zero])
    assert consumer.assignment() == {zero}
    assert await consumer.beginning_offsets([zero]) == {zero: 0}
    assert await consumer.end_offsets([zero]) == {zero: 3}
    consumer.seek(zero, 1)
    assert [record.value for record in await read(consumer, 2)] == [b"1", b"2"]
    assert await consumer.position(zero) == 3
    with pytest.raises(IllegalStateError):
        consumer.seek(one, 0)
    with pytest.raises(IllegalStateError):
        await consumer.position(one)


async def test_a_fetch_gives_no_more_than_is_asked_for_and_of_nobody_else(kafka: Kafka) -> None:
    producer, consumer = await kafka.producer(), await kafka.consumer()
    zero, one = TopicPartition(kafka.topic, 0), TopicPartition(kafka.topic, 1)
    for place in (zero, one):
        for number in range(3):
            await producer.send_and_wait(kafka.topic, str(number).encode(), partition=place.partition)
    consumer.assign([zero, one])
    seen: list[bytes] = []
    async with asyncio.timeout(WAIT_S):
        while len(seen) < 3:
            fetched = await consumer.getmany(one, timeout_ms=200, max_records=2)
            assert set(fetched) <= {one}
            assert len(fetched.get(one, [])) <= 2
            seen += [record.value for record in fetched.get(one, [])]
    assert seen == [b"0", b"1", b"2"]
    assert [record.partition for record in await read(consumer, 3)] == [0, 0, 0]


async def test_a_paused_partition_waits(kafka: Kafka) -> None:
    producer, consumer = await kafka.producer(), await kafka.consumer()
    zero, one = TopicPartition(kafka.topic, 0), TopicPartition(kafka.topic, 1)
    consumer.assign([zero, one])
    consumer.pause(zero)
    await producer.send_and_wait(kafka.topic, b"waits", partition=0)
    await producer.send_and_wait(kafka.topic, b"first", partition=1)
    assert [record.value for record in await read(consumer, 1)] == [b"first"]
    consumer.resume(zero)
    assert [record.value for record in await read(consumer, 1)] == [b"waits"]


async def test_only_what_is_committed_is_seen(kafka: Kafka) -> None:
    place = TopicPartition(kafka.topic, 0)
    consumer, all_seeing = await kafka.consumer(), await kafka.consumer(isolation_level="read_uncommitted")
    for each in (consumer, all_seeing):
        each.assign([place])
    producer = await kafka.producer(transactional_id=f"{kafka.topic}.t")
    await producer.begin_transaction()
    await producer.send_and_wait(kafka.topic, b"given up", partition=0)
    await producer.abort_transaction()
    await producer.begin_transaction()
    await producer.send_and_wait(kafka.topic, b"kept", partition=0)
    assert [record.value for record in await read(all_seeing, 2)] == [b"given up", b"kept"]
    assert await consumer.getmany(timeout_ms=200) == {}
    assert (await consumer.end_offsets([place]), await all_seeing.end_offsets([place])) == (
        {place: 2},
        {place: 3},
    )
    await producer.commit_transaction()
    assert [record.value for record in await read(consumer, 1)] == [b"kept"]


async def test_the_position_moves_past_markers_and_what_was_given_up(kafka: Kafka) -> None:
    place = TopicPartition(kafka.topic, 0)
    consumer = await kafka.consumer()
    consumer.assign([place])
    producer = await kafka.producer(transactional_id=f"{kafka.topic}.t")
    for end in (producer.commit_transaction, producer.abort_transaction):
        await producer.begin_transaction()
        await producer.send_and_wait(kafka.topic, b"v", partition=0)
        await end()
    await read(consumer, 1)
    async with asyncio.timeout(WAIT_S):
        while await consumer.position(place) < 4:
            assert await consumer.getmany(timeout_ms=50) == {}
    assert consumer.last_stable_offset(place) == consumer.highwater(place) == 4


async def test_offsets_are_committed_with_the_transaction(kafka: Kafka) -> None:
    place, group = TopicPartition(kafka.topic, 0), f"{kafka.topic}.g"
    producer = await kafka.producer(transactional_id=f"{kafka.topic}.t")
    consumer = await kafka.consumer(group_id=group, enable_auto_commit=False)
    await producer.begin_transaction()
    await producer.send_offsets_to_transaction({place: 7}, group)
    await producer.abort_transaction()
    assert await consumer.committed(place) is None
    await producer.begin_transaction()
    await producer.send_offsets_to_transaction({place: 8}, group)
    await producer.commit_transaction()
    async with asyncio.timeout(WAIT_S):
        # A broker answers before it has marked the offsets as committed.
        while await consumer.committed(place) != 8:  # noqa: ASYNC110 - a fact of the broker
            await asyncio.sleep(0.01)


async def test_the_next_holder_of_a_transactional_id_ends_what_the_last_began_and_fences_it(
    kafka: Kafka,
) -> None:
    place = TopicPartition(kafka.topic, 0)
    consumer = await kafka.consumer()
    consumer.assign([place])
    first = await kafka.producer(transactional_id=f"{kafka.topic}.t")
    await first.begin_transaction()
    await first.send_and_wait(kafka.topic, b"of the first", partition=0)
    second = await kafka.producer(transactional_id=f"{kafka.topic}.t")
    await second.begin_transaction()
    await second.send_and_wait(kafka.topic, b"of the second", partition=0)
    await second.commit_transaction()
    with pytest.raises(ProducerFenced):
        await first.commit_transaction()
    assert [record.value for record in await read(consumer, 1)] == [b"of the second"]


async def test_an_answer_without_records_is_an_answer_too(kafka: Kafka) -> None:
    place = TopicPartition(kafka.topic, 0)
    consumer = await kafka.consumer()
    consumer.assign([place])
    async with asyncio.timeout(WAIT_S):
        while not (first := consumer.last_poll_timestamp(place)):
            assert await consumer.getmany(timeout_ms=50) == {}
        while consumer.last_poll_timestamp(place) == first:
            assert await consumer.getmany(timeout_ms=50) == {}
    assert consumer.last_stable_offset(place) == 0


async def test_the_partitions_of_a_topic_are_told(kafka: Kafka) -> None:
    consumer = await kafka.consumer()
    assert set(await consumer._client._wait_on_metadata(kafka.topic)) == {0, 1}
    assert kafka.topic in await consumer.topics()


class Heard(ConsumerRebalanceListener):  # type: ignore[misc]
    """What a group tells a member."""

    def __init__(self) -> None:
        self.told: list[tuple[str, set[int]]] = []

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self.told.append(("revoked", {place.partition for place in revoked}))

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self.told.append(("assigned", {place.partition for place in assigned}))


async def member(kafka: Kafka, group: str) -> tuple[Any, Heard]:
    consumer = await kafka.consumer(group_id=group, enable_auto_commit=False)
    heard = Heard()
    consumer.subscribe([kafka.topic], listener=heard)
    return consumer, heard


async def test_members_share_the_partitions_and_hear_of_it(kafka: Kafka) -> None:
    group = f"{kafka.topic}.g"
    first, of_first = await member(kafka, group)
    await until(lambda: ("assigned", {0, 1}) in of_first.told)
    _second, of_second = await member(kafka, group)
    async with asyncio.timeout(WAIT_S):
        while len(of_first.told) < 4 or not of_second.told or of_second.told[-1][1] in ({0, 1}, set()):
            await first.getmany(timeout_ms=50)
    assert of_first.told[1:3] == [("assigned", {0, 1}), ("revoked", {0, 1})]
    kept, given = of_first.told[-1], of_second.told[-1]
    assert (kept[0], given[0]) == ("assigned", "assigned")
    assert (len(kept[1]), kept[1] | given[1]) == (1, {0, 1})


async def test_a_member_reads_on_where_the_group_has_committed(kafka: Kafka) -> None:
    group, place = f"{kafka.topic}.g", TopicPartition(kafka.topic, 0)
    producer = await kafka.producer()
    for number in range(3):
        await producer.send_and_wait(kafka.topic, str(number).encode(), partition=0)
    first = await kafka.consumer(kafka.topic, group_id=group, enable_auto_commit=False, started=False)
    await first.start()
    assert len(await read(first, 3)) == 3
    await first.commit({place: 2})
    await first.stop()
    second = await kafka.consumer(kafka.topic, group_id=group, enable_auto_commit=False)
    assert [record.value for record in await read(second, 1)] == [b"2"]


async def test_what_is_not_assigned_cannot_be_committed(kafka: Kafka) -> None:
    consumer = await kafka.consumer(kafka.topic, group_id=f"{kafka.topic}.g", enable_auto_commit=False)
    with pytest.raises(IllegalStateError):
        await consumer.commit({TopicPartition("another", 0): 1})
