"""OCPP 1.6: StartTransaction, MeterValues and StopTransaction become one session and one charge record."""

from typing import Any

import msgspec
import orjson
import pytest

from libs.events.ocpp_log import CallError
from libs.events.sessions import SessionCorrected, SessionEnded
from services.sessions.domain.station import StationSessions
from tests.unit.sessions.exchanges import (
    DAY,
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    STATION,
    exchange,
    meter16,
    start16,
    stop16,
)
from tests.unit.sessions.given import Told, kinds, registry


def test_a_plain_session() -> None:
    told = Told(
        [
            start16(7, NOON, 1000),
            meter16(7, NOON + 10 * MINUTE, 3500),
            meter16(7, NOON + 20 * MINUTE, 6000),
            stop16(7, NOON + 30 * MINUTE, 8345),
        ]
    )
    assert kinds(told.records()) == [
        "SessionStarted",
        "SessionUpdated",
        "SessionUpdated",
        "SessionEnded",
        "CdrIssued",
    ]
    start, end, cdr = told.starts[0], told.ends[0], told.cdrs[0]
    assert (start.evse_id, start.id_token, start.site_id, start.meter_start_wh) == (
        1,
        "TAG-A",
        "site-1",
        1000,
    )
    assert (start.started_at, start.version, start.transaction_id) == (NOON, "ocpp1.6", "7")
    assert [u.energy_wh for u in told.updates] == [2500, 5000]
    assert (end.energy_wh, end.meter_stop_wh, end.reason, end.review) == (7345, 8345, "EVDisconnected", ())
    assert (end.started_at, end.ended_at) == (NOON, NOON + 30 * MINUTE)
    assert (cdr.energy_wh, cdr.version, cdr.tariff_id, cdr.currency) == (7345, 1, "flat", "EUR")
    assert cdr.amount_minor == 334  # 7.345 kWh at 45.5 cents: 334.1975
    assert cdr.lines[0].amount_minor == cdr.amount_minor
    assert len({r.session_id for r in [start, *told.updates, end, cdr]}) == 1
    assert (end.occurred_at, end.recorded_at) == (NOON + 30 * MINUTE, NOON + 30 * MINUTE + SECOND)


def test_a_retransmitted_message_changes_nothing() -> None:
    start, stop = start16(7, NOON, 1000), stop16(7, NOON + HOUR, 2000)
    told = Told([start, meter16(7, NOON + MINUTE, 1100)])
    again: dict[str, Any] = {"event": "again", "recorded_at": NOON + 2 * HOUR}
    assert told.tell(start16(7, NOON, 1000, **again)) == []
    assert told.tell(meter16(7, NOON + MINUTE, 1100, **again)) == []
    told.tell(stop)
    state = told.state
    assert told.tell(start, stop, stop16(7, NOON + HOUR, 2000, **again)) == []
    assert told.tell(meter16(7, NOON + MINUTE, 1100, **again)) == []
    assert told.state == state


def test_messages_of_no_interest_leave_no_state() -> None:
    told = Told([exchange("Authorize", {"idTag": "TAG-A"}, at=NOON), meter16(None, NOON, 5)])
    assert told.records() == []
    assert told.state is None


def test_two_connectors_charge_at_once() -> None:
    told = Told(
        [
            start16(1, NOON, 100, connector=1),
            start16(2, NOON + 1, 200, connector=2, tag="TAG-B"),
            stop16(1, NOON + HOUR, 1100),
            stop16(2, NOON + HOUR, 2200),
        ]
    )
    assert [(e.evse_id, e.energy_wh, e.id_token) for e in told.ends] == [
        (1, 1000, "TAG-A"),
        (2, 2000, "TAG-B"),
    ]


@pytest.mark.parametrize("tx", [0, -1, 2**63 - 1, None])
def test_a_stop_whose_id_means_nothing_ends_the_one_open_session(tx: int | None) -> None:
    told = Told([start16(7, NOON, 1000), stop16(tx, NOON + HOUR, 3000)])
    assert [(e.transaction_id, e.energy_wh, e.review) for e in told.ends] == [("7", 2000, ())]
    told.tell(start16(8, NOON + 2 * HOUR, 3000))
    assert told.tell(stop16(tx, NOON + HOUR, 3000, event="again")) == []


@pytest.mark.parametrize("tx", [0, -1, 2**63 - 1, None])
@pytest.mark.parametrize("early", [11 * MINUTE, 8 * 365 * DAY])
@pytest.mark.parametrize("sample", [None, 2000, 3040])
def test_a_stop_whose_id_and_clock_mean_nothing_ends_the_one_open_session_in_review(
    tx: int | None, early: int, sample: int | None
) -> None:
    told = Told([start16(7, NOON, 1000, recorded_at=NOON)])
    if sample is not None:
        told.tell(meter16(7, NOON + HOUR // 2, sample))
    stop = stop16(tx, NOON - early, 3000, recorded_at=NOON + HOUR)
    told.tell(stop)
    (ended,) = told.ends
    assert (ended.transaction_id, ended.energy_wh) == ("7", 2000)
    assert "clock_doubt" in ended.review
    assert told.state.open == ()  # type: ignore[union-attr]
    assert told.tell(stop16(tx, NOON - early, 3000, recorded_at=NOON + 2 * HOUR, event="again")) == []


@pytest.mark.parametrize(
    ("register", "of"), [(900, "what was before it"), (1000, "what was before it"), (2500, "a sample")]
)
def test_a_late_stop_of_what_was_before_it_does_not_end_a_session_under_way(register: int, of: str) -> None:
    """The register of the transaction before ends at most where the next one begins."""
    told = Told([start16(7, NOON, 1000)])
    if of == "a sample":
        told.tell(meter16(7, NOON + HOUR // 2, 3000))
    told.tell(stop16(-1, NOON - 11 * MINUTE, register, recorded_at=NOON + HOUR))
    assert told.ends == []
    told.tell(stop16(7, NOON + HOUR, 5000))
    assert [(e.transaction_id, e.energy_wh, e.review) for e in told.ends] == [("7", 4000, ())]


def test_of_several_sessions_the_token_says_which_one_a_stop_ends_whose_clock_is_wrong() -> None:
    told = Told([start16(1, NOON, 0, connector=1), start16(2, NOON, 0, connector=2, tag="TAG-B")])
    assert told.tell(stop16(-1, NOON - 2 * HOUR, 500, recorded_at=NOON + HOUR)) == []
    told.tell(stop16(-1, NOON - HOUR, 500, tag="TAG-B", recorded_at=NOON + HOUR))
    assert [(e.transaction_id, e.energy_wh, e.review) for e in told.ends] == [("2", 500, ("clock_doubt",))]


def test_a_stop_whose_id_means_nothing_finds_its_session_by_token() -> None:
    told = Told([start16(1, NOON, 0, connector=1), start16(2, NOON, 0, connector=2, tag="TAG-B")])
    told.tell(stop16(0, NOON + HOUR, 500, tag="TAG-B"))
    assert [(e.transaction_id, e.energy_wh) for e in told.ends] == [("2", 500)]


def test_a_stop_that_fits_several_sessions_is_kept_for_review() -> None:
    told = Told([start16(1, NOON, 0, connector=1), start16(2, NOON, 0, connector=2)])
    assert told.tell(stop16(0, NOON + HOUR, 500)) == []
    assert told.tell(stop16(0, NOON + HOUR, 500, event="again")) == []
    told.tick(NOON + 2 * DAY)
    assert [(e.transaction_id, e.energy_wh, e.review) for e in told.ends] == [
        ("0", 0, ("no_meter", "no_meter_start", "no_start"))
    ]


def test_a_stop_for_an_unknown_transaction_is_kept_and_comes_to_light() -> None:
    told = Told()
    assert told.tell(stop16(99, NOON, 5000)) == []
    assert kinds(told.tick(NOON + 2 * DAY)) == ["SessionStarted", "SessionEnded", "CdrIssued"]
    end, cdr = told.ends[0], told.cdrs[0]
    assert (end.energy_wh, end.review) == (0, ("no_meter", "no_meter_start", "no_start"))
    assert cdr.amount_minor == 0


def test_of_two_stops_the_first_counts() -> None:
    told = Told([start16(7, NOON, 1000), stop16(7, NOON + HOUR, 3000)])
    assert kinds(told.tell(stop16(7, NOON + 2 * HOUR, 9000))) == [
        "SessionCorrected",
        "CdrCredited",
        "CdrIssued",
    ]
    last = told.ends[-1]
    assert isinstance(last, SessionCorrected)
    assert (last.energy_wh, last.ended_at, last.review, last.version) == (
        2000,
        NOON + HOUR,
        ("stop_conflict",),
        2,
    )
    assert told.tell(stop16(7, NOON + 2 * HOUR, 9000, event="again")) == []


def test_a_meter_that_ran_backwards_never_bills() -> None:
    told = Told([start16(7, NOON, 5000), stop16(7, NOON + HOUR, 300)])
    # The 300 Wh may have been counted since a restart from zero, so they are in review.
    end = told.ends[0]
    assert (end.energy_wh, end.billed_wh, end.review_wh, end.review) == (300, 0, 300, ("meter_rollback",))
    assert told.cdrs[0].amount_minor == 0


@pytest.mark.parametrize("tx", [0, -1, 2**63 - 1])
def test_samples_without_a_real_id_are_of_the_session_on_their_connector(tx: int) -> None:
    told = Told([start16(7, NOON, 1000), start16(8, NOON, 500, connector=2, tag="TAG-B")])
    told.tell(meter16(tx, NOON + 10 * MINUTE, 4000), meter16(tx, NOON + 20 * MINUTE, 3500, connector=2))
    assert [(u.transaction_id, u.energy_wh) for u in told.updates] == [("7", 3000), ("8", 3000)]
    # Of a connector without a session, and from before the start, they are nobody's.
    told.tell(meter16(tx, NOON + 30 * MINUTE, 99, connector=3), meter16(tx, NOON - MINUTE, 99))
    assert len(told.updates) == 2


@pytest.mark.parametrize("tx", [0, -1])
def test_samples_of_the_main_meter_are_of_no_session(tx: int) -> None:
    told = Told([start16(7, NOON, 1000), meter16(tx, NOON + 10 * MINUTE, 820_000, connector=0)])
    assert not told.updates


def test_a_register_reset_in_mid_session_is_reviewed() -> None:
    told = Told([start16(7, NOON, 0), meter16(7, NOON + 30 * MINUTE, 9000), stop16(7, NOON + HOUR, 2000)])
    end = told.ends[0]
    assert (end.billed_wh, end.review_wh, end.review) == (2000, 7000, ("meter_rollback",))


def test_a_lifetime_register_taken_for_a_session_is_reviewed() -> None:
    told = Told([start16(7, NOON, 0), stop16(7, NOON + HOUR, 48_000_000)])
    end, cdr = told.ends[0], told.cdrs[0]
    assert end.review == ("implausible_energy",)
    assert (end.billed_wh, end.review_wh, cdr.billed_wh, cdr.amount_minor) == (0, 38_120, 0, 0)


def test_energy_given_back_is_counted_apart_and_signed_values_are_linked() -> None:
    sample = meter16(7, NOON + MINUTE, 1100)
    values = orjson.loads(sample.payload)
    values["meterValue"][0]["sampledValue"] += [
        {"value": "40", "measurand": "Energy.Active.Export.Register", "unit": "Wh"},
        {"value": "T0NNRg==", "format": "SignedData"},
    ]
    later = orjson.loads(sample.payload.replace("12:01:00", "12:02:00"))
    later["meterValue"][0]["sampledValue"].append(
        {"value": "0.09", "measurand": "Energy.Active.Export.Register", "unit": "kWh"}
    )
    first = exchange("MeterValues", values, at=NOON + MINUTE)
    told = Told([start16(7, NOON, 1000), first, exchange("MeterValues", later, at=NOON + 2 * MINUTE)])
    told.tell(stop16(7, NOON + HOUR, 3000))
    end = told.ends[0]
    assert (end.energy_wh, end.exported_wh, end.signed, end.review) == (2000, 50, (first.event_id,), ())


def test_a_session_without_stop_ends_with_the_next_on_its_connector() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + MINUTE, 700)])
    assert kinds(told.tell(start16(2, NOON + HOUR, 700))) == ["SessionEnded", "CdrIssued", "SessionStarted"]
    assert (told.ends[0].energy_wh, told.ends[0].ended_at, told.ends[0].review) == (
        700,
        NOON + MINUTE,
        ("no_stop",),
    )
    assert kinds(told.tell(stop16(1, NOON + 30 * MINUTE, 900))) == [
        "SessionCorrected",
        "CdrCredited",
        "CdrIssued",
    ]
    last = told.ends[-1]
    assert (last.energy_wh, last.ended_at, last.review) == (900, NOON + 30 * MINUTE, ())
    assert [(c.version, c.energy_wh) for c in told.cdrs] == [(1, 700), (2, 900)]
    assert len({c.cdr_id for c in told.cdrs}) == 1


def test_a_silent_session_is_closed_by_rule_and_forgotten_in_the_end() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + MINUTE, 700)])
    assert told.tick(NOON + 6 * DAY) == []
    assert kinds(told.tick(NOON + 8 * DAY)) == ["SessionEnded", "CdrIssued"]
    assert isinstance(told.ends[0], SessionEnded)
    assert told.ends[0].review == ("no_stop",)
    assert told.tick(NOON + 30 * DAY) == []
    # An operator may still decide about it.
    assert told.state is not None
    assert len(told.state.closed) == 1
    assert told.tick(NOON + 120 * DAY) == []
    # The chain of documents goes on with whatever session comes next.
    assert told.state == StationSessions(STATION, chain=told.cdrs[0].hash)


def test_a_start_with_an_unreadable_time_is_reviewed() -> None:
    told = Told([start16(7, NOON, 0, timestamp="1970-01-01T00:00:09Z")])
    told.tell(start16(7, NOON, 0, timestamp="1970-01-01T00:00:09Z", event="again", recorded_at=NOON + MINUTE))
    told.tell(stop16(7, NOON + HOUR, 10))
    assert len(told.starts) == 1
    assert told.ends[0].review == ("clock_doubt",)


def test_zoneless_times_are_read_in_the_stations_zone() -> None:
    told = Told([start16(7, NOON, 0, timestamp="2026-11-22T13:00:00")], registry(timezone="Europe/Berlin"))
    assert told.starts[0].started_at == NOON


def test_a_start_that_was_answered_with_an_error_is_no_session() -> None:
    refused = msgspec.structs.replace(
        start16(7, NOON, 0), answer=None, error=CallError(code="SecurityError", description="", details="{}")
    )
    assert Told([refused]).records() == []


def test_state_stays_bounded() -> None:
    told = Told()
    for n in range(1, 200):
        told.tell(start16(n, NOON + n * HOUR, 0), stop16(n, NOON + n * HOUR + 1, 1))
        told.tell(stop16(10_000 + n, NOON + n, 1, recorded_at=NOON + n * HOUR + 1))
    assert told.state is not None
    assert len(told.state.closed) <= 32
    assert len(told.state.open) <= 32
