"""What operators decide about sessions in review: given a history, when a decision comes, then these documents."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from libs.events.cdr_hash import digest
from libs.events.decisions import (
    Decision,
    SessionDecided,
    SessionDecisionConcluded,
    SessionEvidenceRecalled,
    SessionRecalled,
)
from libs.events.ids import derive_id
from libs.events.record import Record
from libs.events.registry import TariffVersion
from libs.events.sessions import CdrCredited, CdrIssued, SessionCorrected
from libs.events.topics import BILLING_DECISIONS, SESSIONS_EVIDENCE
from libs.tariffs.documents import parse
from services.sessions.domain import decisions
from services.sessions.domain.decisions import MOST_REMEMBERED, SHAPES, Ruling, evidence_of
from services.sessions.domain.rules import REMEMBER, REMEMBER_HELD
from services.sessions.domain.session import Session
from services.sessions.domain.station import MOST_HELD
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, SECOND, STATION, meter16, start16, stop16
from tests.unit.sessions.given import Told, kinds, registry
from tests.unit.states.golden import released

RELEASED = released()

TERMS = """
min_price: "5"
elements:
- price_components: [{type: FLAT, price: "2"}, {type: ENERGY, price: "0.40"}]
"""


def decided(told: Told, decision: str, at: int = NOON + 3 * DAY, /, **changes: Any) -> SessionDecided:
    """A decision about the last session that was billed."""
    last = told.cdrs[-1]
    event_id = derive_id(f"{decision}{at}{changes}", "decision")
    fields: dict[str, Any] = {
        "event_id": event_id,
        "occurred_at": at,
        "recorded_at": at,
        "cause_id": event_id,
        "station_id": STATION,
        "session_id": last.session_id,
        "decision": Decision(decision),
        "version": last.version,
        "reason": "the driver confirmed it",
        "decided_by": "anna",
    }
    return SessionDecided(**(fields | changes))


def decide(told: Told, record: Ruling) -> list[Record]:
    before = len(told.records())
    topic = SESSIONS_EVIDENCE if isinstance(record, SessionEvidenceRecalled) else BILLING_DECISIONS
    told.runtime.feed(topic, STATION, record)
    return told.records()[before:]


def conclusion(records: list[Record]) -> SessionDecisionConcluded:
    (found,) = [record for record in records if isinstance(record, SessionDecisionConcluded)]
    return found


def implausible(told: Told | None = None, *, begin: int = NOON, tx: int = 7) -> Told:
    """An hour at 22 kW, which gives 38.12 kWh at most: the register rises by 10 kWh, then by 990 kWh."""
    told = told or Told()
    told.tell(
        start16(tx, begin, 1_000),
        meter16(tx, begin + 30 * MINUTE, 11_000),
        stop16(tx, begin + HOUR, 1_001_000),
    )
    return told


def balanced(record: CdrIssued) -> tuple[int, int, int]:
    parts = record.billed_wh, record.review_wh, record.written_off_wh
    assert sum(parts) == record.energy_wh
    return parts


def test_accepted_all_that_was_delivered_is_billed() -> None:
    told = implausible()
    (first,) = told.cdrs
    assert balanced(first) == (10_000, 28_120, 0)
    record = decided(told, "accept")
    out = decide(told, record)
    assert kinds(out) == ["SessionCorrected", "CdrCredited", "CdrIssued", "SessionDecisionConcluded"]
    corrected, credit, issued, concluded = out
    assert isinstance(corrected, SessionCorrected)
    assert isinstance(credit, CdrCredited)
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (38_120, 0, 0)
    # The doubt stays readable; that it is settled is what decision_id says.
    assert (issued.review, issued.decision_id, issued.decided_by) == (
        ("implausible_energy",),
        record.event_id,
        "anna",
    )
    assert (corrected.billed_wh, corrected.decision_id) == (38_120, record.event_id)
    assert (credit.billed_wh, credit.review_wh, credit.written_off_wh) == (-10_000, -28_120, 0)
    assert credit.credited_hash == first.hash
    assert issued.previous_hash == credit.hash
    assert issued.hash == digest(issued)
    assert (issued.version, issued.cause_id) == (2, record.event_id)
    assert issued.amount_minor == 1_734  # 38.12 kWh at 45.5 cents: 1734.46
    assert (issued.sources[1].topic, issued.sources[1].first_offset) == ("billing.decisions", 0)
    assert concluded == SessionDecisionConcluded(
        event_id=derive_id(record.event_id, "concluded"),
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        cause_id=record.event_id,
        station_id=STATION,
        session_id=first.session_id,
        decision_id=record.event_id,
        applied=True,
        version=2,
    )


def test_accepted_energy_is_billed_when_it_was_delivered() -> None:
    """By time of use: 10 kWh in the first half hour, 990 kWh in the second."""
    tariff = """
elements:
- price_components: [{type: ENERGY, price: "1"}]
  restrictions: {max_duration: 1800}
- price_components: [{type: ENERGY, price: "2"}]
"""
    told = implausible(Told((), priced(tariff)))
    issued = decide(told, decided(told, "accept"))[2]
    assert isinstance(issued, CdrIssued)
    assert [(line.quantity, line.price_milli) for line in issued.lines] == [
        (10_000, 100_000),
        (28_120, 200_000),
    ]
    # Half of it: half of each.
    issued = decide(told, decided(told, "adjust", billed_wh=19_060))[2]
    assert isinstance(issued, CdrIssued)
    assert [line.quantity for line in issued.lines] == [5_000, 14_060]
    assert balanced(issued) == (19_060, 0, 19_060)


def test_adjusted_a_part_is_billed_and_the_rest_written_off() -> None:
    told = implausible()
    issued = decide(told, decided(told, "adjust", billed_wh=12_345))[2]
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (12_345, 0, 25_775)
    assert issued.amount_minor == 562  # 12.345 kWh * 45.5 = 561.7


def test_written_off_nothing_at_all_is_charged() -> None:
    told = implausible(Told((), priced(TERMS)))
    assert told.cdrs[0].amount_minor == 600  # 2.00 and 10 kWh
    issued = decide(told, decided(told, "write_off"))[2]
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (0, 0, 38_120)
    assert (issued.amount_minor, issued.net_minor, issued.tax_minor, issued.lines, issued.taxes) == (
        0,
        0,
        0,
        (),
        (),
    )
    assert (issued.tariff_id, issued.currency) == ("flat", "EUR")
    assert sum(document.amount_minor for document in told.documents) == 0


def test_adjusted_to_nothing_the_session_fee_stays() -> None:
    told = implausible(Told((), priced(TERMS)))
    issued = decide(told, decided(told, "adjust", billed_wh=0))[2]
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (0, 0, 38_120)
    assert issued.amount_minor == 500


def test_doubts_without_energy_can_be_accepted() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)])
    told.tick(NOON + 8 * DAY)
    (first,) = told.cdrs
    assert (first.review, first.review_wh) == (("no_stop",), 0)
    issued = decide(told, decided(told, "accept", NOON + 9 * DAY))[2]
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (9_000, 0, 0)
    assert issued.lines == first.lines


def test_more_energy_that_comes_to_light_goes_to_review() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)])
    told.tick(NOON + 8 * DAY)
    record = decided(told, "accept", NOON + 9 * DAY)
    decide(told, record)
    out = told.tell(stop16(1, NOON + 2 * HOUR, 15_000, recorded_at=NOON + 10 * DAY))
    assert kinds(out) == ["SessionCorrected", "CdrCredited", "CdrIssued"]
    issued = told.cdrs[-1]
    assert balanced(issued) == (9_000, 6_000, 0)
    assert issued.review == ("after_decision",)
    assert issued.decision_id == record.event_id
    # The next decision covers all of it.
    decide(told, decided(told, "accept", NOON + 11 * DAY))
    assert balanced(told.cdrs[-1]) == (15_000, 0, 0)
    assert told.cdrs[-1].review == ()


def test_after_a_write_off_new_energy_is_not_billed_by_itself() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)], priced(TERMS))
    told.tick(NOON + 8 * DAY)
    decide(told, decided(told, "write_off", NOON + 9 * DAY))
    told.tell(stop16(1, NOON + 2 * HOUR, 15_000, recorded_at=NOON + 10 * DAY))
    assert balanced(told.cdrs[-1]) == (0, 6_000, 9_000)
    assert told.cdrs[-1].amount_minor == 0


@pytest.mark.parametrize(("billed", "parts"), [(9_000, (4_000, 0, 0)), (1_000, (1_000, 0, 3_000))])
def test_less_energy_that_comes_to_light_bounds_what_is_billed(
    billed: int, parts: tuple[int, int, int]
) -> None:
    told = Told([start16(1, NOON, 1_000, recorded_at=NOON), meter16(1, NOON + HOUR, 10_000)])
    told.tick(NOON + 8 * DAY)
    decide(told, decided(told, "adjust", NOON + 9 * DAY, billed_wh=billed))
    assert told.state is not None
    (session,) = told.state.closed
    # As if the evidence had been of less energy.
    less = msgspec.structs.replace(session, meter_start_wh=6_000)
    decide(told, recalled(less, NOON + 10 * DAY))
    assert balanced(told.cdrs[-1]) == parts
    assert "after_decision" in told.cdrs[-1].review


def test_a_new_doubt_is_shown_although_the_energy_stays() -> None:
    told = implausible()
    decide(told, decided(told, "accept", NOON + 2 * HOUR))
    told.tell(stop16(7, NOON + HOUR, 999_000, recorded_at=NOON + 3 * HOUR))
    last = told.cdrs[-1]
    assert balanced(last) == (38_120, 0, 0)
    assert last.review == ("after_decision", "implausible_energy", "stop_conflict")


def test_a_duplicate_of_known_evidence_changes_nothing() -> None:
    told = implausible()
    decide(told, decided(told, "accept", NOON + 2 * HOUR))
    assert told.tell(stop16(7, NOON + HOUR, 1_001_000, recorded_at=NOON + 3 * HOUR)) == []


def test_the_same_decision_counts_once() -> None:
    told = implausible()
    record = decided(told, "write_off")
    decide(told, record)
    assert decide(told, record) == []
    other = decided(told, "accept", NOON + 4 * DAY)
    decide(told, other)
    assert decide(told, record) == []
    assert balanced(told.cdrs[-1]) == (38_120, 0, 0)


def test_a_refused_decision_stays_refused() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)])
    early = decided_of_running(told)
    assert conclusion(decide(told, early)).detail == "still_running"
    told.tell(stop16(1, NOON + 2 * HOUR, 15_000))
    assert decide(told, early) == []


def decided_of_running(told: Told) -> SessionDecided:
    at = NOON + HOUR
    return SessionDecided(
        event_id="early",
        occurred_at=at,
        recorded_at=at,
        cause_id="early",
        station_id=STATION,
        session_id=told.starts[0].session_id,
        decision=Decision.ACCEPT,
        version=1,
        reason="r",
        decided_by="anna",
    )


@pytest.mark.parametrize(
    ("changes", "detail", "version"),
    [
        ({"session_id": "nobody"}, "unknown_session", 0),
        ({"session_id": ""}, "unknown_session", 0),
        ({"version": 2}, "other_version", 1),
        ({"version": 0}, "other_version", 1),
        ({"decision": Decision.ADJUST, "billed_wh": 1_000_001}, "more_than_delivered", 1),
        ({"decision": Decision.ADJUST, "billed_wh": -1}, "no_energy_named", 1),
        ({"decision": Decision.ADJUST}, "no_energy_named", 1),
        ({"decision": Decision.UNKNOWN}, "unknown_decision", 1),
    ],
)
def test_what_cannot_be_followed_is_refused(changes: dict[str, Any], detail: str, version: int) -> None:
    told = implausible()
    (concluded,) = decide(told, decided(told, "accept", **changes))
    assert isinstance(concluded, SessionDecisionConcluded)
    assert (concluded.applied, concluded.detail, concluded.version) == (False, detail, version)


def test_a_decision_about_a_station_that_nobody_knows_is_refused() -> None:
    told = Told()
    record = decided(implausible(), "accept")
    assert conclusion(decide(told, record)).detail == "unknown_session"
    assert not told.runtime.dead


def test_ids_of_decisions_are_bounded() -> None:
    told = implausible()
    for n in range(MOST_REMEMBERED + 5):
        decide(told, decided(told, "accept", NOON + 2 * DAY + n, version=99))
    assert told.state is not None
    assert len(told.state.decisions) == MOST_REMEMBERED


# --- memory


def test_sessions_to_be_decided_are_remembered_for_weeks() -> None:
    told = implausible()
    for n in range(5):
        begin = NOON + (2 + 2 * n) * HOUR
        told.tell(start16(100 + n, begin, 0), stop16(100 + n, begin + HOUR, 5_000))
    in_review = told.cdrs[0]
    at = NOON + 60 * DAY
    told.tick(at)
    assert told.state is not None
    assert [s.session_id for s in told.state.closed] == [in_review.session_id]
    out = decide(told, decided(told, "accept", at, session_id=in_review.session_id, version=1))
    assert conclusion(out).applied


def test_after_that_they_are_forgotten() -> None:
    told = implausible()
    told.tick(NOON + HOUR + SECOND + REMEMBER_HELD)
    assert told.state is not None
    assert told.state.closed == ()
    assert told.state.chain


def test_a_decided_session_is_remembered_as_any_other() -> None:
    told = implausible()
    decide(told, decided(told, "accept"))
    told.tick(NOON + 3 * DAY + REMEMBER)
    assert told.state is not None
    assert told.state.closed == ()


def test_no_more_than_so_many_are_held() -> None:
    told = Told()
    for n in range(MOST_HELD + 10):
        implausible(told, begin=NOON + n * DAY, tx=n + 1)
    assert told.state is not None
    assert len(told.state.closed) == MOST_HELD + 3
    assert told.state.closed[-1].session_id == told.cdrs[-1].session_id


# --- recalled evidence


def told_recall(session: Session, at: int, evidence: bytes = b"") -> SessionRecalled:
    event_id = derive_id(f"{session.session_id}{at}", "recall")
    return SessionRecalled(
        event_id=event_id,
        occurred_at=at,
        recorded_at=at,
        cause_id=event_id,
        station_id=STATION,
        session_id=session.session_id,
        evidence=evidence,
        reason="a complaint",
        decided_by="anna",
    )


def recalled(session: Session, at: int, **changes: Any) -> SessionEvidenceRecalled:
    return msgspec.structs.replace(evidence_of(told_recall(session, at), session), **changes)


def forgotten() -> tuple[Told, Session]:
    """A session that is no longer known, and its evidence."""
    told = Told([start16(1, NOON, 0), stop16(1, NOON + HOUR, 9_000)])
    assert told.state is not None
    (session,) = told.state.closed
    told.tick(NOON + 8 * DAY)
    assert told.state.closed == ()
    return told, session


def test_a_forgotten_session_is_decided_about_once_it_is_recalled() -> None:
    told, session = forgotten()
    at = NOON + 30 * DAY
    assert conclusion(decide(told, decided(told, "write_off", at))).detail == "unknown_session"
    out = decide(told, recalled(session, at))
    assert kinds(out) == ["SessionDecisionConcluded"]
    assert (conclusion(out).applied, conclusion(out).version) == (True, 1)
    out = decide(told, decided(told, "write_off", at + HOUR))
    assert balanced(told.cdrs[-1]) == (0, 0, 9_000)
    assert conclusion(out).version == 2


def test_what_is_told_of_a_recall_changes_nothing_by_itself() -> None:
    told, session = forgotten()
    assert decide(told, told_recall(session, NOON + 30 * DAY)) == []
    out = decide(told, recalled(session, NOON + 30 * DAY))
    assert conclusion(out).decision_id == told_recall(session, NOON + 30 * DAY).event_id
    assert not told.runtime.dead


def test_evidence_of_another_shape_changes_nothing_and_says_so() -> None:
    told, session = forgotten()
    out = conclusion(decide(told, recalled(session, NOON + 30 * DAY, shape="0011223344556677")))
    assert (out.applied, out.detail) == (False, "other_shape")
    assert not told.runtime.dead


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"evidence": b"no evidence"}, "unreadable"),
        ({"evidence": b"\x93"}, "unreadable"),
        ({"session_id": "another"}, "other_session"),
    ],
)
def test_what_is_no_evidence_of_the_session_changes_nothing_and_says_so(
    changes: dict[str, Any], detail: str
) -> None:
    told, session = forgotten()
    before = told.state
    out = conclusion(decide(told, recalled(session, NOON + 30 * DAY, **changes)))
    assert (out.applied, out.detail) == (False, detail)
    assert not told.runtime.dead
    assert told.state is not None
    assert before is not None
    assert told.state.closed == before.closed


@pytest.mark.parametrize("changes", [{"issued": None}, {"over": False}])
def test_evidence_without_a_charge_record_changes_nothing_and_says_so(changes: dict[str, Any]) -> None:
    told, session = forgotten()
    if "over" in changes:
        running = Told([start16(1, NOON, 0)])
        assert running.state is not None
        (evidence,) = running.state.open
        evidence = msgspec.structs.replace(evidence, session_id=session.session_id)
    else:
        evidence = msgspec.structs.replace(session, **changes)
    out = conclusion(decide(told, recalled(evidence, NOON + 30 * DAY)))
    assert (out.applied, out.detail) == (False, "no_charge_record")


def test_a_recall_of_version_0_1_0_holds_its_evidence_itself() -> None:
    golden = RELEASED["0.1.0", "session-evidence"]
    evidence = SHAPES.decode(golden.value, golden.fingerprint)
    record = told_recall(evidence, NOON + 30 * DAY, golden.value)
    session, detail = decisions.recalled(None, record)
    assert detail == ""
    assert session == msgspec.structs.replace(
        evidence, held=True, recorded_at=record.recorded_at, cause_id=record.event_id
    )
    told, known = forgotten()
    out = decide(told, told_recall(known, NOON + 30 * DAY, msgspec.msgpack.encode(known)))
    assert conclusion(out).applied


def test_recalled_evidence_that_amounts_to_something_else_gives_a_correction() -> None:
    told, session = forgotten()
    first = told.cdrs[0]
    # The fold that is deployed now reads another register at the end.
    evidence = msgspec.structs.replace(session, meter_stop_wh=8_000)
    out = decide(told, recalled(evidence, NOON + 30 * DAY))
    assert kinds(out) == ["SessionCorrected", "CdrCredited", "CdrIssued", "SessionDecisionConcluded"]
    credit, issued = told.documents[-2:]
    assert isinstance(credit, CdrCredited)
    assert credit.credited_hash == first.hash
    assert credit.previous_hash == first.hash
    assert (issued.version, issued.billed_wh) == (2, 8_000)
    # And once more: nothing differs any longer.
    assert told.state is not None
    (now,) = told.state.closed
    assert kinds(decide(told, recalled(now, NOON + 31 * DAY))) == ["SessionDecisionConcluded"]


def test_what_is_known_better_stays() -> None:
    told = Told([start16(1, NOON, 0), stop16(1, NOON + HOUR, 9_000)])
    assert told.state is not None
    (old,) = told.state.closed
    told.tell(meter16(1, NOON + 30 * MINUTE, 4_000, recorded_at=NOON + 2 * HOUR))
    (concluded,) = decide(told, recalled(old, NOON + DAY))
    assert isinstance(concluded, SessionDecisionConcluded)
    assert (concluded.applied, concluded.detail) == (False, "newer_known")


def test_a_running_session_is_not_recalled() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)])
    assert told.state is not None
    (running,) = told.state.open
    _, session = forgotten()
    evidence = msgspec.structs.replace(session, session_id=running.session_id)
    assert conclusion(decide(told, recalled(evidence, NOON + DAY))).detail == "still_running"


def test_a_decision_outlives_recalled_evidence_that_lacks_it() -> None:
    told = implausible()
    assert told.state is not None
    record = decided(told, "write_off", NOON + DAY)
    decide(told, record)
    (known,) = told.state.closed
    bare = msgspec.structs.replace(known, decision=None)
    assert kinds(decide(told, recalled(bare, NOON + 2 * DAY))) == ["SessionDecisionConcluded"]
    (now,) = told.state.closed
    assert now.decision is not None
    assert now.decision.decision_id == record.event_id


def priced(terms: str) -> dict[str, dict[str, Record]]:
    version = TariffVersion(
        version=1,
        valid_from=0,
        currency="EUR",
        price_per_kwh_milli=0,
        terms=parse(msgspec.yaml.decode(terms), "EUR"),
    )
    return registry(versions=(version,))
