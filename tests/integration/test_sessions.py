"""The sessions processor on real Kafka, killed while it works."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from random import Random

import msgspec
import pytest

from libs.bus.bus import Bus, connect
from libs.bus.message import Message
from libs.bus.producer import Producer
from libs.bus.runtime_memory import MemoryRuntime
from libs.devstack import Endpoints
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.events.sessions import CdrIssued, SessionCorrected, SessionEnded
from libs.events.topics import OCPP_TRANSACTIONS
from libs.runtime.clock import now_us
from libs.testing.tail import Tail
from services.sessions.domain.processor import SessionsProcessor
from tests.integration.bus import bus_settings, drop_topics, make_topics
from tests.integration.processor_rig import KILLS
from tests.integration.service_process import ServiceProcess
from tests.patience import WAIT_S, until
from tests.unit.sessions.exchanges import DAY
from tests.unit.sessions.given import registry
from tests.unit.sessions.truthful import channel, truth

VERSIONS = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")
OUTPUTS = ("sessions.events", "billing.cdrs")
Key = tuple[str, str]


@pytest.fixture
async def bus(stack: Endpoints, namespace: str) -> AsyncIterator[Bus]:
    settings = bus_settings(stack, namespace, partitions=4)
    await make_topics(settings)
    async with connect(settings) as bus:
        yield bus
    await drop_topics(settings)


def log_of(random: Random, stations: int) -> tuple[dict[str, list[OcppCallReceived]], dict[Key, int]]:
    """What the edge recorded of each station, and the energy of each transaction by the stations' meters."""
    logs: dict[str, list[OcppCallReceived]] = {}
    energy: dict[Key, int] = {}
    for n in range(stations):
        station_id, version, begin = f"CP-{n}", VERSIONS[n % len(VERSIONS)], now_us() - DAY
        told = truth(random, random.randint(1, 3), version, begin)
        logs[station_id] = [
            msgspec.structs.replace(
                record,
                station_id=station_id,
                event_id=(event_id := derive_id(record.event_id, station_id)),
                cause_id=event_id,
            )
            for record in channel(random, told, version, begin)
        ]
        energy |= {(station_id, tx): wh for tx, wh in told.energy.items()}
    return logs, energy


def tables_of(stations: list[str]) -> dict[str, dict[str, Record]]:
    tables = registry()
    (template,) = tables["registry.stations"].values()
    assert isinstance(template, StationRegistered)
    tables["registry.stations"] = {s: msgspec.structs.replace(template, station_id=s) for s in stations}
    return tables


def expected(logs: dict[str, list[Message]], tables: dict[str, dict[str, Record]]) -> dict[Key, list[Record]]:
    """By topic and station, what the in-memory runtime makes of the log."""
    out: dict[Key, list[Record]] = defaultdict(list)
    for station_id, messages in logs.items():
        memory = MemoryRuntime(SessionsProcessor(), tables)
        for message in messages:
            memory.handle(message)
        assert not memory.dead
        for emit in memory.emitted:
            assert emit.record is not None
            out[emit.topic, station_id].append(emit.record)
    return out


def anywhere(logs: dict[str, list[OcppCallReceived]]) -> dict[str, list[Message]]:
    """The log before it is known where its records will be."""
    return {
        station_id: [
            Message(OCPP_TRANSACTIONS, 0, n, station_id, each, each.recorded_at)
            for n, each in enumerate(records)
        ]
        for station_id, records in logs.items()
    }


async def log_as_written(bus: Bus, total: int) -> dict[str, list[Message]]:
    """The log with the places that its records have got."""
    placed: dict[str, list[Message]] = defaultdict(list)
    async with Tail(bus, OCPP_TRANSACTIONS, start="beginning") as tail:
        async for message in tail:
            placed[message.key].append(message)
            total -= 1
            if not total:
                break
    return placed


async def read(bus: Bus, topic: str, found: dict[Key, list[Record]]) -> None:
    async with Tail(bus, topic, start="beginning") as tail:
        async for message in tail:
            assert message.record is not None
            found[topic, message.key].append(message.record)


def mixed(logs: dict[str, list[OcppCallReceived]], random: Random) -> list[OcppCallReceived]:
    """All messages, each station's in its order."""
    turns = [station_id for station_id, records in logs.items() for _ in records]
    random.shuffle(turns)
    queues = {station_id: iter(records) for station_id, records in logs.items()}
    return [next(queues[station_id]) for station_id in turns]


async def publish(producer: Producer, records: list[OcppCallReceived]) -> None:
    sent = [await producer.send(OCPP_TRANSACTIONS, record.station_id, record) for record in records]
    await asyncio.gather(*sent)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1])
async def test_killed_again_and_again_it_announces_each_session_once(bus: Bus, seed: int) -> None:
    random = Random(seed)
    logs, energy = log_of(random, 200)
    tables = tables_of(list(logs))
    wanted = expected(anywhere(logs), tables)
    producer = Producer(bus, "edge")
    await producer.start()
    for topic, table in tables.items():
        for key, record in table.items():
            await producer.send_and_wait(topic, key, record)
    found: dict[Key, list[Record]] = defaultdict(list)
    async with asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read(bus, topic, found)) for topic in OUTPUTS]
        log, total = mixed(logs, random), sum(map(len, wanted.values()))
        service = ServiceProcess("sessions", bus.settings)
        service.start()
        try:
            for n in range(KILLS):
                have = count(found)
                await publish(producer, log[n * len(log) // KILLS : (n + 1) * len(log) // KILLS])
                await arrived(found, have + random.randrange(1, total // (2 * KILLS)))
                service.kill()
                service.start()
            await arrived(found, total)
            await until_ready(service)
        finally:
            status = service.stop()
            for reader in readers:
                reader.cancel()
    await producer.stop()
    assert status == 0
    assert {key: len(records) for key, records in found.items()} == {
        key: len(records) for key, records in wanted.items()
    }
    # Charge records name the offsets of their evidence.
    async with asyncio.timeout(WAIT_S):
        assert found == expected(await log_as_written(bus, len(log)), tables)
    final = {
        (key[1], record.transaction_id): record.energy_wh
        for key, records in found.items()
        for record in records
        if isinstance(record, SessionEnded | SessionCorrected)
    }
    billed = {
        (key[1], record.transaction_id): record.energy_wh
        for key, records in found.items()
        for record in records
        if isinstance(record, CdrIssued)
    }
    assert final == energy
    assert billed == energy


def count(found: dict[Key, list[Record]]) -> int:
    return sum(map(len, found.values()))


async def arrived(found: dict[Key, list[Record]], wanted: int) -> None:
    """Wait until that many records have been read."""
    await until(lambda: count(found) >= wanted, f"{wanted} records")


async def until_ready(service: ServiceProcess) -> None:
    await until(service.is_ready, f"{service.name} is ready")
