"""Station state whenever it changes, and counts per window."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.ocpp_log import ConnectionRefused, FrameRejected
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.events.telemetry import HealthWindowClosed, StationStateChanged
from libs.events.topics import OCPP_LIFECYCLE, OCPP_REJECTED, REGISTRY_STATIONS
from services.telemetry.domain.health.processor import HealthProcessor
from services.telemetry.domain.health.station import GRACE, MOST_CONNECTORS, WINDOW, StationHealth
from tests.unit.sessions.exchanges import MINUTE, NOON, SECOND, STATION, exchange
from tests.unit.telemetry.lifecycle import boot, closed, envelope, heartbeat, opened, rejected, status


class Told:
    def __init__(self, *records: Record) -> None:
        self.runtime = MemoryRuntime(HealthProcessor())
        self.tell(*records)

    def tell(self, *records: Record) -> list[Record]:
        before = len(self.runtime.emitted)
        for record in records:
            topic = OCPP_REJECTED if isinstance(record, FrameRejected | ConnectionRefused) else OCPP_LIFECYCLE
            self.runtime.feed(topic, STATION, record)
        assert not self.runtime.dead, self.runtime.dead
        return [emit.record for emit in self.runtime.emitted[before:] if emit.record is not None]

    def tick(self, at: int) -> list[Record]:
        return [emit.record for emit in self.runtime.tick(at) if emit.record is not None]

    @property
    def states(self) -> list[StationStateChanged]:
        return [e.record for e in self.runtime.emitted if isinstance(e.record, StationStateChanged)]

    @property
    def windows(self) -> list[HealthWindowClosed]:
        return [e.record for e in self.runtime.emitted if isinstance(e.record, HealthWindowClosed)]

    @property
    def state(self) -> StationHealth | None:
        return self.runtime.state_of(STATION)


def test_what_a_station_says_of_itself() -> None:
    told = Told(opened(1, NOON), boot(NOON + 1), status(1, "Available", NOON + 2), heartbeat(NOON + 3))
    assert len(told.states) == 3
    last = told.states[-1]
    assert (last.connected, last.version, last.vendor, last.model) == (True, "ocpp1.6", "Acme", "One")
    assert (last.serial, last.firmware_version, last.last_boot_at) == ("S-1", "1.0", NOON + 1)
    assert [(c.connector_id, c.status, c.error_code, c.since) for c in last.connectors] == [
        (1, "Available", "NoError", NOON + 2)
    ]


def test_what_a_boot_does_not_say_is_empty() -> None:
    payload = {"chargePointVendor": "Acme", "chargePointModel": "One"}
    told = Told(exchange("BootNotification", payload, at=NOON, recorded_at=NOON))
    assert (told.states[-1].serial, told.states[-1].firmware_version) == ("", "")


def test_a_status_without_a_zone_has_that_of_the_station() -> None:
    told = Told()
    told.runtime.tables[REGISTRY_STATIONS][STATION] = StationRegistered(
        **envelope("registered", NOON), timezone="Europe/Berlin"
    )
    payload = {
        "connectorId": 1,
        "status": "Charging",
        "errorCode": "NoError",
        "timestamp": "2026-11-22T12:59:00",
    }
    told.tell(exchange("StatusNotification", payload, at=NOON, recorded_at=NOON))
    assert [c.since for c in told.states[-1].connectors] == [NOON - MINUTE]


def test_moments_alone_are_no_change() -> None:
    told = Told(opened(1, NOON), boot(NOON + 1), status(1, "Available", NOON + 2))
    assert (
        told.tell(boot(NOON + MINUTE), status(1, "Available", NOON + MINUTE), heartbeat(NOON + MINUTE)) == []
    )
    (changed,) = told.tell(boot(NOON + 2 * MINUTE, firmware="1.1"))
    assert isinstance(changed, StationStateChanged)
    assert changed.firmware_version == "1.1"
    assert changed.connectors[0].since == NOON + 2


def test_the_end_of_a_displaced_connection_leaves_the_station_connected() -> None:
    told = Told(opened(1, NOON), opened(2, NOON + 1, "ocpp2.0.1"))
    assert told.tell(closed(1, NOON + 2)) == []
    assert told.states[-1].connected
    (changed,) = told.tell(closed(2, NOON + 3))
    assert isinstance(changed, StationStateChanged)
    assert (changed.connected, changed.version) == (False, "ocpp2.0.1")


def test_an_opening_told_again_does_not_reconnect() -> None:
    told = Told(opened(1, NOON), closed(1, NOON + 1))
    assert told.tell(opened(1, NOON)) == []
    assert told.state is not None
    assert not told.state.connected


def test_a_call_of_a_connection_that_is_over_does_not_reconnect() -> None:
    told = Told(opened(1, NOON), closed(1, NOON + 1))
    assert told.tell(heartbeat(NOON + 2)) == []
    assert told.state is not None
    assert not told.state.connected


def test_another_error_is_news_although_the_status_stays() -> None:
    told = Told(opened(1, NOON), status(1, "Faulted", NOON + 1, error="GroundFailure"))
    told.tell(status(1, "Faulted", NOON + 2, error="OverVoltage"))
    assert [(c.error_code, c.since) for c in told.states[-1].connectors] == [("OverVoltage", NOON + 2)]


def test_an_opening_that_is_told_after_its_end_does_not_reconnect() -> None:
    told = Told(opened(1, NOON), closed(2, NOON + 2))
    assert told.tell(opened(2, NOON + 1)) == []
    assert told.state is not None
    assert not told.state.connected


def test_a_status_from_a_displaced_connection_does_not_undo_a_newer_one() -> None:
    told = Told(opened(1, NOON), opened(2, NOON + 1), status(1, "Charging", NOON + 10, epoch=2))
    assert told.tell(status(1, "Available", NOON + 5, epoch=1)) == []


def status_of(told: Told) -> str:
    return told.states[-1].connectors[0].status


def test_an_older_status_of_the_same_connection_does_not_undo_a_newer_one() -> None:
    told = Told(opened(1, NOON), status(1, "Available", NOON + 100 * SECOND))
    assert told.tell(status(1, "Charging", NOON + 40 * SECOND, recorded_at=NOON + 101 * SECOND)) == []
    # Nor one that is older than the last time that the newer was told.
    told.tell(status(1, "Available", NOON + 200 * SECOND))
    assert told.tell(status(1, "Charging", NOON + 150 * SECOND, recorded_at=NOON + 201 * SECOND)) == []
    assert status_of(told) == "Available"


def test_of_two_statuses_of_one_moment_the_later_in_the_log_counts() -> None:
    told = Told(opened(1, NOON), status(1, "Available", NOON), status(1, "Preparing", NOON))
    assert status_of(told) == "Preparing"


@pytest.mark.parametrize("ahead", [MINUTE, 365 * 24 * 60 * MINUTE])
def test_a_clock_that_was_ahead_freezes_no_status(ahead: int) -> None:
    told = Told(opened(1, NOON), status(1, "Available", NOON + ahead, recorded_at=NOON))
    assert [c.since for c in told.states[-1].connectors] == [NOON]
    told.tell(status(1, "Charging", NOON + SECOND))
    assert status_of(told) == "Charging"


def test_a_clock_that_goes_back_freezes_no_status_beyond_a_new_connection() -> None:
    told = Told(opened(1, NOON), status(1, "Available", NOON))
    told.tell(opened(2, NOON + SECOND))
    told.tell(status(1, "Charging", NOON - 60 * MINUTE, epoch=2, recorded_at=NOON + 2 * SECOND))
    assert status_of(told) == "Charging"


def test_a_clock_that_goes_back_freezes_no_status_for_longer_than_an_hour() -> None:
    told = Told(opened(1, NOON), status(1, "Available", NOON))
    back = NOON - 24 * 60 * MINUTE
    told.tell(status(1, "Charging", back + MINUTE, recorded_at=NOON + MINUTE))
    assert status_of(told) == "Available"
    told.tell(status(1, "Charging", back + 60 * MINUTE, recorded_at=NOON + 60 * MINUTE))
    assert status_of(told) == "Charging"


def test_a_boot_over_a_displaced_connection_does_not_undo_a_newer_one() -> None:
    told = Told(opened(1, NOON), opened(2, NOON + 1), boot(NOON + 2, epoch=2, firmware="2.0"))
    assert told.tell(boot(NOON + 3, epoch=1, firmware="1.0")) == []
    assert told.states[-1].firmware_version == "2.0"


def test_a_fault_that_is_told_five_times_counts_once() -> None:
    faulted = [status(1, "Faulted", NOON + n * SECOND, error="GroundFailure") for n in range(5)]
    told = Told(opened(1, NOON), *faulted)
    told.tell(status(1, "Available", NOON + 6 * SECOND))
    told.tell(status(1, "Faulted", NOON + 7 * SECOND, error="GroundFailure"))
    told.tick(NOON + WINDOW + GRACE)
    assert told.windows[0].faults == 2


def test_connectors_of_2x_and_faults() -> None:
    payload = {
        "timestamp": "2026-11-22T12:00:00Z",
        "connectorStatus": "Faulted",
        "evseId": 2,
        "connectorId": 1,
    }
    record = exchange("StatusNotification", payload, at=NOON, recorded_at=NOON, version="ocpp2.0.1")
    told = Told(record, status(1, "Faulted", NOON + 1, error="GroundFailure"))
    assert [(c.evse_id, c.connector_id, c.status, c.error_code) for c in told.states[-1].connectors] == [
        (1, 1, "Faulted", "GroundFailure"),
        (2, 1, "Faulted", "NoError"),
    ]
    told.tick(NOON + WINDOW + GRACE)
    assert told.windows[0].faults == 2


def test_a_window_counts_what_was_recorded_in_it() -> None:
    start = NOON - NOON % WINDOW
    told = Told(
        opened(1, start),
        boot(start + 1),
        heartbeat(start + 2),
        heartbeat(start + 3, quirks=("unlisted_value",)),
        rejected(1, start + 4),
        closed(1, start + 5),
    )
    assert told.tick(start + WINDOW + GRACE - 1) == []
    (window,) = told.tick(start + WINDOW + GRACE)
    assert isinstance(window, HealthWindowClosed)
    assert (window.window_start, window.window_end) == (start, start + WINDOW)
    assert (window.calls, window.boots, window.disconnects, window.quirks, window.rejected) == (3, 1, 1, 1, 1)
    assert window.recorded_at == start + WINDOW
    assert told.tick(start + 10 * WINDOW) == []


def test_the_next_event_closes_a_window_too() -> None:
    told = Told(heartbeat(NOON), heartbeat(NOON + WINDOW + GRACE + SECOND))
    assert [w.calls for w in told.windows] == [1]


def test_what_comes_after_its_window_counts_in_the_next() -> None:
    told = Told(heartbeat(NOON), heartbeat(NOON + 2 * WINDOW))
    told.tell(rejected(1, NOON + 1))
    told.tick(NOON + 10 * WINDOW)
    assert [(w.calls, w.rejected) for w in told.windows] == [(1, 0), (0, 1), (1, 0)]
    assert len({w.event_id for w in told.windows}) == 3


def test_what_comes_after_two_windows_were_closed_at_once_counts_in_neither() -> None:
    told = Told(heartbeat(NOON), heartbeat(NOON + WINDOW))
    told.tick(NOON + 10 * WINDOW)
    told.tell(rejected(1, NOON + WINDOW + 1))
    told.tick(NOON + 20 * WINDOW)
    assert [(w.calls, w.rejected) for w in told.windows] == [(1, 0), (1, 0), (0, 1)]
    assert len({w.event_id for w in told.windows}) == 3


def test_refused_handshakes_leave_no_state() -> None:
    refused = ConnectionRefused(
        **envelope("r", NOON),
        edge_id="edge-0",
        remote_address="127.0.0.1",
        reason="unknown",
        http_status=404,
        count=3,
        first_at=NOON,
    )
    told = Told(refused)
    assert told.state is None


def test_connectors_are_bounded() -> None:
    told = Told(*(status(n, "Available", NOON + n) for n in range(1, 200)))
    assert len(told.states[-1].connectors) == MOST_CONNECTORS
    told.tell(status(MOST_CONNECTORS, "Charging", NOON + SECOND))
    assert told.states[-1].connectors[-1].status == "Charging", "those that are known still are"


def availability(evse_id: int, word: str, connector_id: int = 1) -> dict[str, Any]:
    return {
        "eventId": 1,
        "timestamp": "2026-11-22T12:00:00Z",
        "trigger": "Delta",
        "actualValue": word,
        "eventNotificationType": "HardWiredNotification",
        "component": {"name": "Connector", "evse": {"id": evse_id, "connectorId": connector_id}},
        "variable": {"name": "AvailabilityState"},
    }


def test_of_several_connectors_in_one_call_those_that_can_be_are_told_and_each_fault_counts() -> None:
    data = [
        availability(1, "Faulted"),
        availability(2**40, "Faulted"),
        availability(1, "Faulted", 2**40),
        availability(2, "Faulted"),
    ]
    payload = {"generatedAt": "2026-11-22T12:00:00Z", "seqNo": 0, "eventData": data}
    told = Told(exchange("NotifyEvent", payload, at=NOON, recorded_at=NOON, version="ocpp2.0.1"))
    assert [(c.evse_id, c.connector_id) for c in told.states[-1].connectors] == [(1, 1), (2, 1)]
    assert told.runtime.bounded == {"connectors": 1}
    told.tick(NOON + WINDOW + GRACE)
    assert told.windows[0].faults == 2


@pytest.mark.parametrize("repeats", [1, 5])
def test_a_suffix_handed_over_again_changes_nothing(repeats: int) -> None:
    records = [opened(1, NOON), boot(NOON + 1), status(1, "Available", NOON + 2), heartbeat(NOON + 3)]
    told = Told(*records)
    state = told.state
    for _ in range(repeats):
        assert told.tell(*records[1:]) == []
    assert told.state == state


@given(st.integers(0, 2**32))
def test_the_topics_may_interleave_in_any_way(seed: int) -> None:
    random = Random(seed)
    start = NOON - NOON % WINDOW
    lifecycle: list[Record] = [opened(1, start), boot(start + 1)]
    lifecycle += [
        status(1, word, start + 2 + n) for n, word in enumerate(("Available", "Preparing", "Faulted"))
    ]
    lifecycle += [closed(1, start + 20), opened(2, start + 21)]
    refused: list[Record] = [rejected(n, start + 5 * n) for n in range(6)]
    merged: list[Record] = []
    left, right = list(lifecycle), list(refused)
    while left or right:
        merged.append((left if not right or (left and random.random() < 0.5) else right).pop(0))
    one, other = Told(*merged), Told(*lifecycle, *refused)
    one.tick(start + 2 * WINDOW)
    other.tick(start + 2 * WINDOW)
    assert one.states == other.states
    assert one.windows == other.windows


@pytest.mark.parametrize("number", [2**31, 2**40, 2**63, -1])
def test_a_connector_number_that_no_station_has_is_none_of_its_connectors(number: int) -> None:
    told = Told(status(1, "Available", NOON))
    assert told.tell(status(number, "Available", NOON + 1)) == []
    assert told.state is not None
    assert [c.connector_id for c in told.state.connectors] == [1]
    assert told.runtime.bounded == {"connectors": 1}
