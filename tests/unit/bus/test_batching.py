"""Batches of one partition: in order, one under way at a time, and nothing acknowledged that Kafka has not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaTimeoutError

from libs.bus.batching import PartitionBatcher, SendPacer
from libs.bus.errors import BusUnavailableError


class Batch:
    """Room for three records."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, key: bytes, value: bytes, timestamp: None, headers: Any) -> object | None:
        if len(self.values) == 3:
            return None
        self.values.append(value)
        return self


class Kafka:
    """Takes batches; acknowledges when told to."""

    def __init__(self) -> None:
        self.sent: list[list[bytes]] = []
        self.acks: list[asyncio.Future[None]] = []

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[None]:
        self.sent.append(batch.values)
        self.acks.append(asyncio.get_running_loop().create_future())
        return self.acks[-1]


async def turn() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


class Rig:
    def __init__(self) -> None:
        self.kafka = Kafka()
        self.settled: list[tuple[int, bool]] = []
        self.batcher = PartitionBatcher(
            self.kafka, "topic", 0, SendPacer(0), lambda n, error: self.settled.append((n, error is None))
        )

    def add(self, *values: bytes) -> list[asyncio.Future[None]]:
        return [self.add_one(value) for value in values]

    def add_one(self, value: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_acknowledged(error: BusUnavailableError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        assert self.batcher.append(b"key", value, [], None, on_acknowledged)
        return future


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_what_comes_while_a_batch_is_under_way_goes_in_the_next(rig: Rig) -> None:
    first = rig.add(b"a", b"b")
    await turn()
    second = rig.add(b"c")
    assert rig.kafka.sent == [[b"a", b"b"]]
    rig.kafka.acks[0].set_result(None)
    await turn()
    assert [f.done() for f in (*first, *second)] == [True, True, False]
    rig.kafka.acks[1].set_result(None)
    await asyncio.gather(*first, *second)
    assert rig.kafka.sent == [[b"a", b"b"], [b"c"]]
    await turn()
    assert rig.settled == [(2, True), (1, True)]
    await rig.batcher.flushed()


async def test_a_full_batch_makes_the_next_record_wait_for_room(rig: Rig) -> None:
    rig.add(b"a")
    await turn()
    rig.add(b"b", b"c", b"d")
    assert not rig.batcher.append(b"key", b"e", [], None, lambda error: None)
    waiting = asyncio.create_task(rig.batcher.room())
    await turn()
    assert not waiting.done()
    rig.kafka.acks[0].set_result(None)
    await waiting
    rig.add(b"e")
    await turn()
    assert rig.kafka.sent == [[b"a"], [b"b", b"c", b"d"]]


async def test_a_failed_batch_fails_what_is_behind_it_too(rig: Rig) -> None:
    first = rig.add(b"a")
    await turn()
    second = rig.add(b"b", b"c", b"d")
    waiting = asyncio.create_task(rig.batcher.room())
    await turn()
    rig.kafka.acks[0].set_exception(KafkaTimeoutError())
    await waiting
    for future in (*first, *second):
        with pytest.raises(BusUnavailableError):
            await future
    assert rig.kafka.sent == [[b"a"]]
    assert rig.settled == [(4, False)]


async def test_one_who_no_longer_waits_disturbs_nobody(rig: Rig) -> None:
    gone, kept = rig.add(b"a", b"b")
    await turn()
    gone.cancel()
    rig.kafka.acks[0].set_result(None)
    await kept
    assert rig.kafka.sent == [[b"a", b"b"]]


async def test_an_abandoned_lane_acknowledges_nothing(rig: Rig) -> None:
    (future,) = rig.add(b"a")
    await turn()
    rig.batcher.abandon()
    with pytest.raises(BusUnavailableError):
        await future
    await rig.batcher.flushed()


async def test_one_who_stumbles_over_the_news_keeps_it_from_nobody(rig: Rig) -> None:
    def stumble(_: BusUnavailableError | None) -> None:
        raise RuntimeError("stumbled")

    assert rig.batcher.append(b"key", b"a", [], None, stumble)
    (other,) = rig.add(b"b")
    await turn()
    rig.kafka.acks[0].set_result(None)
    await other
    await turn()
    assert rig.settled == [(2, True)]


class Clock:
    """As much of an event loop as a pacer needs, with a time that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.alarms: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> None:
        self.alarms.append((when, callback, arguments))

    def ring(self) -> None:
        ((self.now, callback, arguments),) = self.alarms
        self.alarms.clear()
        callback(*arguments)


async def test_departures_are_at_once_after_a_pause_and_together_otherwise() -> None:
    clock = Clock()
    pacer = SendPacer(0.020, cast(asyncio.AbstractEventLoop, clock))
    await pacer.wait()
    await pacer.wait()
    clock.now = 100.005
    late = [asyncio.create_task(pacer.wait()) for _ in range(3)]
    await turn()
    assert not any(task.done() for task in late)
    assert [when for when, _, _ in clock.alarms] == [100.020]
    clock.ring()
    await asyncio.gather(*late)
    clock.now = 100.035
    later = asyncio.create_task(pacer.wait())
    await turn()
    assert not later.done()
    clock.ring()
    await later
    assert clock.now == pytest.approx(100.040)
    clock.now = 100.060
    await pacer.wait()
    assert not clock.alarms
