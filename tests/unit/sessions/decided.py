"""Sessions in review, and decisions about them."""

from __future__ import annotations

from typing import Any

import msgspec

from libs.events.decisions import (
    Decision,
    SessionDecided,
    SessionDecisionConcluded,
    SessionEvidenceRecalled,
    SessionRecalled,
)
from libs.events.ids import derive_id
from libs.events.record import Record
from libs.events.sessions import CdrIssued
from libs.events.topics import BILLING_DECISIONS, SESSIONS_EVIDENCE
from services.sessions.domain.decisions import Ruling, evidence_of
from services.sessions.domain.session import Session
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, STATION, meter16, start16, stop16
from tests.unit.sessions.given import Told


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
