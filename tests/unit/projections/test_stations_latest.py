"""What stations.latest tells, given what the log tells."""

from __future__ import annotations

from libs.bus.message import Emit, Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.contract import load_contract
from libs.events.latest import StationLatest
from libs.events.telemetry import HealthWindowClosed
from libs.events.topics import REGISTRY_STATIONS, STATIONS_LATEST, TELEMETRY_HEALTH
from libs.runtime.clock import SECOND
from services.projections.domain.stations.processor import Removed, StationsLatest
from tests.unit.projections.given import BEGUN, registered, state_changed


def runtime() -> MemoryRuntime[Removed]:
    return MemoryRuntime(StationsLatest())


def remove(given: MemoryRuntime[Removed], second: int) -> list[Emit]:
    return given.handle(Message(REGISTRY_STATIONS, 0, second, "CP-1", None, BEGUN + second * SECOND))


def test_every_change_is_told_whole() -> None:
    change = state_changed(1)
    (emit,) = runtime().feed(TELEMETRY_HEALTH, "CP-1", change)
    latest = emit.record
    assert isinstance(latest, StationLatest)
    assert (emit.topic, emit.key, emit.partition) == (STATIONS_LATEST, "CP-1", 0)
    assert (latest.cause_id, latest.recorded_at) == (change.event_id, change.recorded_at)
    assert (latest.connected, latest.model, latest.connectors) == (True, change.model, change.connectors)


def test_windows_of_health_are_passed_over() -> None:
    processor = StationsLatest()
    assert not processor.wants(TELEMETRY_HEALTH, HealthWindowClosed.__name__, None)


def test_a_station_that_is_removed_leaves_a_tombstone() -> None:
    given = runtime()
    given.feed(TELEMETRY_HEALTH, "CP-1", state_changed(1))
    assert remove(given, 2) == [Emit(STATIONS_LATEST, "CP-1", None, 0)]


def test_the_end_of_its_connection_does_not_bring_it_back() -> None:
    given = runtime()
    remove(given, 2)
    assert given.feed(TELEMETRY_HEALTH, "CP-1", state_changed(3, connected=False)) == [
        Emit(STATIONS_LATEST, "CP-1", None, 0)
    ]


def test_one_that_connects_nevertheless_is_told_of() -> None:
    given = runtime()
    remove(given, 2)
    (emit,) = given.feed(TELEMETRY_HEALTH, "CP-1", state_changed(3))
    assert emit.record is not None


def test_one_that_is_registered_again_is_as_any_other() -> None:
    given = runtime()
    remove(given, 2)
    assert given.feed(REGISTRY_STATIONS, "CP-1", registered(3)) == []
    assert given.state_of("CP-1") is None
    (emit,) = given.feed(TELEMETRY_HEALTH, "CP-1", state_changed(4, connected=False))
    assert emit.record is not None


def test_it_is_partitioned_like_what_it_is_told_from() -> None:
    topics = load_contract().topics
    assert topics[STATIONS_LATEST].latest_of == (TELEMETRY_HEALTH,)
    assert (
        len({topics[name].partitions for name in (STATIONS_LATEST, TELEMETRY_HEALTH, REGISTRY_STATIONS)}) == 1
    )
