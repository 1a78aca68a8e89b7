"""Firmware campaigns.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from enum import StrEnum

from libs.events.record import Record


class DefineCampaign(Record, frozen=True, kw_only=True):
    """Start a firmware campaign. event_id equals campaign_id."""

    campaign_id: str
    name: str
    target_version: str
    location: str
    stations: tuple[str, ...]
    requested_by: str
    deadline: int


class UpdateStationFirmware(Record, frozen=True, kw_only=True):
    """One station's part of a campaign."""

    station_id: str
    campaign_id: str
    target_version: str
    location: str
    deadline: int


class StationUpdateStatus(StrEnum):
    """REQUESTED: command asked for.

    DOWNLOADING, INSTALLING: the station says so. INSTALLED: proved by the version reported at boot.
    FAILED: refused, failed or out of time. UNKNOWN: a status added later.
    """

    REQUESTED = "REQUESTED"
    DOWNLOADING = "DOWNLOADING"
    INSTALLING = "INSTALLING"
    INSTALLED = "INSTALLED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"


class StationUpdateProgressed(Record, frozen=True, kw_only=True):
    """A station's progress in a campaign."""

    campaign_id: str
    station_id: str
    status: StationUpdateStatus
    detail: str = ""
    firmware_version: str = ""


class CampaignProgressed(Record, frozen=True, kw_only=True):
    """A campaign's counts after a change."""

    campaign_id: str
    name: str
    target_version: str
    total: int
    pending: int
    installed: int
    failed: int
    finished: bool
