"""What goes wrong with transactions, in each version in which it can: given such a history, then these sessions."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, event2, exchange, meter16, start16, stop16
from tests.unit.sessions.given import Told, kinds
from tests.unit.sessions.signs import VERSIONS, Charger, status16

CORRECTION = ["SessionCorrected", "CdrCredited", "CdrIssued"]
all_versions = pytest.mark.parametrize("version", VERSIONS)
version_2x = pytest.mark.parametrize("version", VERSIONS[1:])


def session(say: Charger) -> list:  # type: ignore[type-arg]
    return [
        say.start(7, NOON, 1000),
        say.update(7, NOON + 20 * MINUTE, 4000),
        say.update(7, NOON + 40 * MINUTE, 7000),
        say.end(7, NOON + HOUR, 9000),
    ]


@all_versions
def test_ended_comes_before_queued_updates(version: str) -> None:
    start, first, second, end = session(Charger(version))
    told = Told([start, end])
    assert kinds(told.records())[-2:] == ["SessionEnded", "CdrIssued"]
    assert told.tell(first, second) == []
    assert [(e.energy_wh, e.review) for e in told.ends] == [(8000, ())]


@all_versions
def test_the_messages_of_a_transaction_come_in_any_order(version: str) -> None:
    for order in permutations(session(Charger(version))):
        told = Told(order)
        last = told.ends[-1]
        assert (last.energy_wh, last.started_at, last.ended_at, last.review) == (8000, NOON, NOON + HOUR, ())
        assert sum(document.amount_minor for document in told.documents) == 364


@all_versions
def test_of_two_stops_the_first_counts_and_the_other_is_a_doubt(version: str) -> None:
    say = Charger(version)
    told = Told(session(say))
    assert kinds(told.tell(say.end(7, NOON + 2 * HOUR, 12_000))) == CORRECTION
    assert (told.ends[-1].energy_wh, told.ends[-1].review) == (8000, ("stop_conflict",))
    assert told.tell(say.end(7, NOON + 2 * HOUR, 12_000, event="again")) == []


@version_2x
def test_a_second_end_that_has_a_register_completes_one_that_has_none(version: str) -> None:
    told = Told([event2("Started", "a", 0, NOON, 1000, version=version)])
    told.tell(event2("Ended", "a", 1, NOON + HOUR, version=version))
    told.tell(event2("Ended", "a", 2, NOON + HOUR, 9000, version=version))
    assert (told.ends[-1].energy_wh, told.ends[-1].review) == (8000, ())
    assert told.tell(event2("Ended", "a", 3, NOON + HOUR, version=version)) == []


@version_2x
def test_an_id_that_is_used_again_is_another_session(version: str) -> None:
    """After a reboot a charger counts from one again; the first transaction has no end."""
    say = Charger(version)
    told = Told([say.start(1, NOON, 1000), say.update(1, NOON + 20 * MINUTE, 4000)])
    told.tell(say.boot(NOON + 30 * MINUTE), say.start(1, NOON + HOUR, 4000))
    assert [(e.energy_wh, e.review) for e in told.ends] == [(3000, ("no_stop",))]
    told.tell(say.update(1, NOON + 80 * MINUTE, 5000), say.end(1, NOON + 2 * HOUR, 6000))
    assert [(e.energy_wh, e.review) for e in told.ends[1:]] == [(2000, ())]
    # What is late is the session's in whose time it lies.
    assert kinds(told.tell(say.end(1, NOON + 25 * MINUTE, 4000, recorded_at=NOON + 3 * HOUR))) == CORRECTION
    assert (told.ends[-1].energy_wh, told.ends[-1].started_at, told.ends[-1].review) == (3000, NOON, ())
    assert len({e.session_id for e in told.ends}) == 2


@version_2x
def test_an_id_that_is_used_again_does_not_need_a_start_register(version: str) -> None:
    told = Told(
        [
            event2("Started", "1", 0, NOON, version=version),
            event2("Started", "1", 0, NOON + DAY, version=version),
        ]
    )
    assert [e.review for e in told.ends] == [("no_meter", "no_meter_start", "no_stop")]
    assert len(told.starts) == 2


@version_2x
def test_the_start_of_an_id_that_is_used_again_is_not_the_one_that_was_missing_before(version: str) -> None:
    say = Charger(version)
    told = Told([say.update(1, NOON, 4000), say.end(1, NOON + HOUR, 6000)])
    told.tick(NOON + 2 * DAY)
    told.tell(say.start(1, NOON + 3 * DAY, 9000), say.end(1, NOON + 3 * DAY + HOUR, 9500))
    assert [(e.started_at, e.energy_wh) for e in told.ends] == [(NOON, 2000), (NOON + 3 * DAY, 500)]


@pytest.mark.parametrize("tx", [0, -1, 2**63 - 1, None])
def test_an_odd_id_in_16_is_bound_by_connector_and_time(tx: int | None) -> None:
    told = Told(
        [start16(7, NOON, 1000), meter16(tx, NOON + 20 * MINUTE, 4000), stop16(tx, NOON + HOUR, 9000)]
    )
    assert [(e.transaction_id, e.energy_wh, e.review) for e in told.ends] == [("7", 8000, ())]


@version_2x
def test_ids_of_2x_are_any_text(version: str) -> None:
    for tx in ("0", "-1", "", "Ünïcode 😀", "x" * 36):
        told = Told([event2("Started", tx, 0, NOON, 0, version=version)])
        told.tell(event2("Ended", tx, 1, NOON + HOUR, 500, version=version))
        assert [(e.transaction_id, e.energy_wh) for e in told.ends] == [(tx, 500)]


def test_a_start_of_16_that_was_given_a_second_id_is_one_session() -> None:
    told = Told([start16(7, NOON, 1000), start16(9, NOON, 1000, recorded_at=NOON + MINUTE)])
    told.tell(meter16(9, NOON + 20 * MINUTE, 4000), stop16(9, NOON + HOUR, 9000))
    assert [(e.transaction_id, e.energy_wh, e.review) for e in told.ends] == [("7", 8000, ())]
    assert told.tell(stop16(7, NOON + HOUR, 9000, event="again"), start16(9, NOON, 1000, event="again")) == []


@all_versions
def test_a_session_goes_on_across_reconnects_reboots_and_firmware(version: str) -> None:
    say = Charger(version)
    told = Told([say.start(7, NOON, 1000), say.update(7, NOON + 20 * MINUTE, 4000)])
    installed = exchange(
        "FirmwareStatusNotification", {"status": "Installed"}, at=NOON + 25 * MINUTE, version=version
    )
    told.tell(say.boot(NOON + 25 * MINUTE, epoch=2), installed)
    told.tell(say.update(7, NOON + 40 * MINUTE, 7000, epoch=2), say.boot(NOON + 45 * MINUTE, epoch=3))
    told.tell(say.end(7, NOON + HOUR, 9000, epoch=4))
    assert [(e.energy_wh, e.review) for e in told.ends] == [(8000, ())]


@all_versions
def test_a_start_without_a_stop_is_closed_and_a_late_stop_corrects_it(version: str) -> None:
    say = Charger(version)
    told = Told([say.start(7, NOON, 1000), say.update(7, NOON + 20 * MINUTE, 4000)])
    assert kinds(told.tick(NOON + 8 * DAY)) == ["SessionEnded", "CdrIssued"]
    assert (told.ends[0].energy_wh, told.ends[0].review) == (3000, ("no_stop",))
    assert kinds(told.tell(say.end(7, NOON + HOUR, 9000, recorded_at=NOON + 9 * DAY))) == CORRECTION
    assert (told.ends[-1].energy_wh, told.ends[-1].review) == (8000, ())


@all_versions
def test_a_stop_without_a_start_is_closed_and_a_late_start_corrects_it(version: str) -> None:
    say = Charger(version)
    start, first, second, end = session(say)
    told = Told([first, second, end])
    assert told.records() == []
    assert kinds(told.tick(NOON + 2 * DAY)) == ["SessionStarted", "SessionEnded", "CdrIssued"]
    assert (told.ends[0].energy_wh, told.ends[0].review) == (5000, ("no_meter_start", "no_start"))
    late = say.start(7, NOON, 1000, recorded_at=NOON + 3 * DAY)
    assert kinds(told.tell(late)) == CORRECTION
    assert (told.ends[-1].energy_wh, told.ends[-1].review) == (8000, ())
    assert told.tell(start) == []


@all_versions
def test_what_a_transaction_tells_of_the_time_after_its_stop_is_not_counted(version: str) -> None:
    """A charger goes on with the id of a transaction that has stopped while another vehicle charges."""
    say = Charger(version)
    told = Told(session(say))
    late = [say.update(7, NOON + HOUR + n * MINUTE, 9000 + 300 * n) for n in range(1, 9)]
    assert told.tell(*late) == []
    before = Told([*session(Charger(version))[:-1], *late, say.end(7, NOON + HOUR, 9000)])
    assert [(e.energy_wh, e.review) for e in (*told.ends, *before.ends)] == [(8000, ()), (8000, ())]


@all_versions
def test_everything_twice_changes_nothing(version: str) -> None:
    messages = session(Charger(version))
    told = Told(messages)
    state = told.state
    assert told.tell(*messages) == []
    assert told.state == state


@all_versions
def test_a_station_of_many_evses_charges_at_all_of_them(version: str) -> None:
    """Many more than it may have sessions whose start is missing."""
    told, evses = Told(), range(1, 61)
    for n in evses:
        if version == "ocpp1.6":
            told.tell(start16(n, NOON + n, 0, connector=n))
        else:
            told.tell(event2("Started", str(n), 0, NOON + n, 0, evse=n, version=version))
    for minute in (10, 20):
        for n in evses:
            told.tell(Charger(version).update(n, NOON + minute * MINUTE, 100 * minute))
    assert told.ends == []
    for n in evses:
        told.tell(Charger(version).end(n, NOON + HOUR, 6000))
    assert [(e.evse_id, e.energy_wh, e.review) for e in told.ends] == [(n, 6000, ()) for n in evses]


@all_versions
def test_what_comes_again_long_after_its_session_made_room_begins_none(version: str) -> None:
    """A charger sends its whole queue again, of many sessions at one EVSE."""
    say = Charger(version)
    log = []
    for n in range(1, 30):
        at = NOON + n * HOUR
        log += [say.start(n, at, 1000 * n), say.update(n, at + MINUTE, 1000 * n + 300)]
        log.append(say.end(n, at + 30 * MINUTE, 1000 * n + 900))
    told = Told(log)
    assert len(told.cdrs) == 29
    again = [
        msgspec.structs.replace(e, event_id=f"again-{e.event_id}", recorded_at=NOON + 2 * DAY) for e in log
    ]
    assert told.tell(*again) == []
    assert told.tick(NOON + 20 * DAY) == []
    assert told.state is not None
    assert told.state.past == b""


@all_versions
def test_the_stop_of_a_session_that_made_room_without_one_is_not_thrown_away(version: str) -> None:
    say = Charger(version)
    log = [say.start(n, NOON + n * HOUR, 1000 * n) for n in range(1, 30)]
    told = Told(log)
    told.tell(say.end(2, NOON + 2 * HOUR, 2400, recorded_at=NOON + 2 * DAY))
    told.tick(NOON + 4 * DAY)
    assert "2" in {end.transaction_id for end in told.ends if end.recorded_at > NOON + 2 * DAY}


def test_an_outage_of_days_ends_in_one_charge_record_per_session() -> None:
    """Two sessions made offline: statuses and transactions of 1.6 come afterwards, all statuses first."""
    now = NOON + 3 * DAY
    signs = [
        status16(status, NOON + at * MINUTE, recorded_at=now + at)
        for at, status in (
            (0, "Preparing"),
            (1, "Charging"),
            (50, "Finishing"),
            (60, "Available"),
            (120, "Preparing"),
            (121, "Charging"),
            (150, "SuspendedEV"),
            (180, "Available"),
        )
    ]
    steps = [
        start16(7, NOON + MINUTE, 0, recorded_at=now + HOUR),
        stop16(7, NOON + HOUR, 9000, recorded_at=now + HOUR + 1),
        start16(8, NOON + 121 * MINUTE, 9000, recorded_at=now + HOUR + 2),
        stop16(8, NOON + 180 * MINUTE, 15_000, recorded_at=now + HOUR + 3),
    ]
    told = Told([*signs, *steps])
    assert [(e.energy_wh, e.charging_s, e.suspended_s, e.idle_s) for e in told.ends] == [
        (9000, 49 * 60, 0, 10 * 60),
        (6000, 29 * 60, 30 * 60, 0),
    ]
    assert len(told.documents) == 2
