"""OCPP 2.0.1 and 2.1: TransactionEvents in any order become one session and one charge record."""

from itertools import permutations

import pytest

from libs.events.ocpp_log import OcppCallReceived
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, event2
from tests.unit.sessions.given import Told, kinds

TX = "3b0a9f0e-5f0b-4d52-9f2c-0a5a3c1d7e11"


def session() -> list[OcppCallReceived]:
    return [
        event2("Started", TX, 0, NOON, 1000, state="EVConnected"),
        event2("Updated", TX, 1, NOON + MINUTE, 1000, tag="TAG-A", state="Charging"),
        event2("Updated", TX, 2, NOON + 30 * MINUTE, 4000, state="Charging"),
        event2("Ended", TX, 3, NOON + HOUR, 7000, tag="TAG-GROUP", reason="EVDisconnected"),
    ]


@pytest.mark.parametrize("version", ["ocpp2.0.1", "ocpp2.1"])
def test_a_plain_session(version: str) -> None:
    events = [
        event2("Started", TX, 0, NOON, 1000, state="EVConnected", version=version),
        event2("Updated", TX, 1, NOON + MINUTE, 1000, tag="TAG-A", state="Charging", version=version),
        event2("Ended", TX, 2, NOON + HOUR, 7000, evse=None, reason="Remote", version=version),
    ]
    told = Told(events)
    assert kinds(told.records()) == [
        "SessionStarted",
        "SessionUpdated",
        "SessionUpdated",
        "SessionEnded",
        "CdrIssued",
    ]
    assert told.starts[0].version == version
    assert [(u.charging_state, u.id_token) for u in told.updates] == [
        ("EVConnected", None),
        ("Charging", "TAG-A"),
    ]
    end = told.ends[0]
    assert (end.energy_wh, end.id_token, end.reason, end.evse_id, end.review) == (
        6000,
        "TAG-A",
        "Remote",
        1,
        (),
    )


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_any_order_gives_the_same_session(order: tuple[int, ...]) -> None:
    events, truth = session(), Told(session())
    told = Told([events[n] for n in order])
    last, true = told.ends[-1], truth.ends[-1]
    assert told.starts[0].session_id == truth.starts[0].session_id
    assert (last.energy_wh, last.started_at, last.ended_at, last.meter_start_wh, last.meter_stop_wh) == (
        true.energy_wh,
        true.started_at,
        true.ended_at,
        true.meter_start_wh,
        true.meter_stop_wh,
    )
    assert (last.id_token, last.reason, last.review) == ("TAG-A", "EVDisconnected", ())
    assert told.cdrs[-1].amount_minor == truth.cdrs[-1].amount_minor
    assert told.tell(*events) == []


def test_an_end_before_queued_updates_is_not_reopened() -> None:
    events = session()
    told = Told([events[0], events[1], events[3]])
    assert kinds(told.records())[-2:] == ["SessionEnded", "CdrIssued"]
    assert told.tell(events[2]) == []


def test_steps_wait_for_their_start() -> None:
    events = session()
    told = Told([events[3], events[1]])
    assert told.records() == []
    assert kinds(told.tell(events[0])) == ["SessionStarted", "SessionEnded", "CdrIssued"]


def test_a_start_that_never_comes_is_given_up_and_corrected_by_a_late_one() -> None:
    events = session()
    told = Told([events[2], events[3]])
    assert kinds(told.tick(NOON + 2 * DAY)) == ["SessionStarted", "SessionEnded", "CdrIssued"]
    first = told.ends[0]
    assert (first.energy_wh, first.started_at) == (3000, NOON + 30 * MINUTE)
    assert first.review == ("no_meter_start", "no_start")
    late = event2("Started", TX, 0, NOON, 1000, recorded_at=NOON + 3 * DAY)
    assert kinds(told.tell(late)) == ["SessionCorrected", "CdrCredited", "CdrIssued"]
    last = told.ends[-1]
    assert last.session_id == first.session_id
    assert (last.energy_wh, last.started_at, last.review) == (6000, NOON, ())


def test_a_missing_start_register_is_replaced_by_the_first_sample() -> None:
    told = Told(
        [
            event2("Started", TX, 0, NOON),
            event2("Updated", TX, 1, NOON + MINUTE, 1010),
            event2("Ended", TX, 2, NOON + HOUR, 5000),
        ]
    )
    assert (told.ends[0].energy_wh, told.ends[0].review) == (3990, ("no_meter_start",))


def test_a_missing_stop_register_is_replaced_by_the_last_sample_until_more_comes() -> None:
    told = Told([event2("Started", TX, 0, NOON, 1000), event2("Updated", TX, 1, NOON + MINUTE, 1500)])
    told.tell(event2("Ended", TX, 3, NOON + HOUR))
    assert (told.ends[0].energy_wh, told.ends[0].review) == (500, ("no_meter_stop",))
    told.tell(event2("Updated", TX, 2, NOON + 2 * MINUTE, 1800))
    assert [(c.version, c.energy_wh) for c in told.cdrs] == [(1, 500), (2, 800)]


def test_a_session_without_any_register_is_reviewed() -> None:
    told = Told([event2("Started", TX, 0, NOON), event2("Ended", TX, 1, NOON + HOUR)])
    assert told.ends[0].energy_wh == 0
    assert "no_meter" in told.ends[0].review


def test_a_reused_transaction_id_is_another_session() -> None:
    told = Told([event2("Started", "1", 0, NOON, 0), event2("Ended", "1", 1, NOON + HOUR, 100)])
    told.tell(event2("Started", "1", 0, NOON + DAY, 100), event2("Updated", "1", 1, NOON + DAY + MINUTE, 150))
    told.tell(event2("Ended", "1", 2, NOON + DAY + HOUR, 400))
    assert [e.energy_wh for e in told.ends] == [100, 300]
    assert len({e.session_id for e in told.ends}) == 2


def test_evses_do_not_end_each_others_sessions() -> None:
    told = Told([event2("Started", "a", 0, NOON, 0, evse=1), event2("Started", "b", 0, NOON + 1, 0, evse=2)])
    assert told.ends == []
