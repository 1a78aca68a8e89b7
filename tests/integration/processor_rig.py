"""A bus of a test's own, what is read from it as it grows, and the same log copied to another."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer

from libs.bus.bus import Bus, connect
from libs.bus.connection import connection
from libs.bus.message import Message
from libs.bus.producer import Producer
from libs.bus.tail import read_all
from libs.devstack import Endpoints
from libs.events.record import Record
from libs.testing.tail import Tail
from tests.integration.bus import bus_settings, drop_topics, make_topics
from tests.integration.service_process import ServiceProcess
from tests.patience import WAIT_S, until

R = TypeVar("R", bound=Record)
PARTITIONS = 3
KILLS = 4 if os.environ.get("VOLTBUS_CHAOS_ROUNDS") else 2
"""Of one test; `make chaos` takes more."""


class Rig:
    """Publishes to a bus and reads topics of it from their beginning."""

    def __init__(self, bus: Bus, producer: Producer) -> None:
        self.bus = bus
        self._producer = producer
        self.messages: dict[str, list[Message]] = defaultdict(list)
        self._followers: list[asyncio.Task[None]] = []

    async def publish(self, topic: str, key: str, record: Record | None) -> None:
        await self._producer.send_and_wait(topic, key, record)

    async def publish_raw(self, topic: str, key: str, value: bytes) -> None:
        raw = AIOKafkaProducer(**connection(self.bus.settings))
        await raw.start()
        try:
            await raw.send_and_wait(self.bus.settings.topic(topic), value, key.encode())
        finally:
            await raw.stop()

    def follow(self, *topics: str, then: Callable[[Message], Any] | None = None) -> None:
        """Collect `messages` of topics; `then` is awaited for each."""
        for topic in topics:
            self._followers.append(asyncio.create_task(self._read(topic, then)))

    async def _read(self, topic: str, then: Callable[[Message], Any] | None) -> None:
        async with Tail(self.bus, topic, start="beginning") as tail:
            async for message in tail:
                self.messages[topic].append(message)
                if then is not None:
                    await then(message)

    def records(self, topic: str, kind: type[R]) -> list[R]:
        return [m.record for m in self.messages[topic] if isinstance(m.record, kind)]

    async def until(self, condition: Callable[[], Any], what: str, deadline_s: float = WAIT_S) -> None:
        """Wait until `condition` holds; whatever a follower raised is raised here."""

        def holds() -> Any:
            found = condition()
            for follower in self._followers:
                if not found and follower.done():
                    follower.result()
            return found

        await until(holds, what, deadline_s)

    async def whole(self, *topics: str) -> None:
        """Wait until all that is in followed topics by now has been collected."""
        written = {topic: [message async for message in read_all(self.bus, topic)] for topic in topics}
        await self.until(
            lambda: all(len(self.messages[topic]) >= len(all_) for topic, all_ in written.items()),
            f"all of {topics}",
        )

    async def ready(self, service: ServiceProcess) -> None:
        await self.until(service.is_ready, f"{service.name} is ready")

    async def stop(self) -> None:
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)


@asynccontextmanager
async def open_rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    settings = bus_settings(stack, namespace, partitions=PARTITIONS, slots=4)
    await make_topics(settings)
    async with connect(settings) as bus:
        producer = Producer(bus, "test")
        await producer.start()
        rig = Rig(bus, producer)
        try:
            yield rig
        finally:
            await rig.stop()
            await producer.stop()
            await drop_topics(settings)


async def copy_log(
    source: Rig, target: Rig, *topics: str, only: Callable[[Message], bool] = lambda message: True
) -> None:
    """Write what `source` has followed of `topics` to `target`: same partitions, order and timestamps."""
    bus = target.bus
    kafka = AIOKafkaProducer(**connection(bus.settings))
    await kafka.start()
    try:
        for topic in topics:
            for message in filter(only, source.messages[topic]):
                value = None if message.record is None else bus.codec.encode(topic, message.record)
                await kafka.send(
                    bus.settings.topic(topic),
                    value,
                    message.key.encode(),
                    message.partition,
                    timestamp_ms=message.timestamp_us // 1000,
                )
        await kafka.flush()
    finally:
        await kafka.stop()


@contextmanager
def running(name: str, rig: Rig) -> Iterator[ServiceProcess]:
    """The service as a process, ended in an orderly way."""
    service = ServiceProcess(name, rig.bus.settings)
    service.start()
    try:
        yield service
    finally:
        assert service.stop() == 0


async def kill_repeatedly(
    rig: Rig, service: ServiceProcess, marks: list[int], progress: Callable[[], int]
) -> None:
    """Kill -9 and start the service each time that `progress` has reached the next of `marks`."""
    for mark in sorted(marks):
        await rig.until(lambda mark=mark: progress() >= mark, f"progress to {mark}")  # type: ignore[misc]
        service.kill()
        service.start()


def by_id(messages: list[Message]) -> dict[str, Record]:
    """Records by event id. Fails if two of them have the same id."""
    records = [message.record for message in messages if message.record is not None]
    found = {record.event_id: record for record in records}
    assert len(found) == len(records), "a record was written twice"
    return found
