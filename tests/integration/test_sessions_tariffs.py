"""The sessions processor on real Kafka, killed while tariffs change and operators decide; then everything from zero."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest
import yaml

from libs.bus.message import Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.devstack import Endpoints
from libs.events.decisions import Decision, SessionDecided
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import StationRegistered, TariffRegistered, TariffVersion
from libs.events.sessions import CdrIssued
from libs.runtime.clock import SECOND, now_us
from libs.tariffs.documents import parse
from services.sessions.domain.processor import SessionsProcessor
from tests.integration.processor_rig import KILLS, Rig, copy_log, kill_repeatedly, open_rig, running
from tests.unit.sessions.books import Books
from tests.unit.sessions.channel import HOUR, delivered, topic_of
from tests.unit.sessions.charger import told_by
from tests.unit.sessions.exchanges import STATION, start16, stop16
from tests.unit.sessions.lies import lie
from tests.unit.sessions.meter import visits
from tests.unit.sessions.test_truth import VERSIONS, Tables, tables_of

ROUNDS = int(os.environ.get("VOLTBUS_CHAOS_ROUNDS", "1"))
STAGES = 3
STATIONS = 16
DECISIONS = "billing.decisions"
INPUTS = ("ocpp.transactions", "ocpp.lifecycle", DECISIONS)
OUTPUTS = ("sessions.events", "billing.cdrs", "billing.decided")
REGISTRY = ("registry.stations", "registry.sites", "registry.tariffs")
PROBE = "PROBE"
ZONE = "Europe/Berlin"
NIGHT = """
elements:
- price_components: [{type: ENERGY, price: "0.2%d"}]
  restrictions: {start_time: "22:00", end_time: "06:00"}
- price_components: [{type: ENERGY, price: "0.4%d"}, {type: PARKING_TIME, price: "0.10", per: minute}]
"""
Key = tuple[str, str]


@dataclass
class Station:
    """What chargers tell of one station, and what operators decide about it once all of that is known."""

    told: list[OcppCallReceived]
    decided: list[SessionDecided] = field(default_factory=list)


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        yield rig


def stage_at(begin: int, stage: int) -> int:
    """When the sessions of a stage begin; its version of the tariff is valid from an hour later on."""
    return (begin // HOUR + 24 * (stage - STAGES)) * HOUR


def version_of(begin: int, stage: int) -> TariffVersion:
    return TariffVersion(
        version=stage + 1,
        valid_from=0 if not stage else stage_at(begin, stage) + HOUR,
        currency="EUR",
        price_per_kwh_milli=0,
        terms=parse(yaml.safe_load(NIGHT.replace("%d", str(stage))), "EUR"),
    )


def recorded_from(begin: int, stage: int) -> int:
    """From when on the messages of a stage are recorded, milliseconds apart: by that inputs are merged in a replay."""
    return begin + 20 * stage * SECOND


def stations_of(random: Random, begin: int, stage: int) -> dict[str, Station]:
    """Some tell the truth, some have meters that lie."""
    logs: dict[str, list[OcppCallReceived]] = {}
    for n in range(STATIONS):
        version = random.choice(VERSIONS)
        told = version != "ocpp1.6" or random.random() < 0.5
        true = visits(random, stage_at(begin, stage), 60, told)
        shown = [lie(random, visit) if random.random() < 0.5 else visit for visit in true]
        scripts = [told_by(random, visit, version) for visit in shown]
        logs[f"CP-{stage}-{n}"] = delivered(random, scripts, orderly=random.random() < 0.5, slow=False)
    stations = {name: Station([]) for name in logs}
    turns = [name for name, log in logs.items() for _ in log]
    random.shuffle(turns)
    for n, name in enumerate(turns):
        each = logs[name][len(stations[name].told)]
        event_id = derive_id(each.event_id, name)
        stations[name].told.append(
            msgspec.structs.replace(
                each,
                station_id=name,
                recorded_at=recorded_from(begin, stage) + 2_000 * n,
                event_id=event_id,
                cause_id=event_id,
            )
        )
    return stations


def decisions_about(random: Random, name: str, records: Iterable[Record], at: int) -> list[SessionDecided]:
    """About what is in review, and some about what is not; one in five about a version that is not the last."""
    last = {record.cdr_id: record for record in records if isinstance(record, CdrIssued)}
    found = []
    for n, cdr in enumerate(last.values()):
        if not cdr.review and random.random() < 0.8:
            continue
        decision = random.choice(list(Decision))
        event_id = derive_id(cdr.cdr_id, "decision")
        found.append(
            SessionDecided(
                event_id=event_id,
                occurred_at=at + 2_000 * n,
                recorded_at=at + 2_000 * n,
                cause_id=event_id,
                station_id=name,
                session_id=cdr.session_id,
                decision=decision,
                billed_wh=cdr.energy_wh // 2 if decision is Decision.ADJUST else None,
                version=cdr.version if random.random() < 0.8 else cdr.version + 1,
                reason="as agreed",
                decided_by="clerk",
            )
        )
    return found


def folded(name: str, log: Iterable[tuple[str, Message]], tables: Tables) -> dict[Key, list[Record]]:
    """By topic, what the undisturbed fold makes of one station's log."""
    memory = MemoryRuntime(SessionsProcessor(), tables)
    for _, message in log:
        memory.handle(message)
    assert not memory.dead, memory.dead
    found: dict[Key, list[Record]] = defaultdict(list)
    for emit in memory.emitted:
        assert emit.record is not None
        found[emit.topic, name].append(emit.record)
    return found


def anywhere(station: Station) -> list[tuple[str, Message]]:
    """The log before it is known where its records will be."""
    records: list[tuple[str, OcppCallReceived | SessionDecided]] = [
        (topic_of(each), each) for each in station.told
    ]
    records += [(DECISIONS, each) for each in station.decided]
    return [
        (topic, Message(topic, 0, n, each.station_id, each, each.recorded_at))
        for n, (topic, each) in enumerate(records)
    ]


def as_written(rig: Rig, name: str) -> list[tuple[str, Message]]:
    """The log of a station with the places that its records have got."""
    of_calls = [m for topic in INPUTS[:2] for m in rig.messages[topic] if m.key == name]
    of_calls.sort(key=lambda m: m.record.recorded_at if m.record else 0)
    return [(m.topic, m) for m in (*of_calls, *(m for m in rig.messages[DECISIONS] if m.key == name))]


def written(rig: Rig) -> dict[Key, list[Record]]:
    found: dict[Key, list[Record]] = defaultdict(list)
    for topic in OUTPUTS:
        for message in rig.messages[topic]:
            if message.key != PROBE and message.record is not None:
                found[topic, message.key].append(message.record)
    return found


async def publish(rig: Rig, stations: Iterable[Station]) -> None:
    everything = [each for station in stations for each in station.told]
    for each in sorted(everything, key=lambda each: each.recorded_at):
        await rig.publish(topic_of(each), each.station_id, each)


async def until_in_force(rig: Rig, begin: int, stage: int) -> None:
    """Until the processor charges by the version: sessions of a station that nobody looks at tell."""
    for n in range(1000):
        tx, at = 1000 * stage + n + 1, stage_at(begin, stage) + 2 * HOUR + n * SECOND
        for each in (start16(tx, at, 0), stop16(tx, at + 1, 0)):
            recorded_at = recorded_from(begin, stage) - 5 * SECOND + 2_000 * n
            record = msgspec.structs.replace(each, station_id=PROBE, recorded_at=recorded_at)
            await rig.publish("ocpp.transactions", PROBE, record)

        def charged(tx: int = tx) -> list[CdrIssued]:
            return [
                c
                for c in rig.records("billing.cdrs", CdrIssued)
                if (c.station_id, c.transaction_id) == (PROBE, str(tx))
            ]

        await rig.until(charged, "the probe is charged")
        if charged()[0].tariff_version == stage + 1:
            return
    raise AssertionError(f"version {stage + 1} is never in force")


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_killed_while_tariffs_change_and_operators_decide(
    rig: Rig, stack: Endpoints, namespace: str, seed: int
) -> None:
    random, begin = Random(seed), now_us()
    versions = [version_of(begin, stage) for stage in range(STAGES)]
    stages = [stations_of(random, begin, stage) for stage in range(STAGES)]
    stations = {name: station for stage in stages for name, station in stage.items()}
    tables = tables_of(tuple(versions), ZONE)
    template = tables["registry.stations"].pop(STATION)
    assert isinstance(template, StationRegistered)
    for name in (*stations, PROBE):
        tables["registry.stations"][name] = msgspec.structs.replace(template, station_id=name)
    before: dict[Key, int] = {}
    wanted: dict[Key, int] = {}
    for n, (name, station) in enumerate(stations.items()):
        out = folded(name, anywhere(station), tables)
        before |= {key: len(records) for key, records in out.items()}
        station.decided = decisions_about(
            random,
            name,
            out["billing.cdrs", name],
            recorded_from(begin, n // STATIONS) + 10 * SECOND + n % STATIONS * SECOND // 4,
        )
        out = folded(name, anywhere(station), tables)
        wanted |= {key: len(records) for key, records in out.items()}
    assert sum(len(station.decided) for station in stations.values()) > STAGES

    rig.follow(*INPUTS, *OUTPUTS, *REGISTRY)
    for topic, table in tables.items():
        for key, record in table.items():
            first = record
            if isinstance(record, TariffRegistered):
                first = msgspec.structs.replace(record, versions=record.versions[:1])
            await rig.publish(topic, key, first)

    def progress() -> int:
        return sum(len(rig.messages[topic]) for topic in OUTPUTS)

    with running("sessions", rig) as service:
        marks = random.sample(range(sum(wanted.values())), KILLS)
        killer = asyncio.create_task(kill_repeatedly(rig, service, marks, progress))
        for number, stage in enumerate(stages):
            if number:
                tariff = tables["registry.tariffs"]["flat"]
                assert isinstance(tariff, TariffRegistered)
                grown = msgspec.structs.replace(tariff, versions=tariff.versions[: number + 1])
                await rig.publish("registry.tariffs", "flat", grown)
                await until_in_force(rig, begin, number)
            await publish(rig, stage.values())
            mine = {key: n for key, n in before.items() if key[1] in stage}
            await rig.until(lambda mine=mine: arrived(rig, mine), f"records of stage {number}")  # type: ignore[misc]
            for name, station in stage.items():
                for each in station.decided:
                    await rig.publish(DECISIONS, name, each)
        await rig.until(lambda: arrived(rig, wanted), "every record")
        await killer
        await rig.ready(service)
    await rig.whole(*INPUTS, *OUTPUTS, *REGISTRY)

    found = written(rig)
    expected: dict[Key, list[Record]] = {}
    for name in stations:
        expected |= folded(name, as_written(rig, name), tables)
    assert found.keys() == expected.keys()
    for place, records in expected.items():
        assert found[place] == records, place
    used = {c.tariff_version for c in rig.records("billing.cdrs", CdrIssued) if c.station_id != PROBE}
    assert used == {version.version for version in versions}
    for name in stations:
        Books(found["billing.cdrs", name])
    await from_zero(rig, stack, namespace, found)


def arrived(rig: Rig, wanted: dict[Key, int]) -> bool:
    found = written(rig)
    return all(len(found[key]) >= n for key, n in wanted.items())


async def from_zero(rig: Rig, stack: Endpoints, namespace: str, found: dict[Key, list[Record]]) -> None:
    """The same log, read by a processor that knows nothing and all tariffs at once, gives the same bytes."""
    async with open_rig(stack, f"{namespace}r") as again:
        await copy_log(rig, again, *REGISTRY, *INPUTS)
        again.follow(*OUTPUTS)
        with running("sessions", again):
            await again.until(
                lambda: arrived(again, {key: len(records) for key, records in found.items()}), "all of it"
            )
        await again.whole(*OUTPUTS)
        repeated = written(again)
        assert repeated == found
        codec = again.bus.codec
        for place, records in found.items():
            bytes_before = [codec.encode(place[0], each) for each in records]
            assert bytes_before == [codec.encode(place[0], each) for each in repeated[place]]
