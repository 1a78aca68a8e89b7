"""How long sessions are kept to be decided about, and how forgotten ones are recalled."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from libs.events.decisions import (
    SessionDecisionConcluded,
)
from libs.events.sessions import CdrCredited
from services.sessions.domain import decisions
from services.sessions.domain.decisions import SHAPES
from services.sessions.domain.rules import REMEMBER, REMEMBER_HELD
from services.sessions.domain.session import Session
from services.sessions.domain.station import MOST_HELD
from tests.unit.sessions.decided import (
    balanced,
    conclusion,
    decide,
    decided,
    implausible,
    recalled,
    told_recall,
)
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, SECOND, meter16, start16, stop16
from tests.unit.sessions.given import Told, kinds
from tests.unit.states.golden import released

RELEASED = released()


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
