"""Bulk commands: one request, one command to each of many stations.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from enum import StrEnum
from typing import Final

from libs.events.commands import CommandDialect
from libs.events.record import NestedRecord, Record


class BulkMessage(NestedRecord, frozen=True, kw_only=True):
    """What a station is sent."""

    action: str
    payload: str
    dialect: CommandDialect
    version: str = ""


class BulkTarget(NestedRecord, frozen=True, kw_only=True):
    """A station that was chosen. `message`: -1 if none is for it. `skipped`: 0, or why it is, counted from 1."""

    station_id: str
    message: int
    skipped: int = 0


class RequestBulkCommand(Record, frozen=True, kw_only=True):
    """Send one command to each of many stations, a few at a time.

    Event_id equals bulk_id: the same id asked twice is one bulk command.
    """

    bulk_id: str
    requested_by: str
    reason: str
    selection: str = ""
    messages: tuple[BulkMessage, ...]
    stations: tuple[BulkTarget, ...]
    skip_reasons: tuple[str, ...] = ()
    concurrency: int
    stop_at_percent: int | None = None
    stop_after: int = 10
    ttl_ms: int
    call_timeout_ms: int = 30000


class BulkAction(StrEnum):
    """STOP: ask no further stations. RESUME: go on after a stop.

    RETRY: ask again the stations that are through and did not accept. UNKNOWN: added later.
    """

    STOP = "STOP"
    RESUME = "RESUME"
    RETRY = "RETRY"
    UNKNOWN = "UNKNOWN"


class SteerBulkCommand(Record, frozen=True, kw_only=True):
    """Stop a bulk command, let it go on, or ask again all stations that did not accept it."""

    bulk_id: str
    requested_by: str
    reason: str
    action: BulkAction
    skip_reasons: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()


STOPPED_BY: Final = "stopped by "
"""How the reason of a bulk command begins that somebody stopped."""


class BulkStatus(StrEnum):
    """RUNNING: stations wait, or have the command. STOPPED: no further stations are asked.

    FINISHED: every station is through. UNKNOWN: added later.
    """

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    FINISHED = "FINISHED"
    UNKNOWN = "UNKNOWN"


class BulkCommandProgressed(Record, frozen=True, kw_only=True):
    """A bulk command's counts after a change."""

    bulk_id: str
    status: BulkStatus
    reason: str
    round: int
    total: int
    waiting: int
    sent: int
    accepted: int
    rejected: int
    failed: int
    timed_out: int
    skipped: int


class BulkStationStatus(StrEnum):
    """WAITING: to be asked again. SENT: the command was handed to the ledger. ACCEPTED, REJECTED: the charger's word.

    FAILED: it answered with an error, or cannot be sent the command. TIMED_OUT: not reached in time, or silent.
    SKIPPED: not asked. UNKNOWN: added later.
    """

    WAITING = "WAITING"
    SENT = "SENT"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    SKIPPED = "SKIPPED"
    UNKNOWN = "UNKNOWN"


class BulkStationProgressed(Record, frozen=True, kw_only=True):
    """A station's part in a bulk command."""

    bulk_id: str
    station_id: str
    status: BulkStationStatus
    command_id: str | None = None
    reason: str = ""
