"""Telemetry on real Kafka, killed while it works: measurements exactly once, station state at least once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from random import Random

import msgspec
import pytest

from libs.bus.bus import Bus, connect
from libs.bus.producer import Producer
from libs.bus.runtime_memory import MemoryRuntime
from libs.devstack import Endpoints
from libs.events.ids import derive_id
from libs.events.ocpp_log import FrameRejected, OcppCallReceived
from libs.events.record import Record
from libs.events.telemetry import HealthWindowClosed, StationStateChanged
from libs.events.topics import (
    OCPP_LIFECYCLE,
    OCPP_REJECTED,
    OCPP_TRANSACTIONS,
    TELEMETRY_HEALTH,
    TELEMETRY_MEASUREMENTS,
)
from libs.runtime.clock import now_us
from libs.testing.tail import Tail
from services.telemetry.domain.health.processor import HealthProcessor
from services.telemetry.domain.measurements.processor import MeasurementsProcessor
from tests.integration.bus import bus_settings, drop_topics, make_topics
from tests.integration.service_process import ServiceProcess
from tests.patience import until
from tests.unit.sessions.exchanges import HOUR, SECOND, event2, meter16
from tests.unit.telemetry.lifecycle import boot, closed, heartbeat, opened, rejected, status

Log = list[tuple[str, str, Record]]
STATUSES = ("Available", "Preparing", "Charging", "Faulted", "Finishing")


@pytest.fixture
async def bus(stack: Endpoints, namespace: str) -> AsyncIterator[Bus]:
    settings = bus_settings(stack, namespace)
    await make_topics(settings)
    async with connect(settings) as bus:
        yield bus
    await drop_topics(settings)


def life(random: Random, station_id: str, begin: int) -> Log:
    """What the edge recorded of a station, in its order; topics as they fall."""
    at, epoch = begin, 1
    records: list[tuple[str, Record]] = [(OCPP_LIFECYCLE, opened(1, at)), (OCPP_LIFECYCLE, boot(at + 1))]
    for n in range(random.randint(5, 25)):
        at += SECOND
        match random.randrange(6):
            case 0:
                records.append((OCPP_LIFECYCLE, heartbeat(at, epoch=epoch)))
            case 1:
                records.append((OCPP_REJECTED, rejected(n, at)))
            case 2:
                records.append((OCPP_LIFECYCLE, opened(epoch + 1, at)))
                records.append((OCPP_LIFECYCLE, closed(epoch, at + 1)))
                epoch += 1
            case 3:
                records.append((OCPP_TRANSACTIONS, meter16(7, at, n)))
            case 4:
                records.append((OCPP_TRANSACTIONS, event2("Updated", "tx", n, at, n)))
            case _:
                connector, word = random.randint(1, 2), random.choice(STATUSES)
                records.append((OCPP_LIFECYCLE, status(connector, word, at, epoch=epoch)))
    log: Log = []
    for topic, record in records:
        event_id = derive_id(record.event_id, station_id)
        own = msgspec.structs.replace(record, station_id=station_id, event_id=event_id, cause_id=event_id)
        log.append((topic, station_id, own))
    return log


async def read(bus: Bus, topic: str, found: dict[str, list[Record]]) -> None:
    async with Tail(bus, topic, start="beginning") as tail:
        async for message in tail:
            assert message.record is not None
            found[message.key].append(message.record)


def size(found: dict[str, list[Record]]) -> int:
    return sum(map(len, found.values()))


def once(records: list[Record]) -> list[Record]:
    """Records in the order of their first coming; a repeat must say the same."""
    first: dict[str, Record] = {}
    for record in records:
        assert first.setdefault(record.event_id, record) == record
    return list(first.values())


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1])
async def test_killed_again_and_again_it_tells_the_same(bus: Bus, seed: int) -> None:
    random = Random(seed)
    begin = now_us() - HOUR
    lives = {f"CP-{n}": life(random, f"CP-{n}", begin) for n in range(40)}
    log = [entry for each in lives.values() for entry in each]
    random.shuffle(turns := [station_id for station_id, each in lives.items() for _ in each])
    queues = {station_id: iter(each) for station_id, each in lives.items()}
    mixed = [next(queues[station_id]) for station_id in turns]

    measurements, stations = MemoryRuntime(MeasurementsProcessor()), MemoryRuntime(HealthProcessor())
    for topic, key, record in log:
        (measurements if topic == OCPP_TRANSACTIONS else stations).feed(topic, key, record)
    measured = {r.event_id: r for emit in measurements.emitted if (r := emit.record)}
    changes: dict[str, list[Record]] = defaultdict(list)
    for emit in stations.emitted:
        if isinstance(emit.record, StationStateChanged):
            changes[emit.key].append(emit.record)

    producer = Producer(bus, "edge")
    await producer.start()
    samples: dict[str, list[Record]] = defaultdict(list)
    health: dict[str, list[Record]] = defaultdict(list)
    calls = sum(isinstance(record, OcppCallReceived) and topic == OCPP_LIFECYCLE for topic, _, record in log)
    refused = sum(isinstance(record, FrameRejected) for _, _, record in log)

    def windows() -> list[HealthWindowClosed]:
        every = {r.event_id: r for rs in health.values() for r in rs if isinstance(r, HealthWindowClosed)}
        return list(every.values())

    def told() -> dict[str, list[Record]]:
        """Changes of state by station."""
        return {
            key: once([record for record in records if isinstance(record, StationStateChanged)])
            for key, records in health.items()
        }

    async with asyncio.TaskGroup() as tasks:
        readers = [
            tasks.create_task(read(bus, TELEMETRY_MEASUREMENTS, samples)),
            tasks.create_task(read(bus, TELEMETRY_HEALTH, health)),
        ]
        service = ServiceProcess("telemetry", bus.settings)
        service.start()
        try:
            for n in range(2):
                have = size(health)
                for topic, key, record in mixed[n * len(mixed) // 2 : (n + 1) * len(mixed) // 2]:
                    await producer.send(topic, key, record)
                await until(lambda have=have: size(health) > have + 10, "telemetry works")  # type: ignore[misc]
                service.kill()
                service.start()
            await until(lambda: size(samples) >= len(measured), "all measurements")
            await until(lambda: sum(w.calls for w in windows()) >= calls, "all windows")
            await until(lambda: sum(w.rejected for w in windows()) >= refused, "all refused frames")
            await until(lambda: size(told()) >= size(changes), "all changes of state")
            await until(service.is_ready, "telemetry is ready")
        finally:
            status = service.stop()
            for reader in readers:
                reader.cancel()
    await producer.stop()
    assert status == 0
    assert sorted(r.event_id for rs in samples.values() for r in rs) == sorted(measured)
    assert {r.event_id: r for rs in samples.values() for r in rs} == measured
    assert told() == changes
    assert (sum(w.calls for w in windows()), sum(w.rejected for w in windows())) == (calls, refused)
