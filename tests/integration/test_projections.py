"""Latest states on real Kafka, told by a process that is killed while it works, and told again from the log alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest

from libs.bus.admin import delete_topics, rewind
from libs.bus.message import Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.devstack import Endpoints
from libs.events.record import Record
from libs.events.topics import (
    BILLING_CDRS,
    BILLING_CDRS_LATEST,
    REGISTRY_STATIONS,
    SESSIONS_EVENTS,
    SESSIONS_LATEST,
    STATIONS_LATEST,
    TELEMETRY_HEALTH,
)
from services.projections.domain.sessions.processor import SessionsLatest
from services.projections.domain.stations.processor import StationsLatest
from tests.integration.bus import make_topics
from tests.integration.processor_rig import Rig, by_id, kill_repeatedly, open_rig, running
from tests.integration.service_process import ServiceProcess
from tests.unit.projections.given import Told, registered, state_changed

INPUTS = {
    "sessions-latest": [SESSIONS_EVENTS, BILLING_CDRS],
    "stations-latest": [TELEMETRY_HEALTH, REGISTRY_STATIONS],
}
OUTPUTS = (SESSIONS_LATEST, BILLING_CDRS_LATEST, STATIONS_LATEST)
STATION_COUNT = 20
REMOVED = "CP-0"

Log = list[tuple[str, str, Record | None]]


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        yield rig


def history(station_id: str, random: Random) -> Log:
    """What the log says of a station, in its order."""
    log: Log = [(REGISTRY_STATIONS, station_id, registered(0, station_id))]
    log.append((TELEMETRY_HEALTH, station_id, state_changed(1, station_id=station_id)))
    for number in range(random.randint(1, 4)):
        told, at = Told(f"{station_id}/{number}", station_id), 10_000 * number
        log.append((SESSIONS_EVENTS, station_id, told.started(at)))
        log += [
            (SESSIONS_EVENTS, station_id, told.updated(at + n, n * 100))
            for n in range(1, random.randint(2, 9))
        ]
        if random.random() < 0.2:
            continue
        log += [
            (SESSIONS_EVENTS, station_id, told.ended(at + 20, 900)),
            (BILLING_CDRS, station_id, told.issued(at + 20, 900)),
        ]
        if random.random() < 0.5:
            log.append((SESSIONS_EVENTS, station_id, told.corrected(at + 30, 950, 2)))
            log.append((BILLING_CDRS, station_id, told.credited(at + 30, 900)))
            log.append((BILLING_CDRS, station_id, told.issued(at + 30, 950, 2)))
    log.append((TELEMETRY_HEALTH, station_id, state_changed(50_000, connected=False, station_id=station_id)))
    if station_id == REMOVED:
        log.append((REGISTRY_STATIONS, station_id, None))
    return log


def expected(log: Log) -> dict[str, dict[str, Record | None]]:
    """The latest by topic and key, as told in memory."""
    sessions, stations = MemoryRuntime(SessionsLatest()), MemoryRuntime(StationsLatest())
    for offset, (topic, key, record) in enumerate(log):
        runtime = sessions if topic in (SESSIONS_EVENTS, BILLING_CDRS) else stations
        at = 0 if record is None else record.recorded_at
        runtime.handle(Message(topic, 0, offset, key, record, at))
    assert not sessions.dead
    assert not stations.dead
    found: dict[str, dict[str, Record | None]] = {topic: {} for topic in OUTPUTS}
    for emit in (*sessions.emitted, *stations.emitted):
        found[emit.topic][emit.key] = emit.record
    return found


def latest(rig: Rig) -> dict[str, dict[str, Record | None]]:
    """What is left of each topic once it is compacted."""
    return {topic: {m.key: m.record for m in rig.messages[topic]} for topic in OUTPUTS}


async def publish(rig: Rig, log: Log) -> None:
    for topic, key, record in log:
        await rig.publish(topic, key, record)


@pytest.mark.chaos
async def test_killed_again_and_again_it_tells_what_memory_tells(rig: Rig) -> None:
    random = Random(1)
    histories = [history(f"CP-{n}", random) for n in range(STATION_COUNT)]
    wanted = expected([entry for each in histories for entry in each])
    rig.follow(*OUTPUTS, SESSIONS_EVENTS)
    service = ServiceProcess("projections", rig.bus.settings)
    service.start()
    try:
        await rig.ready(service)
        for n in range(2):
            half = histories[n * STATION_COUNT // 2 : (n + 1) * STATION_COUNT // 2]
            have = len(rig.messages[SESSIONS_LATEST])
            await publish(rig, [entry for each in half for entry in each])
            await kill_repeatedly(rig, service, [have + 5], lambda: len(rig.messages[SESSIONS_LATEST]))
        await rig.until(lambda: latest(rig) == wanted, "the latest of everything")
        await rig.ready(service)
    finally:
        assert service.stop() == 0
    await rig.whole(*OUTPUTS, SESSIONS_EVENTS)
    for topic in OUTPUTS:
        assert by_id(rig.messages[topic])
    assert wanted[STATIONS_LATEST][REMOVED] is None
    # A station's sessions are all in the station's partition, whatever their keys.
    partition = {m.key: m.partition for m in rig.messages[SESSIONS_EVENTS]}
    assert all(
        m.partition == partition[m.record.station_id]
        for m in rig.messages[SESSIONS_LATEST]
        if m.record is not None and hasattr(m.record, "station_id")
    )
    assert len({m.partition for m in rig.messages[SESSIONS_LATEST]}) > 1


async def test_thrown_away_it_tells_the_same_from_the_log(rig: Rig) -> None:
    """As when it comes to a platform that has run for long."""
    log = [entry for n in range(6) for entry in history(f"CP-{n + 1}", Random(n))]
    await publish(rig, log)
    wanted = expected(log)
    rig.follow(*OUTPUTS)
    with running("projections", rig):
        await rig.until(lambda: latest(rig) == wanted, "the latest of everything")
    settings = rig.bus.settings
    await delete_topics(settings, [f"state.{name}" for name in INPUTS])
    await make_topics(settings)
    for name, topics in INPUTS.items():
        await rewind(settings, name, topics)
    have = {topic: len(rig.messages[topic]) for topic in OUTPUTS}
    with running("projections", rig):
        await rig.until(
            lambda: all(len(rig.messages[topic]) == 2 * count for topic, count in have.items()),
            "everything is told again",
        )
    await rig.whole(*OUTPUTS)
    assert latest(rig) == wanted
