"""What is small in Kafka and large when it is unpacked is read in small parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from libs.bus.fetching import fetch, steps

PLACE = TopicPartition("t", 0)


class Consumer:
    """Hands out records of these sizes, as many as are asked for."""

    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes
        self.asked: list[int] = []
        self.failing = 0

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        self.asked.append(max_records)
        if len(self.asked) == self.failing:
            raise KafkaError("away")
        given, self._sizes = self._sizes[:max_records], self._sizes[max_records:]
        return {PLACE: [SimpleNamespace(key=b"", value=b"x" * size) for size in given]} if given else {}


async def read(consumer: Consumer) -> list[int]:
    found = await fetch(
        cast(AIOKafkaConsumer, consumer), timeout_ms=200, max_records=10_000, max_bytes=8 << 20
    )
    return [len(record.value) for record in found.get(PLACE, [])]


async def test_small_records_are_read_in_few_steps() -> None:
    consumer = Consumer([500] * 50_000)
    assert len(await read(consumer)) == 10_000
    assert len(consumer.asked) <= 6


@pytest.mark.parametrize("size", [50_000, 250_000, 4 << 20])
async def test_of_large_ones_no_more_are_unpacked_than_fit(size: int) -> None:
    consumer = Consumer([size] * 10_000)
    given = await read(consumer)
    assert sum(given) <= max(16 * size, (8 << 20) + size)
    assert given


async def test_large_ones_behind_small_ones_pass_the_bound_by_little() -> None:
    consumer = Consumer([100] * 16 + [250_000] * 10_000)
    assert sum(await read(consumer)) <= 4 * 16 * 250_000 + 16 * 100


async def test_nothing_is_waited_for_twice() -> None:
    consumer = Consumer([])
    assert await read(consumer) == []
    assert len(consumer.asked) == 1
    consumer = Consumer([500] * 5)
    assert await read(consumer) == [500] * 5
    assert len(consumer.asked) == 1


async def test_what_was_read_before_a_failure_is_not_lost() -> None:
    consumer = Consumer([500] * 100)
    consumer.failing = 2
    assert len(await read(consumer)) == 16
    assert len(await read(consumer)) == 84
    consumer = Consumer([500])
    consumer.failing = 1
    with pytest.raises(KafkaError):
        await read(consumer)
    assert len(await read(consumer)) == 1


async def steps_of(consumer: Consumer) -> list[list[int]]:
    each = steps(cast(AIOKafkaConsumer, consumer), timeout_ms=200, max_records=500)
    return [[len(record.value) for record in fetched[PLACE]] async for fetched in each]


async def test_step_by_step_no_more_than_a_few_are_unpacked_at_once() -> None:
    taken = await steps_of(Consumer([1 << 20] * 500))
    assert max(map(len, taken)) <= 64
    assert sum(map(sum, taken)) <= (4 << 20) + 64 * (1 << 20)
    taken = await steps_of(Consumer([100] * 100 + [1 << 20] * 500))
    assert sum(map(sum, taken)) <= (4 << 20) + 64 * (1 << 20)


async def test_step_by_step_small_records_come_all_in_their_order() -> None:
    consumer = Consumer([number % 7 for number in range(1_200)])
    for begin in (0, 500, 1_000):
        taken = [size for step in await steps_of(consumer) for size in step]
        assert taken == [number % 7 for number in range(begin, min(begin + 500, 1_200))]
    assert await steps_of(consumer) == []


async def test_step_by_step_an_error_is_told_once_what_came_before_is_taken() -> None:
    consumer = Consumer([500] * 100)
    consumer.failing = 2
    each = steps(cast(AIOKafkaConsumer, consumer), timeout_ms=200, max_records=500)
    assert len((await anext(each))[PLACE]) == 16
    with pytest.raises(KafkaError):
        await anext(each)
