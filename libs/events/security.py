"""What operators ought to look at.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from enum import StrEnum

from libs.events.record import Record


class SecurityAlertKind(StrEnum):
    """UNKNOWN: one that was added later."""

    REPORTED_BY_STATION = "REPORTED_BY_STATION"
    ADDRESS_CHANGED = "ADDRESS_CHANGED"
    DISPLACED = "DISPLACED"
    MANY_COMMANDS = "MANY_COMMANDS"
    UNKNOWN = "UNKNOWN"


class SecurityAlertRaised(Record, frozen=True, kw_only=True):
    """Something about a station that an operator ought to look at. cause_id: the record that gave the occasion."""

    station_id: str
    kind: SecurityAlertKind
    detail: str = ""
    event_type: str = ""
    tech_info: str | None = None
    remote_address: str = ""
    former_address: str = ""
    count: int = 1
    requested_by: str = ""
