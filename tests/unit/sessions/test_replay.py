"""Sides beside each other: what is counted, paired, left out and settled; and what is brought back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from libs.bus.message import Message
from libs.events.decisions import Decision, SessionDecided, SessionRecalled
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import Assignment
from libs.events.sessions import CdrIssued, CdrLine
from libs.events.topics import BILLING_DECISIONS, OCPP_TRANSACTIONS, SESSIONS_EVIDENCE
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.session import NO_START
from services.sessions.replay.compare import SETTLED_AFTER, Comparison, Entry, Period, Side, differing
from services.sessions.replay.fold import Fold
from services.sessions.replay.rederive import Sorted, issued_of, recall_of
from tests.unit.sessions.exchanges import DAY, HOUR, NOON, start16, stop16
from tests.unit.sessions.given import Told, registry

WEEK = 7 * DAY


def cdr(session: str = "s", **more: Any) -> CdrIssued:
    fields: dict[str, Any] = {
        "event_id": f"{session}-1",
        "occurred_at": NOON,
        "recorded_at": NOON,
        "cause_id": "c",
        "station_id": "cp",
        "session_id": session,
        "evse_id": 1,
        "transaction_id": session,
        "site_id": "north",
        "started_at": NOON - HOUR,
        "ended_at": NOON,
        "energy_wh": 1_000,
        "billed_wh": 1_000,
        "cdr_id": f"cdr-{session}",
        "version": 1,
        "tariff_id": "day",
        "currency": "EUR",
        "amount_minor": 50,
        "net_minor": 50,
        "hash": f"hash-{session}",
    }
    return CdrIssued(**fields | more)


def comparison(**more: Any) -> Comparison:
    period = {"since": NOON - DAY, "until": NOON + DAY, "read_from": NOON - WEEK, **more}
    return Comparison(Period(**period))


def compared(befores: list[CdrIssued], afters: list[CdrIssued], **more: Any) -> Any:
    both = comparison(**more)
    for side, cdrs in ((Side.BEFORE, befores), (Side.AFTER, afters)):
        for each in cdrs:
            both.put(side, each)
    both.settle_all()
    return both.finished()


def test_the_last_version_of_either_side_counts() -> None:
    report = compared(
        [cdr(amount_minor=40), cdr(version=2)],
        [cdr(amount_minor=60, net_minor=60, version=3)],
    )
    assert (report.sessions, report.equal, report.changed) == (1, 0, 1)
    assert report.fields == {"amount_minor": 1, "net_minor": 1}
    (row,) = report.rows
    assert (row.before.amount_minor, row.after.amount_minor) == (50, 60)
    (difference,) = report.largest
    assert (difference.before_minor, difference.after_minor) == (50, 60)


@pytest.mark.parametrize(
    "own",
    [
        {"version": 3, "event_id": "e", "hash": "h", "previous_hash": "p", "recorded_at": NOON + 1},
        {"tariff_version": 7},
        {"charging_s": 17, "idle_s": 3},
    ],
)
def test_what_is_a_record_own_is_no_difference(own: dict[str, Any]) -> None:
    assert differing(cdr(), cdr(**own)) == ()


def test_lines_differ_by_what_they_say_not_by_when() -> None:
    line = CdrLine(
        kind="energy", quantity=1, unit="Wh", price_milli=1, amount_minor=50, net_minor=50, from_at=1
    )
    moved = msgspec.structs.replace(line, from_at=2)
    dearer = msgspec.structs.replace(line, price_milli=2)
    assert differing(cdr(lines=(line,)), cdr(lines=(moved,))) == ()
    assert differing(cdr(lines=(line,)), cdr(lines=(dearer,))) == ("lines",)


def test_a_session_counts_if_it_ended_in_the_period_by_either_side() -> None:
    late = cdr("late", ended_at=NOON + 2 * DAY)
    moved = cdr("moved", ended_at=NOON + 2 * DAY)
    report = compared([cdr(), late, cdr("moved")], [cdr(), late, moved])
    assert (report.sessions, report.equal, report.changed) == (2, 1, 1)
    elsewhere = cdr("elsewhere", site_id="south")
    report = compared([cdr(), elsewhere], [cdr(), elsewhere], site_id="south")
    assert (report.sessions, report.rows[0].site_id) == (1, "south")


def test_a_session_that_is_read_to_have_begun_otherwise_is_still_the_same() -> None:
    report = compared(
        [cdr("old", transaction_id="7")],
        [cdr("new", transaction_id="7", started_at=NOON - 3 * HOUR), cdr("other", transaction_id="8")],
    )
    assert (report.sessions, report.changed, report.only_after, report.only_before) == (2, 2, 1, 0)
    assert report.fields == {"started_at": 1, "missing": 1}


def test_what_began_before_the_log_was_read_is_left_out() -> None:
    unseen = cdr("a", started_at=NOON - 2 * WEEK)
    partly = cdr("b", started_at=NOON - 2 * DAY, review=(NO_START,))
    really = cdr("c", started_at=NOON - HOUR, review=(NO_START,))
    report = compared([unseen, partly, really], [unseen, partly, really])
    assert (report.sessions, report.left_out) == (1, 2)
    # The record that was issued knows when it began, the fold of a part of the log does not.
    report = compared(
        [cdr("d", transaction_id="7", started_at=NOON - 2 * WEEK)],
        [cdr("e", transaction_id="7", started_at=NOON - WEEK, review=(NO_START,))],
    )
    assert (report.sessions, report.left_out) == (0, 2)


def test_memory_is_bounded_by_what_a_station_still_remembers() -> None:
    both = comparison(until=NOON + 100 * WEEK)
    for week in range(50):
        each = cdr(f"s{week}", recorded_at=NOON + week * WEEK, ended_at=NOON + week * WEEK)
        both.put(Side.BEFORE, each)
        both.put(Side.AFTER, each)
        assert len(list(both.pending())) <= 1 + SETTLED_AFTER // WEEK
    both.settle_all()
    assert (both.finished().sessions, both.finished().equal) == (50, 50)


def test_the_largest_differences_are_kept() -> None:
    afters = [cdr(f"s{n}", amount_minor=50 + n) for n in range(30)]
    report = compared([cdr(f"s{n}") for n in range(30)], afters)
    assert [each.after_minor for each in report.largest] == list(range(79, 69, -1))
    assert (report.sessions, report.changed) == (30, 29)


def fold(
    *exchanges: OcppCallReceived, tables: dict[str, dict[str, Record]] | None = None
) -> tuple[Fold, list[CdrIssued]]:
    made = Fold(SessionsProcessor(), registry() if tables is None else tables)
    found: list[CdrIssued] = []
    for offset, each in enumerate(exchanges):
        found += made.handle(Message(OCPP_TRANSACTIONS, 0, offset, each.station_id, each, each.recorded_at))
    return made, found


def test_a_fold_gives_what_the_processor_gives() -> None:
    exchanges = [start16(1, NOON, 0), stop16(1, NOON + HOUR, 5_000), start16(2, NOON + 2 * HOUR, 5_000)]
    made, found = fold(*exchanges)
    found += made.pass_time(NOON + 30 * DAY)
    told = Told(exchanges)
    told.tick(NOON + 30 * DAY)
    assert found == told.cdrs
    assert len(found) == 2


def decide(about: CdrIssued, at: int, version: int = 9) -> Message:
    record = SessionDecided(
        event_id="decision",
        occurred_at=at,
        recorded_at=at,
        cause_id="decision",
        station_id=about.station_id,
        session_id=about.session_id,
        decision=Decision.WRITE_OFF,
        version=version,
        reason="goodwill",
        decided_by="anna",
    )
    return Message(BILLING_DECISIONS, 0, 0, about.station_id, record, at)


def test_a_decision_holds_for_whichever_version_there_is_here() -> None:
    made, (issued,) = fold(start16(1, NOON, 0), stop16(1, NOON + HOUR, 5_000))
    (decided,) = made.decide(decide(issued, NOON + 2 * HOUR))
    assert (decided.version, decided.written_off_wh, decided.amount_minor) == (2, 5_000, 0)
    assert made.decide(decide(cdr("unknown"), NOON + 3 * HOUR)) == []


def test_what_was_forgotten_is_recalled_as_it_is_folded_here() -> None:
    made, (issued,) = fold(start16(1, NOON, 0), stop16(1, NOON + HOUR, 5_000))
    kept = made.session(issued.station_id, issued.session_id)
    assert kept is not None
    made.pass_time(NOON + 30 * DAY)
    assert made.session(issued.station_id, issued.session_id) is None
    recall = SessionRecalled(
        event_id="recall",
        occurred_at=NOON + 30 * DAY,
        recorded_at=NOON + 30 * DAY,
        cause_id="recall",
        station_id=issued.station_id,
        session_id=issued.session_id,
        evidence=b"",
        reason="r",
        decided_by="anna",
    )
    assert made.recall(Message(BILLING_DECISIONS, 0, 0, "cp", recall, NOON + 30 * DAY), kept) == []
    (decided,) = made.decide(decide(issued, NOON + 30 * DAY + 1))
    assert (decided.version, decided.written_off_wh) == (2, 5_000)


def test_what_was_forgotten_with_its_decision_is_known_under_it() -> None:
    later = [(n, NOON + n * 2 * HOUR) for n in (2, 3, 4)]
    exchanges = [each for n, at in later for each in (start16(n, at, n), stop16(n, at + HOUR, n))]
    made, (issued, *_) = fold(start16(1, NOON, 0), stop16(1, NOON + HOUR, 5_000_000), *exchanges)
    assert issued.review == ("implausible_energy",)
    (decided,) = made.decide(decide(issued, NOON + 20 * HOUR))
    assert made.session(issued.station_id, issued.session_id) is None
    kept = made.known(issued.station_id, issued.session_id)
    assert kept is not None

    told = Told()
    _, recall = recall_of(
        decided, kept, reason="r", decided_by="anna", now=NOON + DAY, event_id="to look again"
    )
    told.runtime.feed(SESSIONS_EVIDENCE, recall.station_id, recall)
    assert not told.documents
    again = decide(decided, NOON + DAY, decided.version).record
    assert isinstance(again, SessionDecided)
    accept = msgspec.structs.replace(again, event_id="again", decision=Decision.ACCEPT)
    told.runtime.feed(BILLING_DECISIONS, recall.station_id, accept)
    assert (told.cdrs[-1].version, told.cdrs[-1].billed_wh) == (3, 38_120)


def test_a_session_that_was_charged_wrongly_is_corrected_once() -> None:
    exchanges = [start16(1, NOON, 0), stop16(1, NOON + HOUR, 5_000)]
    made, (right,) = fold(*exchanges)
    session = made.session(right.station_id, right.session_id)
    assert session is not None
    wrong = msgspec.structs.replace(right, energy_wh=4_000, billed_wh=4_000, amount_minor=182, net_minor=182)
    both = recall_of(wrong, session, reason="the stop", decided_by="anna", now=NOON + 20 * DAY)
    assert both == recall_of(wrong, session, reason="the stop", decided_by="anna", now=NOON + 20 * DAY)
    _, recall = both
    told = Told()
    told.runtime.feed(SESSIONS_EVIDENCE, recall.station_id, recall)
    told.runtime.feed(SESSIONS_EVIDENCE, recall.station_id, recall)
    credit, corrected = told.documents
    assert (credit.amount_minor, corrected.amount_minor, corrected.version) == (-182, 228, 2)
    assert not told.runtime.dead


def entry(before: CdrIssued | None, after: CdrIssued | None, *, session: bool = True) -> Entry:
    made, (issued,) = fold(start16(1, NOON, 0), stop16(1, NOON + HOUR, 5_000))
    known = made.session(issued.station_id, issued.session_id) if session else None
    return Entry(before, after, NOON, known)


def test_a_wrong_doubt_is_corrected_though_the_same_is_charged() -> None:
    made, (right,) = fold(start16(1, NOON, 0), stop16(1, NOON + HOUR, 5_000))
    session = made.session(right.station_id, right.session_id)
    assert session is not None
    wrong = msgspec.structs.replace(right, review=("meter_rollback",))
    told = Told()
    for event_id, versions in (("only to be remembered", []), ("", [1, 2])):
        _, recall = recall_of(
            wrong, session, reason="r", decided_by="anna", now=NOON + 20 * DAY, event_id=event_id
        )
        told.runtime.feed(SESSIONS_EVIDENCE, recall.station_id, recall)
        assert [each.version for each in told.documents] == versions
    assert (told.cdrs[-1].review, told.cdrs[-1].amount_minor) == ((), right.amount_minor)


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        (cdr(), cdr(amount_minor=60, net_minor=60), "recalled"),
        (cdr(decision_id="d"), cdr(amount_minor=60), "decided"),
        (cdr(), cdr(group_id="fleet", amount_minor=60), "regrouped"),
        (cdr(), cdr(site_id=None, tariff_id=None, currency=None, amount_minor=0), "orphaned"),
        (cdr(), cdr(tariff_id=None, currency=None, amount_minor=0), "orphaned"),
        (cdr(tariff_id=None, currency=None), cdr(), "recalled"),
        (cdr(), cdr(site_id="south", amount_minor=60), "recalled"),
        (cdr(), cdr(reason="Local"), "recalled"),
        (None, cdr(), "unissued"),
        (cdr(), None, "unknown"),
    ],
)
def test_only_what_was_charged_wrongly_is_brought_back(
    before: CdrIssued | None, after: CdrIssued | None, where: str
) -> None:
    found = Sorted()
    found.add(entry(before, after), differing(before, after))
    assert [name for name in found.__struct_fields__ if getattr(found, name)] == [where]


def test_of_a_decided_session_the_decision_counts_though_the_fold_has_forgotten_it() -> None:
    found = Sorted()
    found.add(entry(cdr(decision_id="d"), cdr(amount_minor=60), session=False), ("amount_minor",))
    assert (len(found.decided), len(found.unknown)) == (1, 0)


def test_a_station_that_was_moved_since_is_no_difference() -> None:
    exchanges = [start16(1, NOON, 0), stop16(1, NOON + HOUR, 5_000)]
    _, before = fold(*exchanges)
    moved = Assignment(id="site-1", valid_from=0), Assignment(id="elsewhere", valid_from=NOON + HOUR)
    _, after = fold(*exchanges, tables=registry(sites=moved))
    assert after == before


def test_equal_sessions_are_left_alone() -> None:
    found = Sorted()
    found.add(entry(cdr(), cdr()), ())
    assert not any(getattr(found, name) for name in found.__struct_fields__)


def test_the_credit_note_takes_back_what_the_record_says() -> None:
    said = issued_of(cdr(prepaid_wh=3, written_off_wh=2))
    assert (said.amount_minor, said.prepaid_wh, said.written_off_wh, said.hash) == (50, 3, 2, "hash-s")
