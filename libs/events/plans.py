"""Plans of driver groups: what their bundles cover, and what they owe for a month.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from libs.events.ids import derive_id
from libs.events.record import NestedRecord, Record


class PrepaidAsked(Record, frozen=True, kw_only=True):
    """A session under a plan ended, or was corrected: what does the month's bundle cover of it?"""

    station_id: str
    group_id: str
    session_id: str
    revision: int
    tariff_id: str
    tariff_version: int
    month: str
    timezone: str
    bundle_wh: int
    billed_wh: int


class PrepaidGranted(Record, frozen=True, kw_only=True):
    """How much of a session's energy a month's bundle covers."""

    station_id: str
    group_id: str
    session_id: str
    revision: int
    tariff_id: str
    month: str
    billed_wh: int
    granted_wh: int
    closed: bool = False


class PlanTax(NestedRecord, frozen=True, kw_only=True):
    """One tax of a plan's fee."""

    name: str
    rate_milli: int
    net_minor: int
    tax_minor: int


class PlanMonthCharged(Record, frozen=True, kw_only=True):
    """What a driver group owes for a month of a plan, apart from its sessions."""

    group_id: str
    tariff_id: str
    tariff_version: int
    month: str
    from_at: int
    to_at: int
    currency: str
    amount_minor: int
    net_minor: int
    tax_minor: int
    taxes: tuple[PlanTax, ...] = ()
    bundle_wh: int
    used_wh: int
    sessions: int


def withdrawal_id(session_id: str, revision: int) -> str:
    """Id of the question that withdraws the one of the same revision, and gives back what it was granted."""
    return derive_id(session_id, f"prepaid-given-up:{revision}")
