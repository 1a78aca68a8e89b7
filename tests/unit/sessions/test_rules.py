"""Rules that close sessions, and evidence that opens them again: given a history, when time passes, then records."""

from __future__ import annotations

import pytest

from libs.events.sessions import SessionReopened, SessionUpdated
from services.sessions.domain.rules import LONGEST
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, event2, meter16, start16, stop16
from tests.unit.sessions.given import Told, kinds
from tests.unit.sessions.signs import VERSIONS, Charger, boot, status16

CORRECTION = ["SessionCorrected", "CdrCredited", "CdrIssued"]


def zombie(*signs: object) -> Told:
    told = Told([start16(7, NOON, 0), status16("Charging", NOON), meter16(7, NOON + 10 * MINUTE, 2000)])
    told.tell(*signs)  # type: ignore[arg-type]
    return told


def test_a_free_connector_without_stop_is_a_zombie_after_a_day() -> None:
    told = zombie(status16("Finishing", NOON + 20 * MINUTE), status16("Available", NOON + 21 * MINUTE))
    assert told.tick(NOON + DAY) == []
    assert kinds(told.tick(NOON + DAY + HOUR)) == ["SessionEnded", "CdrIssued"]
    end = told.ends[0]
    # It ends with the last that the transaction itself told.
    assert (end.ended_at, end.energy_wh, end.review) == (NOON + 10 * MINUTE, 2000, ("no_stop",))
    late = stop16(7, NOON + 20 * MINUTE, 4000, recorded_at=NOON + 3 * DAY)
    assert kinds(told.tell(late)) == CORRECTION
    assert (told.ends[-1].energy_wh, told.ends[-1].review) == (4000, ())


@pytest.mark.parametrize(
    "status", ["Finishing", "Faulted", "Charging", "SuspendedEV", "Unavailable", "Reserved"]
)
def test_other_statuses_are_no_evidence_of_a_zombie(status: str) -> None:
    told = zombie(status16(status, NOON + 21 * MINUTE))
    assert told.tick(NOON + 6 * DAY) == []
    assert kinds(told.tick(NOON + 8 * DAY)) == ["SessionEnded", "CdrIssued"]


def test_a_connector_that_waits_for_another_vehicle_has_no_transaction() -> None:
    told = zombie(status16("Preparing", NOON + 21 * MINUTE))
    assert kinds(told.tick(NOON + DAY + HOUR)) == ["SessionEnded", "CdrIssued"]


def test_a_free_connector_that_charges_again_is_no_zombie() -> None:
    told = zombie(status16("Available", NOON + 20 * MINUTE), status16("Charging", NOON + 30 * MINUTE))
    assert told.tick(NOON + 6 * DAY) == []
    told = zombie(status16("Available", NOON + 20 * MINUTE), meter16(7, NOON + 30 * MINUTE, 2500))
    assert told.tick(NOON + 6 * DAY) == []


def test_each_message_of_the_queue_puts_the_stop_off_by_a_day_but_a_repeated_status_does_not() -> None:
    told = zombie(status16("Available", NOON + 20 * MINUTE))
    told.tell(meter16(7, NOON + 15 * MINUTE, 2500, recorded_at=NOON + 20 * HOUR))
    told.tell(*[status16("Available", NOON + n * HOUR) for n in range(21, 44)])
    assert told.ends == []
    assert kinds(told.tick(NOON + 45 * HOUR)) == ["SessionEnded", "CdrIssued"]
    assert told.ends[0].energy_wh == 2500


def test_a_free_connector_that_is_told_before_the_start_arrives_counts_as_well() -> None:
    told = Told([status16("Available", NOON + HOUR)])
    told.tell(start16(7, NOON, 0, recorded_at=NOON + 2 * HOUR))
    assert told.tick(NOON + 25 * HOUR) == []
    assert kinds(told.tick(NOON + 27 * HOUR)) == ["SessionEnded", "CdrIssued"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_boot_after_which_nothing_is_heard_of_the_transaction_ends_it(version: str) -> None:
    say = Charger(version)
    told = Told([say.start(7, NOON, 0), say.update(7, NOON + 10 * MINUTE, 2000), say.boot(NOON + HOUR)])
    told.tell(say.boot(NOON + 20 * HOUR))
    assert told.tick(NOON + 24 * HOUR) == []
    assert kinds(told.tick(NOON + 26 * HOUR)) == ["SessionEnded", "CdrIssued"]
    assert told.ends[0].review == ("no_stop",)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_transaction_that_goes_on_after_a_boot_does_so(version: str) -> None:
    say = Charger(version)
    told = Told([say.start(7, NOON, 0), say.boot(NOON + HOUR), say.update(7, NOON + 2 * HOUR, 2000)])
    assert told.tick(NOON + 6 * DAY) == []
    told.tell(say.end(7, NOON + 3 * HOUR, 3000, recorded_at=NOON + 6 * DAY + HOUR))
    assert [(e.energy_wh, e.review) for e in told.ends] == [(3000, ())]


def test_a_boot_means_nothing_to_a_station_without_sessions() -> None:
    told = Told([boot(NOON), boot(NOON, "ocpp2.0.1")])
    assert (told.records(), told.state) == ([], None)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_closed_goes_on_and_is_corrected_once(version: str) -> None:
    """However many messages come: the session is under way again, and its next end corrects the first."""
    say = Charger(version)
    told = Told([say.start(7, NOON, 0), say.update(7, NOON + 10 * MINUTE, 2000)])
    assert kinds(told.tick(NOON + 8 * DAY)) == ["SessionEnded", "CdrIssued"]
    for n in range(1, 50):
        at = NOON + 8 * DAY + n * HOUR
        out = told.tell(say.update(7, at, 2000 + n))
        assert kinds(out) == ["SessionReopened" if n == 1 else "SessionUpdated"]
        assert [each.revision for each in out if isinstance(each, SessionReopened | SessionUpdated)] == [1]
    assert kinds(told.tell(say.end(7, NOON + 11 * DAY, 3000))) == CORRECTION
    last = told.ends[-1]
    assert (last.energy_wh, last.ended_at, last.review) == (3000, NOON + 11 * DAY, ())
    assert len({r.session_id for r in (*told.starts, *told.ends)}) == 1
    assert sum(document.amount_minor for document in told.documents) == told.cdrs[-1].amount_minor


def test_what_goes_on_and_falls_silent_again_is_closed_again() -> None:
    say = Charger("ocpp1.6")
    told = Told([say.start(7, NOON, 0)])
    told.tick(NOON + 8 * DAY)
    told.tell(say.update(7, NOON + 8 * DAY, 700))
    assert kinds(told.tick(NOON + 16 * DAY)) == CORRECTION
    assert (told.ends[-1].energy_wh, told.ends[-1].review) == (700, ("no_stop",))


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_transaction_tells_of_the_time_after_the_next_began_is_not_counted(version: str) -> None:
    """A charger goes on with an id whose transaction was followed: nothing is billed twice."""
    say = Charger(version)
    log = [say.start(7, NOON, 0), say.update(7, NOON + HOUR, 5000), say.start(8, NOON + 2 * HOUR, 6000)]
    stale = [say.update(7, NOON + 3 * HOUR, 9000), say.update(7, NOON + 4 * HOUR, 12_000)]
    told = Told(log)
    assert told.tell(*stale) == []
    told.tell(say.end(8, NOON + 5 * HOUR, 14_000))
    other = Told([log[0], log[1], *stale, log[2], say.end(8, NOON + 5 * HOUR, 14_000)])
    for each in (told, other):
        assert [(e.transaction_id, e.energy_wh) for e in each.ends] == [("7", 5000), ("8", 8000)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_start_that_comes_after_the_next_ones_waits_a_day_for_its_stop(version: str) -> None:
    say = Charger(version)
    told = Told([say.start(8, NOON + 2 * HOUR, 6000), say.start(7, NOON, 0, recorded_at=NOON + 3 * HOUR)])
    assert told.ends == []
    stopped = Told([say.start(8, NOON + 2 * HOUR, 6000), say.start(7, NOON, 0, recorded_at=NOON + 3 * HOUR)])
    stopped.tell(say.end(7, NOON + HOUR, 5000, recorded_at=NOON + 4 * HOUR))
    assert [(e.transaction_id, e.energy_wh, e.review) for e in stopped.ends] == [("7", 5000, ())]
    told.tick(NOON + 28 * HOUR)
    assert [(e.transaction_id, e.review) for e in told.ends] == [("7", ("no_meter", "no_stop"))]


def hourly(say: Charger, days: int, rises: int, begin: int = NOON) -> Told:
    """A transaction that tells its register every six hours; it rises for the first `rises` days."""
    told = Told([say.start(7, begin, 0)])
    for n in range(1, days * 4 + 1):
        told.tell(say.update(7, begin + n * 6 * HOUR, 1000 * min(n, rises * 4)))
    return told


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_that_never_ends_is_closed_when_nothing_has_risen_for_a_week(version: str) -> None:
    say = Charger(version)
    told = hourly(say, 75, 1)
    assert [(e.energy_wh, e.review) for e in told.ends] == [(4000, ("endless", "no_stop"))]
    assert told.ends[0].ended_at - NOON >= LONGEST
    # It goes on and on; nobody is told, and nothing is charged or corrected.
    assert told.tell(*[say.update(7, NOON + (75 * 24 + n) * HOUR, 4000) for n in range(200)]) == []
    assert told.tick(NOON + 120 * DAY) == []


def test_a_long_session_that_charges_is_left_alone() -> None:
    told = hourly(Charger("ocpp2.1"), 80, 80)
    assert told.ends == []


def test_an_endless_session_goes_on_when_its_register_rises() -> None:
    say = Charger("ocpp2.0.1")
    told = hourly(say, 75, 1)
    assert kinds(told.tell(say.update(7, NOON + 76 * DAY, 4500))) == ["SessionReopened"]
    assert kinds(told.tell(say.end(7, NOON + 77 * DAY, 5000))) == CORRECTION
    assert (told.ends[-1].energy_wh, told.ends[-1].review) == (5000, ())


def test_a_session_without_start_that_goes_on_is_under_way_again() -> None:
    told = Told([event2("Updated", "a", 1, NOON, 1000)])
    assert kinds(told.tick(NOON + 2 * DAY)) == ["SessionStarted", "SessionEnded", "CdrIssued"]
    assert kinds(told.tell(event2("Updated", "a", 2, NOON + 2 * DAY, 1500))) == ["SessionReopened"]
    assert kinds(told.tell(event2("Started", "a", 0, NOON - HOUR, 500, recorded_at=NOON + 50 * HOUR))) == [
        "SessionUpdated"
    ]
    assert kinds(told.tell(event2("Ended", "a", 3, NOON + 3 * DAY, 2500))) == CORRECTION
    assert (told.ends[-1].energy_wh, told.ends[-1].started_at, told.ends[-1].review) == (
        2000,
        NOON - HOUR,
        (),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_deadlines_end_however_many_sessions_were_closed(version: str) -> None:
    """The last of forty zombies is closed by time, when the oldest of those to be decided about has to make room."""
    say = Charger(version)
    told = Told([say.start(n, NOON + n * DAY, 1000 * n) for n in range(1, 41)])
    told.tick(NOON + 400 * DAY)
    assert len({end.session_id for end in told.ends}) == 40
    assert told.state is not None
    assert (told.state.open, told.state.closed, told.state.due_at) == ((), (), None)
