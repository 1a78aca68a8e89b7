"""The raw OCPP log: what chargers said, what they were answered, what was sent to them.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from enum import StrEnum

from libs.events.record import NestedRecord, Record


class CallError(NestedRecord, frozen=True, kw_only=True):
    """An OCPP CALLERROR."""

    code: str
    description: str = ""
    details: str


class OcppCallReceived(Record, frozen=True, kw_only=True):
    """A charger's CALL (or SEND) together with the answer that it was given.

    Published before the answer goes out: an answered call is in the log.
    """

    station_id: str
    connection_epoch: int
    edge_id: str
    version: str
    message_id: str
    action: str
    payload: str
    answer: str | None = None
    error: CallError | None = None
    quirks: tuple[str, ...] = ()
    pending: bool = False
    vendor: str = ""
    model: str = ""
    firmware: str = ""
    slot: int | None = None

    @property
    def subject(self) -> str:
        """The action."""
        return self.action


class AnswerSource(StrEnum):
    """PROCESSOR: an AnswerCall came in time. FALLBACK: none did, the edge answered alone. UNKNOWN: one added later."""

    PROCESSOR = "PROCESSOR"
    FALLBACK = "FALLBACK"
    UNKNOWN = "UNKNOWN"


class OcppCallAnswered(Record, frozen=True, kw_only=True):
    """The answer to a charger's CALL that was recorded as pending; cause_id is the OcppCallReceived.

    Published before the answer goes out.
    """

    station_id: str
    connection_epoch: int
    edge_id: str
    version: str
    message_id: str
    action: str
    answer: str | None = None
    error: CallError | None = None
    source: AnswerSource

    @property
    def subject(self) -> str:
        """The action."""
        return self.action


class CallOutcome(StrEnum):
    """How the CALL ended. UNKNOWN: in a way added later."""

    RESULT = "RESULT"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    CONNECTION_LOST = "CONNECTION_LOST"
    UNKNOWN = "UNKNOWN"


class OcppCallSent(Record, frozen=True, kw_only=True):
    """A CALL was written to a charger's socket, and what became of it. cause_id is the DispatchCommand."""

    station_id: str
    connection_epoch: int
    edge_id: str
    command_id: str
    version: str
    message_id: str
    action: str
    payload: str
    outcome: CallOutcome
    result: str | None = None
    error: CallError | None = None
    sent_at: int
    round_trip_us: int

    @property
    def subject(self) -> str:
        """The action."""
        return self.action


class RefusalReason(StrEnum):
    """NOT_HERE: that connection is not here any more.

    TOO_LATE: send_by had passed. INVALID: the payload breaks the version's schema.
    """

    NOT_HERE = "NOT_HERE"
    TOO_LATE = "TOO_LATE"
    INVALID = "INVALID"


class DispatchRefused(Record, frozen=True, kw_only=True):
    """An edge did not send a CALL that was dispatched to it. cause_id is the DispatchCommand."""

    station_id: str
    connection_epoch: int
    edge_id: str
    command_id: str
    slot: int
    reason: RefusalReason
    detail: str = ""


class ConnectionOpened(Record, frozen=True, kw_only=True):
    """A charger's websocket was accepted. event_id names the connection."""

    station_id: str
    connection_epoch: int
    edge_id: str
    slot: int
    version: str
    remote_address: str
    registered: bool
    security_profile: int = 0


class ConnectionClosed(Record, frozen=True, kw_only=True):
    """A charger's websocket is gone. cause_id is the ConnectionOpened record."""

    station_id: str
    connection_epoch: int
    edge_id: str
    code: int
    reason: str
    opened_at: int


class FrameRejected(Record, frozen=True, kw_only=True):
    """A frame from a charger that could not be taken as a valid OCPP message."""

    station_id: str
    connection_epoch: int
    edge_id: str
    version: str
    message_id: str | None = None
    action: str | None = None
    code: str
    reason: str
    frame: str
    frame_bytes: int
    answered: bool


class ConnectionRefused(Record, frozen=True, kw_only=True):
    """Handshakes refused for one station identity, address and reason, counted together."""

    station_id: str
    edge_id: str
    remote_address: str
    reason: str
    http_status: int
    count: int
    first_at: int


class StationLocated(Record, frozen=True, kw_only=True):
    """Where a charger's socket is: the compacted directory that the router reads."""

    station_id: str
    edge_id: str
    slot: int
    connection_epoch: int
    version: str
    connected: bool
    security_profile: int = 0
    remote_address: str = ""
