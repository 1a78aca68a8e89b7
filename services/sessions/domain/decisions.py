"""What operators decide about sessions, and what that makes of the evidence. Pure.

A decision applies to the energy and the doubts that the evidence showed when it was made. If later evidence shows more
energy, the difference goes to review. If it shows less, at most the delivered energy is billed and the rest is written
off. In both cases, and when a new doubt appears, `after_decision` asks an operator to look again.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.bus.message import Emit, Message
from libs.bus.shapes import FormerState, Shapes, grown
from libs.events.decisions import (
    Decision,
    SessionDecided,
    SessionDecisionConcluded,
    SessionEvidenceRecalled,
    SessionRecalled,
)
from libs.events.ids import derive_id
from libs.events.topics import BILLING_DECIDED
from libs.tariffs.usage import Usage, usage_from_readings
from services.sessions.domain.session import Decided, Outcome, Session, kinds, measured, outcome

Ruling = SessionDecided | SessionRecalled | SessionEvidenceRecalled
"""What decides about a session. Recalls of version 0.1.0 hold their evidence themselves."""

FORMER_EVIDENCE: Final[tuple[FormerState[Session], ...]] = (grown("0.1.0", "00bb74a1a18fe518"),)
"""How earlier releases kept a session as evidence that is recalled. Such records are kept for ever."""
SHAPES: Final[Shapes[Session]] = Shapes(Session, FORMER_EVIDENCE)
_UNMARKED: Final = "00bb74a1a18fe518"
"""The shape of evidence in version 0.1.0, which did not tell it."""

AFTER_DECISION: Final = "after_decision"
"""A doubt: the evidence is no longer what was decided about."""

UNKNOWN_SESSION: Final = "unknown_session"
UNKNOWN_DECISION: Final = "unknown_decision"
OTHER_VERSION: Final = "other_version"
STILL_RUNNING: Final = "still_running"
MORE_THAN_DELIVERED: Final = "more_than_delivered"
NO_ENERGY_NAMED: Final = "no_energy_named"
NEWER_KNOWN: Final = "newer_known"
OTHER_SHAPE: Final = "other_shape"
UNREADABLE: Final = "unreadable"
OTHER_SESSION: Final = "other_session"
NO_CHARGE_RECORD: Final = "no_charge_record"

MOST_REMEMBERED: Final = 32
"""Decisions of a station that are recognised when they come again."""


def settled(session: Session) -> tuple[Outcome, Usage]:
    """The result of an ended session under its decision, if there is one, and the usage to be billed.

    Billed, reviewed and written-off energy add up to the delivered energy. The usage is empty if the session is written
    off, or if its token was refused and no operator has decided: not even fees are billed.
    """
    result, usage = outcome(session)
    decision = session.decision
    if decision is None:
        return result, () if result.token_refusal else usage
    known = min(result.energy_wh, decision.energy_wh)
    billed = min(decision.billed_wh, known)
    doubts = set(result.review)
    if result.energy_wh != decision.energy_wh or not doubts.issubset(decision.doubts):
        doubts.add(AFTER_DECISION)
    result = msgspec.structs.replace(
        result,
        billed_wh=billed,
        written_off_wh=known - billed,
        review_wh=result.energy_wh - known,
        review=tuple(sorted(doubts)),
        decision_id=decision.decision_id,
        decided_by=decision.decided_by,
    )
    return result, _share(session, result, usage) if decision.charged else ()


def _share(session: Session, result: Outcome, usage: Usage) -> Usage:
    """`billed_wh`, spread over the session as all delivered energy was."""
    found = measured(session)
    if found is None or not found.delivered_wh:
        return usage
    shares = [(at, wh * result.billed_wh // found.delivered_wh) for at, wh in found.delivered]
    begun = result.started_at
    return usage_from_readings(begun, max(begun, result.ended_at), shares, kinds(session, begun))


def of_driver(session: Session, result: Outcome) -> bool:
    """Whether the group's plan applies: not to a refused token, unless an operator bills the session."""
    if not result.token_refusal:
        return True
    return session.decision is not None and session.decision.charged


def open_to_decision(result: Outcome) -> bool:
    """Whether an operator still has to decide: there are doubts, and no decision that covers them."""
    return bool(result.review) and (result.decision_id is None or AFTER_DECISION in result.review)


def refusal(session: Session | None, record: SessionDecided) -> str:
    """Why the decision cannot be followed; empty if it can."""
    if session is None:
        return UNKNOWN_SESSION
    if not session.over:
        return STILL_RUNNING
    if record.version != session.revision:
        return OTHER_VERSION
    if record.decision is Decision.UNKNOWN:
        return UNKNOWN_DECISION
    return _refused_adjustment(session, record) if record.decision is Decision.ADJUST else ""


def _refused_adjustment(session: Session, record: SessionDecided) -> str:
    if record.billed_wh is None or record.billed_wh < 0:
        return NO_ENERGY_NAMED
    return MORE_THAN_DELIVERED if record.billed_wh > outcome(session)[0].energy_wh else ""


def decided(session: Session, message: Message) -> Session:
    """`session` under the decision in `message`, which nothing speaks against."""
    record = message.record
    assert isinstance(record, SessionDecided)
    result, _ = outcome(session)
    billed = {Decision.ACCEPT: result.energy_wh, Decision.WRITE_OFF: 0}
    decision = Decided(
        decision_id=record.event_id,
        decided_by=record.decided_by,
        charged=record.decision is not Decision.WRITE_OFF,
        energy_wh=result.energy_wh,
        billed_wh=billed.get(record.decision, record.billed_wh or 0),
        doubts=result.review,
        partition=message.partition,
        offset=message.offset,
    )
    return msgspec.structs.replace(
        session, decision=decision, recorded_at=record.recorded_at, cause_id=record.event_id
    )


def decision_id(record: Ruling) -> str:
    """The id of a decision, or of a recall, whichever record brings it."""
    return record.cause_id if isinstance(record, SessionEvidenceRecalled) else record.event_id


def evidence_of(recall: SessionRecalled, session: Session) -> SessionEvidenceRecalled:
    """`session` as the evidence that goes with `recall`."""
    return SessionEvidenceRecalled(
        event_id=derive_id(recall.event_id, "evidence"),
        occurred_at=recall.occurred_at,
        recorded_at=recall.recorded_at,
        cause_id=recall.event_id,
        station_id=recall.station_id,
        session_id=recall.session_id,
        evidence=msgspec.msgpack.encode(session),
        shape=SHAPES.current,
        corrected=recall.corrected,
    )


def recalled(
    known: Session | None, record: SessionRecalled | SessionEvidenceRecalled, *, waits: bool = False
) -> tuple[Session | None, str]:
    """The session as it is to be kept, or None and why what is known stays.

    Recalled evidence takes the place of what is known of a closed session if it comes from as much of the log, and
    goes with the same charge record; not while that `waits` to be issued. What was charged and decided is then what is
    known here, unless nothing is. Evidence of a shape that this version does not read changes nothing: the version that
    runs has to recall it. Nor does what is no evidence of that session with a charge record.
    """
    shape = record.shape if isinstance(record, SessionEvidenceRecalled) else _UNMARKED
    if shape not in SHAPES:
        return None, OTHER_SHAPE
    try:
        evidence = SHAPES.decode(record.evidence, shape)
    except ValueError:
        return None, UNREADABLE
    if why := _no_evidence(evidence, known, record.session_id):
        return None, why
    if waits:
        # It may have had to make room for later ones, and its next charge record is still to come.
        return None, NEWER_KNOWN
    if known is not None:
        if evidence.revision != known.revision or evidence.last_offset < known.last_offset:
            return None, NEWER_KNOWN
        evidence = msgspec.structs.replace(
            evidence,
            issued=known.issued,
            timezone=known.timezone if known.site_id == evidence.site_id else evidence.timezone,
            decision=known.decision or evidence.decision,
            group_id=known.group_id,
            asked=known.asked,
            grant=known.grant,
        )
    return (
        msgspec.structs.replace(
            evidence, held=True, recorded_at=record.recorded_at, cause_id=decision_id(record)
        ),
        "",
    )


def _no_evidence(evidence: Session, known: Session | None, session_id: str) -> str:
    """Why it cannot take the place of what is `known` of the session; empty if it may."""
    if evidence.session_id != session_id:
        return OTHER_SESSION
    if not evidence.over or evidence.issued is None:
        return NO_CHARGE_RECORD
    return STILL_RUNNING if known is not None and not known.over else ""


def concluded(record: Ruling, detail: str, version: int) -> Emit:
    """What became of a decision: `detail` says why it was refused, `version` is that of the charge record now."""
    return Emit(
        BILLING_DECIDED,
        record.station_id,
        SessionDecisionConcluded(
            event_id=derive_id(decision_id(record), "concluded"),
            occurred_at=record.occurred_at,
            recorded_at=record.recorded_at,
            cause_id=decision_id(record),
            station_id=record.station_id,
            session_id=record.session_id,
            decision_id=decision_id(record),
            applied=not detail,
            detail=detail,
            version=version,
        ),
    )
