"""What a bulk command is told of the fate of one of its commands."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from libs.events.bulk import BulkStationProgressed, BulkStationStatus
from libs.events.commands import CommandConcluded, Fate
from libs.events.ids import derive_id

_STATUS_OF: Final[Mapping[Fate, BulkStationStatus]] = MappingProxyType(
    {
        Fate.ACCEPTED: BulkStationStatus.ACCEPTED,
        Fate.REJECTED: BulkStationStatus.REJECTED,
        Fate.FAILED: BulkStationStatus.FAILED,
        Fate.EXPIRED: BulkStationStatus.TIMED_OUT,
        Fate.UNKNOWN: BulkStationStatus.TIMED_OUT,
    }
)


def station_told(bulk_id: str, concluded: CommandConcluded) -> BulkStationProgressed:
    """The station's part in the bulk command, now that its command has a fate."""
    return BulkStationProgressed(
        event_id=derive_id(concluded.event_id, "bulk"),
        occurred_at=concluded.occurred_at,
        recorded_at=concluded.recorded_at,
        cause_id=concluded.event_id,
        bulk_id=bulk_id,
        station_id=concluded.station_id,
        status=_STATUS_OF[concluded.fate],
        command_id=concluded.command_id,
        reason=concluded.reason,
    )
