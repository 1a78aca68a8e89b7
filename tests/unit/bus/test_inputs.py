"""The order in which a partition's inputs are handled."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from libs.bus import inputs
from libs.bus.inputs import Inputs
from libs.bus.settings import BusSettings

A, B = TopicPartition("a", 0), TopicPartition("b", 0)


class Consumer:
    """Knows where each input ends, and has handed over all that was offered; `answers`: so often it was told that."""

    def __init__(self, ends: dict[TopicPartition, int]) -> None:
        self.ends = ends
        self.positions = dict.fromkeys(ends, 0)
        self.answers = 0

    async def position(self, place: TopicPartition) -> int:
        return self.positions[place]

    def last_poll_timestamp(self, place: TopicPartition) -> int | None:
        return self.answers or None

    async def committed(self, place: TopicPartition) -> int | None:
        return 0

    def seek(self, place: TopicPartition, offset: int) -> None:
        pass

    def resume(self, *places: TopicPartition) -> None:
        pass

    def last_stable_offset(self, place: TopicPartition) -> int:
        return self.ends[place]


def record(place: TopicPartition, offset: int, timestamp: int) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(place.topic, 0, offset, timestamp, 0, b"k", b"v", None, 1, 1, ())


async def placed(ends: dict[TopicPartition, int], **at_hand: list[int]) -> Inputs:
    consumer: Any = Consumer(ends)
    found = Inputs(BusSettings(), consumer, "test", ["a", "b"], 0)
    await found.seek_to_committed()
    found.offer(
        {
            TopicPartition(topic, 0): [
                record(TopicPartition(topic, 0), at, time) for at, time in enumerate(times)
            ]
            for topic, times in at_hand.items()
        }
    )
    return found


def runs(found: Inputs, most: int = 100) -> list[tuple[str, list[int]]]:
    taken = []
    while (run := found.take(most)) is not None:
        taken.append((run[0].topic, [each.timestamp for each in run[1]]))
    return taken


async def test_the_oldest_comes_first_and_the_first_input_of_equals() -> None:
    found = await placed({A: 4, B: 3}, a=[1, 2, 5, 9], b=[2, 3, 5])
    assert runs(found) == [("a", [1, 2]), ("b", [2, 3]), ("a", [5]), ("b", [5]), ("a", [9])]


async def test_order_within_an_input_is_kept_whatever_its_times() -> None:
    found = await placed({A: 3, B: 1}, a=[5, 1, 7], b=[6])
    assert runs(found) == [("a", [5, 1]), ("b", [6]), ("a", [7])]


async def test_a_run_is_no_longer_than_asked() -> None:
    found = await placed({A: 3, B: 0}, a=[1, 2, 3])
    assert runs(found, 2) == [("a", [1, 2]), ("a", [3])]


async def test_nobody_runs_ahead_of_an_input_that_has_more() -> None:
    found = await placed({A: 2, B: 2}, a=[1, 2])
    assert found.take(100) is None
    found.offer({B: [record(B, 0, 3), record(B, 1, 4)]})
    assert runs(found) == [("a", [1, 2]), ("b", [3, 4])]


async def test_what_has_been_seen_is_not_taken_again() -> None:
    found = await placed({A: 2, B: 0}, a=[1])
    found.offer({A: [record(A, 0, 1), record(A, 1, 2)]})
    assert runs(found) == [("a", [1, 2])]


async def test_who_has_enough_is_not_hungry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "ENOUGH_RECORDS", 2)
    found = await placed({A: 2, B: 0}, a=[1, 2])
    assert found.hungry == [B]
    found.take(1)
    assert found.hungry == [A, B]
    found.clear()
    assert found.hungry == []
    assert not found.offer({A: [record(A, 2, 3)]})


async def test_a_moment_is_reached_when_what_was_written_until_then_has_been_taken_of_every_input() -> None:
    consumer = Consumer({A: 2, B: 0})
    found = Inputs(BusSettings(), consumer, "test", ["a", "b"], 0)
    await found.seek_to_committed()

    async def answered(at_ms: int) -> int:
        consumer.answers = at_ms
        await found.observe()
        return found.reached

    assert await answered(100) == 0, "there was no answer before"
    assert await answered(200) == 0, "two records are not at hand yet"
    found.offer({A: [record(A, 0, 1), record(A, 1, 2)]})
    consumer.positions[A] = 2
    assert await answered(300) == 0, "two records are at hand"
    assert found.take(1) is not None
    assert await answered(400) == 0, "one record is at hand"
    assert found.take(1) is not None
    assert await answered(500) == 100_000
    assert await answered(600) == 500_000


async def test_who_starts_over_has_reached_nothing() -> None:
    consumer = Consumer({A: 0, B: 0})
    found = Inputs(BusSettings(), consumer, "test", ["a", "b"], 0)
    await found.seek_to_committed()
    for consumer.answers in (100, 200):
        await found.observe()
    assert found.reached == 100_000
    found.clear()
    await found.seek_to_committed()
    assert found.reached == 0
