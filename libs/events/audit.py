"""Who did what, and was let or not: the audit trail.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit. How events are chained:
`libs.events.audit_chain`.
"""

from enum import StrEnum

from libs.events.record import NestedRecord, Record


class AuditKind(StrEnum):
    """UNKNOWN: one that was added later."""

    REQUEST = "REQUEST"
    CHAIN_STARTED = "CHAIN_STARTED"
    ANCHOR = "ANCHOR"
    UNKNOWN = "UNKNOWN"


class AuditOutcome(StrEnum):
    """STARTED: what came of it is in a later event of the same request. UNKNOWN: one that was added later."""

    STARTED = "STARTED"
    DONE = "DONE"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class AuditPrincipalKind(StrEnum):
    """NOBODY: who asked is not known. UNKNOWN: a kind that was added later."""

    PERSON = "PERSON"
    KEY = "KEY"
    BOOTSTRAP = "BOOTSTRAP"
    NOBODY = "NOBODY"
    UNKNOWN = "UNKNOWN"


class ChainHead(NestedRecord, frozen=True, kw_only=True):
    """The newest event of a chain that the writer of an anchor had seen."""

    writer_id: str
    sequence: int
    hash: str
    recorded_at: int


class AuditRecorded(Record, frozen=True, kw_only=True):
    """An event of the audit trail, chained to the one before it of the same writer."""

    writer_id: str
    sequence: int
    previous_hash: str = ""
    hash: str = ""
    kind: AuditKind
    service: str = ""
    request_id: str = ""
    outcome: AuditOutcome
    status: int = 0
    principal: str = ""
    principal_kind: AuditPrincipalKind = AuditPrincipalKind.UNKNOWN
    key_id: str = ""
    action: str = ""
    permission: str = ""
    subject_kind: str = ""
    subject_id: str = ""
    organisation_id: str = ""
    command: str = ""
    command_id: str = ""
    reason: str = ""
    address: str = ""
    trace: str = ""
    query: str = ""
    count: int = 1
    detail: str = ""
    heads: tuple[ChainHead, ...] = ()
