"""Messages shared out among a group's members, by a real broker that goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from libs.bus import bus as libs_bus
from libs.bus.concurrent_consumer import ConcurrentConsumer
from libs.bus.errors import BusUnavailableError
from libs.bus.message import Message
from libs.bus.producer import Producer
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints, Stack
from libs.events.ids import new_id
from libs.events.registry import StationRegistered
from libs.runtime.clock import now_us
from tests.integration.bus import bus_settings, make_topics
from tests.patience import until

TOPIC = "registry.stations"


def station(name: str) -> StationRegistered:
    now = now_us()
    return StationRegistered(
        event_id=new_id(), occurred_at=now, recorded_at=now, cause_id="test", station_id=name
    )


async def test_a_reader_goes_on_after_its_broker_was_killed_and_commits_again(
    stack: Endpoints, private_stack: Callable[..., Stack], namespace: str
) -> None:
    servers = await asyncio.to_thread(private_stack, registry=False, clickhouse=False)
    settings = bus_settings(
        servers.endpoints, namespace, registry_url=stack.registry_url, partitions=3, slots=4
    )
    await make_topics(settings)
    broker = servers.brokers[0]
    first, second = Reading(settings), Reading(settings)
    async with libs_bus.connect(settings) as bus:
        producer = Producer(bus, "test")
        await producer.start()

        async def publish(name: str) -> None:
            """Until Kafka has it."""
            while True:
                try:
                    await producer.send_and_wait(TOPIC, name, station(name))
                    return
                except BusUnavailableError:
                    await producer.restart()

        async with first:
            # Of those before it was there it reads none.
            await publish("one")
            await until(lambda: "one" in first.seen, "the first is read")
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)
            await publish("two")
            await until(lambda: "two" in first.seen, "the second is read")
            await until(lambda: first.healthy, "healthy again")
        async with second:
            await publish("three")
            await until(lambda: "three" in second.seen, "the third is read")
        await producer.stop()
    # The end of the first was committed, to the broker that came back.
    assert second.seen == ["three"]


class Reading:
    """A reader of its own bus; `seen`: the stations that it was handed."""

    def __init__(self, settings: BusSettings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._reader: ConcurrentConsumer | None = None
        self.seen: list[str] = []

    @property
    def healthy(self) -> bool:
        return self._reader is not None and self._reader.healthy

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._run())
        await until(lambda: self.healthy or self._task.done(), "a member of the group")

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._task

    async def _run(self) -> None:
        async with libs_bus.connect(self._settings) as bus:
            self._reader = ConcurrentConsumer(bus, [TOPIC], "readers", lambda *_: True)
            await self._reader.run(self._handle, self._stop)

    async def _handle(self, message: Message) -> None:
        self.seen.append(message.key)
