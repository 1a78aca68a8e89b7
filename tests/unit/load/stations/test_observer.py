"""What a station's sessions and measurements tell its site."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from libs.bus.message import Emit, Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.ids import derive_id
from libs.events.load import EvseObserved
from libs.events.record import Record
from libs.events.registry import Assignment, StationRegistered
from libs.events.sessions import (
    SessionCorrected,
    SessionEnded,
    SessionReopened,
    SessionStarted,
    SessionUpdated,
)
from libs.events.telemetry import MeasurementsTaken, Sample
from services.load.domain.stations.processor import LoadObserver, measured_current
from services.load.domain.stations.station import Station
from tests.unit.load.records import STATION, at, envelope


def started(
    transaction: str, seconds: float, evse_id: int = 1, site_id: str | None = "depot"
) -> SessionStarted:
    return SessionStarted(
        **envelope(f"start-{transaction}", seconds),
        session_id=f"session-{transaction}",
        evse_id=evse_id,
        transaction_id=transaction,
        site_id=site_id,
        version="ocpp1.6",
        started_at=at(seconds),
    )


def ended(transaction: str, seconds: float, evse_id: int = 1) -> SessionEnded:
    return SessionEnded(
        **envelope(f"end-{transaction}", seconds),
        session_id=f"session-{transaction}",
        evse_id=evse_id,
        transaction_id=transaction,
        site_id="depot",
        started_at=at(0),
        ended_at=at(seconds),
        energy_wh=1000,
    )


def reopened(seconds: float) -> SessionReopened:
    return SessionReopened(
        **envelope("again", seconds),
        session_id="session-t1",
        evse_id=1,
        transaction_id="t1",
        site_id="depot",
        started_at=at(0),
        energy_wh=900,
        revision=1,
    )


def current(value_ma: int, seconds: float = 0, phase: str | None = None, **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "sampled_at": at(seconds),
        "measurand": "Current.Import",
        "phase": phase,
        "value_milli": value_ma,
        "unit": "A",
    }
    return Sample(**{**fields, **changes})


def measured(
    value_ma: int, seconds: float, transaction: str | None = "t1", evse_id: int = 1
) -> MeasurementsTaken:
    return MeasurementsTaken(
        **envelope(f"measured-{transaction}-{seconds}", seconds),
        evse_id=evse_id,
        transaction_id=transaction,
        samples=(current(value_ma, seconds, "L1"), current(value_ma - 100, seconds, "L2")),
    )


def registered(*sites: tuple[str, float], **changes: Any) -> StationRegistered:
    assignments = tuple(Assignment(id=site, valid_from=at(since)) for site, since in sites)
    return StationRegistered(**envelope("registered", 0), sites=assignments, **changes)


class Observer:
    def __init__(self, *given: Record, station: StationRegistered | None = None) -> None:
        known: dict[str, Record] = {STATION: station} if station is not None else {}
        self.runtime: MemoryRuntime[Station] = MemoryRuntime(LoadObserver(), {"registry.stations": known})
        for record in given:
            self.feed(record)

    def feed(self, record: Record) -> list[Emit]:
        topic = "telemetry.measurements" if isinstance(record, MeasurementsTaken) else "sessions.events"
        out = self.runtime.feed(topic, STATION, record)
        assert self.runtime.dead == []
        return out

    def observe(self, record: Record) -> EvseObserved:
        (emit,) = [emit for emit in self.feed(record) if emit.topic != "load.stations"]
        assert isinstance(emit.record, EvseObserved)
        assert (emit.topic, emit.key) == ("load.observations", emit.record.site_id)
        return emit.record


def test_a_start_is_told_to_its_site() -> None:
    observer = Observer(station=registered(max_current_ma=16000, phases=1))
    assert observer.observe(started("t1", 10)) == EvseObserved(
        event_id=derive_id("start-t1", "observed:1"),
        occurred_at=at(10),
        recorded_at=at(10),
        cause_id="start-t1",
        site_id="depot",
        station_id=STATION,
        evse_id=1,
        transaction_id="t1",
        charging=True,
        current_ma=None,
        max_current_ma=16000,
        phases=1,
    )


def test_the_site_is_that_of_the_start_even_if_the_station_moves() -> None:
    observer = Observer(station=registered(("old", 0), ("new", 100)))
    assert observer.observe(started("t1", 50, site_id=None)).site_id == "old"
    assert observer.observe(measured(16000, 150)).site_id == "old"
    assert observer.observe(ended("t1", 200)).site_id == "old"
    assert observer.observe(started("t2", 300, site_id=None)).site_id == "new"


def test_without_a_site_nothing_is_told() -> None:
    observer = Observer()
    assert observer.feed(started("t1", 10, site_id=None)) == []
    assert observer.feed(measured(9000, 20)) == []
    assert observer.feed(ended("t1", 30)) == []


def test_only_changes_beyond_the_deadband_are_told() -> None:
    observer = Observer(started("t1", 0))
    assert observer.observe(measured(16000, 10)).current_ma == 16000
    assert observer.feed(measured(16700, 20)) == []
    assert observer.feed(measured(15300, 30)) == []
    assert observer.observe(measured(16900, 40)).current_ma == 16900
    assert observer.observe(measured(0, 50)).current_ma == 0
    assert observer.feed(measured(500, 60)) == []
    assert observer.observe(measured(501, 70)).current_ma == 501


def test_a_current_that_does_not_change_is_told_once_a_minute() -> None:
    observer = Observer(started("t1", 0), measured(32000, 10))
    told = [seconds for seconds in range(20, 140, 10) if observer.feed(measured(32000, seconds))]
    assert told == [70, 130]


def test_an_end_is_told_once() -> None:
    observer = Observer(started("t1", 0), measured(16000, 10))
    over = observer.observe(ended("t1", 20))
    assert (over.charging, over.transaction_id, over.current_ma) == (False, "t1", 0)
    assert observer.feed(ended("t1", 20)) == []
    assert observer.feed(started("t1", 0)) == []
    assert observer.feed(measured(16000, 15)) == []
    assert observer.feed(measured(16000, 15, transaction=None)) == []


def test_late_news_of_an_older_session_does_not_replace_the_running_one() -> None:
    observer = Observer(
        started("t1", 0), ended("t1", 10), started("t2", 20), ended("t2", 30), started("t3", 40)
    )
    assert observer.feed(started("t1", 0)) == []
    assert observer.feed(ended("t1", 10)) == []
    assert observer.observe(measured(9000, 50, transaction="t3")).transaction_id == "t3"


def test_a_measurement_that_overtakes_its_start_is_kept() -> None:
    observer = Observer()
    assert observer.feed(measured(14000, 0)) == []
    assert observer.feed(measured(14000, 0)) == []
    assert observer.observe(started("t1", 0)).current_ma == 14000


def test_a_measurement_of_another_transaction_waits_for_its_own_start() -> None:
    observer = Observer()
    observer.feed(measured(14000, 0, transaction="t2"))
    assert observer.observe(started("t1", 0)).current_ma is None
    observer.feed(ended("t1", 10))
    assert observer.observe(started("t2", 20)).current_ma == 14000


def test_a_measurement_that_overtook_its_start_counts_for_that_start_alone() -> None:
    observer = Observer()
    observer.feed(measured(14000, 0))
    observer.feed(started("t1", 0))
    observer.feed(ended("t1", 10))
    restarted = msgspec.structs.replace(started("t1", 20), event_id="start-again", session_id="another")
    assert observer.observe(restarted).current_ma is None


def test_a_measurement_of_a_transaction_that_is_over_leaves_nothing_behind() -> None:
    observer = Observer(started("t1", 0), ended("t1", 10))
    observer.feed(measured(14000, 12))
    assert observer.observe(reopened(20)).current_ma is None


def test_a_measurement_of_nobody_knows_which_evse_and_transaction_is_not_kept() -> None:
    observer = Observer(measured(14000, 0, transaction="t9", evse_id=0))
    assert observer.runtime.state_of(STATION) is None


def test_a_measurement_that_waits_and_is_told_again_is_not_stored_again() -> None:
    observer = Observer(measured(14000, 0))
    state = observer.runtime.state_of(STATION)
    again = Message("telemetry.measurements", 0, 1, STATION, measured(14000, 5), at(5))
    assert observer.runtime.processor.step(state, again, observer.runtime.tables).state is state


def test_evses_are_told_apart() -> None:
    observer = Observer(started("a", 0, evse_id=1), started("b", 1, evse_id=2))
    assert observer.observe(measured(8000, 5, transaction="b", evse_id=2)).evse_id == 2
    assert observer.observe(measured(7000, 6, transaction=None, evse_id=1)).transaction_id == "a"
    # 1.6: transactionData of a StopTransaction names no connector.
    assert observer.observe(measured(9000, 7, transaction="b", evse_id=0)).evse_id == 2
    assert observer.feed(measured(9000, 8, transaction=None, evse_id=0)) == []


def test_other_session_events_are_passed_over() -> None:
    updated = SessionUpdated(**envelope("u", 0), session_id="s", evse_id=1, transaction_id="t", energy_wh=1)
    assert Observer().feed(updated) == []


def test_the_highest_phase_of_the_newest_sample_counts() -> None:
    samples = (
        current(30000, 0, "L1"),
        current(10000, 5, "L1"),
        current(12000, 5, "L2"),
        current(99000, 5, "N"),
        current(50000, 5, "L3", location="Inlet"),
    )
    assert measured_current(samples, 3) == 12000


@pytest.mark.parametrize("location", ["Body", "Inlet", "Cable", "EV", "Upstream", "Somewhere"])
def test_a_current_measured_elsewhere_counts_where_there_is_no_other(location: str) -> None:
    elsewhere = current(12000, 5, "L1", location=location)
    assert measured_current((elsewhere,), 3) == 12000
    for outlet in (None, "Outlet"):
        at_outlet = current(10000, 0, "L1", location=outlet)
        assert measured_current((elsewhere, at_outlet), 3) == 10000
    power = current(11_040_000, 0, None, measurand="Power.Active.Import", unit="W", location=location)
    assert measured_current((power,), 3) == 16000


def test_what_is_measured_within_the_charger_goes_before_what_comes_into_it() -> None:
    samples = [current(each, 0, "L1", location=where) for each, where in ((30000, "Inlet"), (9000, "Body"))]
    assert measured_current(tuple(samples), 3) == 9000


def test_power_serves_where_there_is_no_current() -> None:
    power = current(11_040_000, 0, None, measurand="Power.Active.Import", unit="W")
    phase = current(3_680_000, 0, "L1", measurand="Power.Active.Import", unit="W")
    assert measured_current((power,), 3) == 16000
    assert measured_current((power,), 1) == 48000
    assert measured_current((phase,), 3) == 16000
    assert measured_current((), 3) is None


def test_what_goes_on_after_a_rule_closed_it_charges_again() -> None:
    observer = Observer(started("t1", 0), ended("t1", 700))
    seen = observer.observe(reopened(800))
    assert (seen.charging, seen.transaction_id, seen.reopened) == (True, "t1", True)
    assert observer.observe(measured(9000, 810)).current_ma == 9000
    last = SessionCorrected(
        **envelope("over", 900),
        session_id="session-t1",
        evse_id=1,
        transaction_id="t1",
        site_id="depot",
        started_at=at(0),
        ended_at=at(900),
        energy_wh=1200,
        version=2,
    )
    assert not observer.observe(last).charging
    assert observer.feed(last) == []
