"""Load management.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from enum import StrEnum

from libs.events.record import NestedRecord, Record


class EvseObserved(Record, frozen=True, kw_only=True):
    """What load management needs to know of an EVSE, keyed by site."""

    site_id: str
    station_id: str
    evse_id: int
    transaction_id: str | None = None
    charging: bool
    current_ma: int | None = None
    max_current_ma: int
    phases: int
    reopened: bool = False
    limit_command_id: str | None = None
    limit_taken: bool | None = None


class StationNews(StrEnum):
    """BOOTED: it started at this site.

    JOINED: operators moved it here. LEFT: away; again with each sign of life while it is at no site,
    and when its last command is through. REFUSED: it said no to its default limit. UNREACHED: a
    command about its default limit ended without its word. UNKNOWN: news of a kind added later.
    """

    BOOTED = "BOOTED"
    JOINED = "JOINED"
    LEFT = "LEFT"
    REFUSED = "REFUSED"
    UNREACHED = "UNREACHED"
    UNKNOWN = "UNKNOWN"


class StationObserved(Record, frozen=True, kw_only=True):
    """What load management needs to know of a station, keyed by site."""

    site_id: str
    station_id: str
    news: StationNews
    firmware_version: str | None = None
    command_id: str | None = None
    other_site_id: str | None = None


class Allocation(NestedRecord, frozen=True, kw_only=True):
    """One EVSE's share."""

    station_id: str
    evse_id: int
    transaction_id: str
    current_ma: int
    drawn_ma: int = 0


class LoadPlanMade(Record, frozen=True, kw_only=True):
    """How a site's limit is shared from now on."""

    site_id: str
    plan_no: int
    limit_ma: int | None = None
    allocations: tuple[Allocation, ...]
    waiting: int
