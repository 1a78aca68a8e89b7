"""The command ledger's requests, dispatches and fates.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from enum import StrEnum
from typing import Final

from libs.events.ocpp_log import CallError
from libs.events.record import Record


class CommandDialect(StrEnum):
    """OCPP: sent as it is. VOLTBUS: translated for the charger's version when it is sent. UNKNOWN: one added later."""

    OCPP = "OCPP"
    VOLTBUS = "VOLTBUS"
    UNKNOWN = "UNKNOWN"


class RequestCommand(Record, frozen=True, kw_only=True):
    """Ask the platform to send a command to a charger.

    Event_id is the command id: the same id asked twice is one command.
    """

    station_id: str
    action: str
    payload: str
    dialect: CommandDialect
    requested_by: str
    expires_at: int
    call_timeout_ms: int = 30000
    replaces: str | None = None
    bulk_id: str | None = None


class DispatchCommand(Record, frozen=True, kw_only=True):
    """The router tells the edge processes of one slot to send a CALL.

    Ignored by those that do not hold the charger.
    """

    station_id: str
    command_id: str
    slot: int
    connection_epoch: int
    attempt: int
    action: str
    payload: str
    send_by: int
    call_timeout_ms: int


class AnswerCall(Record, frozen=True, kw_only=True):
    """Tell the edge that holds a charger how to answer a CALL that it recorded as pending.

    Cause_id is the OcppCallReceived.
    """

    station_id: str
    slot: int
    connection_epoch: int
    message_id: str
    action: str
    answer: str | None = None
    error: CallError | None = None


class Fate(StrEnum):
    """ACCEPTED, REJECTED: the charger's word.

    FAILED: the charger answered with an error, or the command cannot be sent to it. EXPIRED: never
    sent. UNKNOWN: sent, and the socket died or the charger stayed silent.
    """

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


TOO_MANY_WAITING: Final = "too many waiting"
"""How the reason of a command begins for which there was no room to wait."""


class CommandConcluded(Record, frozen=True, kw_only=True):
    """A command's one fate."""

    station_id: str
    command_id: str
    action: str
    dialect: CommandDialect
    fate: Fate
    reason: str
    result: str | None = None
    error: CallError | None = None
    requested_at: int
    requested_by: str
    attempts: int
    degraded: str | None = None

    @property
    def subject(self) -> str:
        """The action."""
        return self.action
