"""Load management.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from libs.events.record import Part, Record


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


class Allocation(Part, frozen=True, kw_only=True):
    """One EVSE's share."""

    station_id: str
    evse_id: int
    transaction_id: str
    current_ma: int


class LoadPlanMade(Record, frozen=True, kw_only=True):
    """How a site's limit is shared from now on."""

    site_id: str
    plan_no: int
    limit_ma: int | None = None
    allocations: tuple[Allocation, ...]
    waiting: int
