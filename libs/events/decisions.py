"""What operators decided about sessions in review, and what became of it.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from enum import StrEnum

from libs.events.record import Record


class Decision(StrEnum):
    """ACCEPT: all delivered energy is billed. ADJUST: a part of it. WRITE_OFF: nothing. UNKNOWN: one added later."""

    ACCEPT = "accept"
    ADJUST = "adjust"
    WRITE_OFF = "write_off"
    UNKNOWN = "unknown"


class SessionDecided(Record, frozen=True, kw_only=True):
    """An operator decided what is billed of a session that is in review."""

    station_id: str
    session_id: str
    decision: Decision
    billed_wh: int | None = None
    version: int
    reason: str
    decided_by: str


class SessionRecalled(Record, frozen=True, kw_only=True):
    """A session that had been forgotten was brought back. `evidence`: empty but in records of version 0.1.0."""

    station_id: str
    session_id: str
    evidence: bytes
    reason: str
    decided_by: str
    corrected: bool = False


class SessionEvidenceRecalled(Record, frozen=True, kw_only=True):
    """The evidence that goes with a SessionRecalled, its cause. For the sessions processor alone."""

    station_id: str
    session_id: str
    evidence: bytes
    shape: str
    corrected: bool = False


class SessionDecisionConcluded(Record, frozen=True, kw_only=True):
    """What became of an operator's decision."""

    station_id: str
    session_id: str
    decision_id: str
    applied: bool
    detail: str = ""
    version: int = 0
