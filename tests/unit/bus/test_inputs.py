"""The order in which a partition's inputs are handled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from libs.bus import inputs
from libs.bus.fetching import FED_BYTES, FED_RECORDS, feed, value_bytes_of
from libs.bus.inputs import ENOUGH_BYTES, Inputs
from libs.bus.metrics import LAG
from libs.bus.settings import BusSettings
from libs.testing.memory_kafka import MemoryBroker, MemoryConsumer, MemoryProducer
from tests.metrics import value_of

A, B = TopicPartition("a", 0), TopicPartition("b", 0)


class Rig:
    """Inputs of a partition over a Kafka in memory. `now_ms` is the broker's clock.

    `held`: bytes of the records that were fetched and not taken.
    """

    def __init__(self) -> None:
        self.now_ms = 0
        self.broker = MemoryBroker({"a": 1, "b": 1}, clock=lambda: self.now_ms)
        self.consumer: Any = MemoryConsumer(self.broker, group_id="g", isolation_level="read_committed")
        self.inputs = Inputs(BusSettings(), self.consumer, "test", ["a", "b"], 0)
        self.held = 0

    async def start(self) -> Rig:
        await self.consumer.start()
        self.consumer.assign([A, B])
        await self.inputs.seek_to_committed()
        return self

    async def write(self, *, value: bytes = b"v", a: Sequence[int] = (), b: Sequence[int] = ()) -> None:
        """Write records with these timestamps."""
        producer = MemoryProducer(self.broker)
        for topic, times in (("a", a), ("b", b)):
            for time in times:
                await producer.send_and_wait(topic, value, b"k", 0, timestamp_ms=time)

    async def feed(self) -> tuple[bool, bool]:
        """Fetch as the runtime does."""
        wanted = self.inputs.needs_fetch
        if not wanted:
            return False, False
        return await feed(self.consumer, lambda: [self], wanted, timeout_ms=0)

    @property
    def filled(self) -> list[TopicPartition]:
        return self.inputs.filled

    def add_fetched(self, fetched: Mapping[TopicPartition, list[ConsumerRecord]], /) -> None:
        self.inputs.add_fetched(fetched)
        self.held += sum(map(value_bytes_of, fetched.values()))

    def take(self, most: int) -> int:
        """How many records were taken."""
        _, records = self.inputs.take(most) or (None, [])
        self.held -= value_bytes_of(records)
        return len(records)

    async def fetch(self, *places: TopicPartition, most: int | None = None) -> bool:
        """Fetch from `places` and add what came."""
        return self.inputs.add_fetched(await self.consumer.getmany(*places or (A, B), max_records=most))


async def placed(*, a: Sequence[int], b: Sequence[int] = ()) -> Inputs:
    rig = await Rig().start()
    await rig.write(a=a, b=b)
    await rig.fetch()
    return rig.inputs


def runs(found: Inputs, most: int = 100) -> list[tuple[str, list[int]]]:
    taken = []
    while (run := found.take(most)) is not None:
        taken.append((run[0].topic, [each.timestamp for each in run[1]]))
    return taken


async def test_the_oldest_comes_first_and_the_first_input_of_equals() -> None:
    found = await placed(a=[1, 2, 5, 9], b=[2, 3, 5])
    assert runs(found) == [("a", [1, 2]), ("b", [2, 3]), ("a", [5]), ("b", [5]), ("a", [9])]


async def test_order_within_an_input_is_kept_whatever_its_times() -> None:
    found = await placed(a=[5, 1, 7], b=[6])
    assert runs(found) == [("a", [5, 1]), ("b", [6]), ("a", [7])]


async def test_a_run_is_no_longer_than_asked() -> None:
    found = await placed(a=[1, 2, 3])
    assert runs(found, 2) == [("a", [1, 2]), ("a", [3])]


async def test_nobody_runs_ahead_of_an_input_that_has_more() -> None:
    rig = await Rig().start()
    await rig.write(a=[1, 2], b=[3, 4])
    await rig.fetch(A)
    assert rig.inputs.take(100) is None
    await rig.fetch(B)
    assert runs(rig.inputs) == [("a", [1, 2]), ("b", [3, 4])]


async def test_what_has_been_seen_is_not_taken_again() -> None:
    rig = await Rig().start()
    await rig.write(a=[1, 2])
    await rig.fetch(A, B, most=1)
    rig.consumer.seek(A, 0)
    await rig.fetch()
    assert runs(rig.inputs) == [("a", [1, 2])]


async def test_an_input_with_enough_needs_no_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "ENOUGH_RECORDS", 2)
    rig = await Rig().start()
    await rig.write(a=[1, 2])
    await rig.fetch()
    assert rig.inputs.needs_fetch == [B]
    rig.inputs.take(1)
    assert rig.inputs.needs_fetch == [A, B]
    rig.inputs.clear()
    assert rig.inputs.needs_fetch == []
    await rig.write(a=[3])
    assert not await rig.fetch()


async def test_a_moment_is_reached_when_what_was_written_until_then_has_been_taken_of_every_input() -> None:
    rig = await Rig().start()
    await rig.write(a=[1, 2])

    async def answered(at_ms: int, most: int) -> int:
        rig.now_ms = at_ms
        await rig.fetch(A, B, most=most)
        await rig.inputs.observe()
        return rig.inputs.reached

    assert await answered(100, 0) == 0, "there was no answer before"
    assert await answered(200, 0) == 0, "two records are not at hand yet"
    assert await answered(300, 2) == 0, "two records are at hand"
    assert rig.inputs.take(1) is not None
    assert await answered(400, 0) == 0, "one record is at hand"
    assert rig.inputs.take(1) is not None
    assert await answered(500, 0) == 100_000
    assert await answered(600, 0) == 500_000


LARGE = b"x" * 250_000


@pytest.mark.parametrize("small", [0, 15, 300])
async def test_of_what_compresses_well_only_so_many_bytes_are_held(small: int) -> None:
    rig = await Rig().start()
    await rig.write(a=[1] * small)
    await rig.write(value=LARGE, a=[2] * 300, b=[3] * 300)
    most = 0
    taken = 0
    while taken < small + 600:
        while (await rig.feed())[1]:
            most = max(most, rig.held)
        most = max(most, rig.held)
        taken += rig.take(32)
    assert rig.held == 0
    # Of either input what is enough, and what one step brought beyond it.
    assert ENOUGH_BYTES <= most <= 2 * (ENOUGH_BYTES + 64 * (len(LARGE) + 1_000))


async def test_a_fetch_of_large_records_ends_at_a_few_megabytes() -> None:
    rig = await Rig().start()
    await rig.write(value=LARGE, a=[1] * 100, b=[1] * 100)
    assert await rig.feed() == (True, True)
    assert rig.held <= FED_BYTES + 64 * (len(LARGE) + 1_000)


async def test_small_records_are_fetched_by_the_thousand() -> None:
    rig = await Rig().start()
    assert await rig.feed() == (False, False)
    await rig.write(a=[1] * 3_000)
    assert await rig.feed() == (True, True)
    first = rig.inputs.take(FED_RECORDS)
    assert first is not None
    assert len(first[1]) == FED_RECORDS


async def test_what_is_forgotten_is_not_counted() -> None:
    rig = await Rig().start()
    await rig.write(value=LARGE, a=[1] * 100)
    while A in rig.inputs.needs_fetch:
        await rig.feed()
    assert rig.inputs.filled == [A]
    rig.inputs.clear()
    assert rig.inputs.filled == []
    await rig.inputs.seek_to_committed()
    assert rig.inputs.needs_fetch == [A, B]


async def test_a_partition_that_was_left_shows_no_lag() -> None:
    rig = await Rig().start()
    await rig.write(a=[1, 2, 3])
    await rig.fetch()
    await rig.inputs.observe()
    lag = LAG.labels("test", "a", 0)
    assert value_of(lag) == 3
    rig.inputs.leave()
    assert value_of(lag) == 0
