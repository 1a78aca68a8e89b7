"""Charge records as what was used, and what another version of a tariff makes of that."""

from libs.events.registry import TariffVersion
from libs.events.sessions import CdrIssued
from libs.tariffs.bill import Bill
from libs.tariffs.engine import DriverContract, bill
from libs.tariffs.usage import Interval, Usage, VehicleState


def usage_of(cdr: CdrIssued) -> Usage:
    """What a record's bill was made from."""
    starts = (cdr.started_at, *(each.to_at for each in cdr.intervals))
    return tuple(
        Interval(start, each.to_at, each.energy_wh, VehicleState(each.kind))
        for start, each in zip(starts, cdr.intervals, strict=False)
    )


def billed(cdr: CdrIssued, usage: Usage, version: TariffVersion) -> Bill:
    """What `usage` of the record's session would cost by `version`, by the clock of its site, for its driver's group.

    What was left of a bundle then is not on the record: as much is taken for it as the session took, or all of it if it
    took none. Raises ValueError for a usage with gaps, ZoneInfoNotFoundError for a clock that is not known.
    """
    contract = DriverContract(group_id=cdr.group_id, prepaid_left_wh=cdr.prepaid_wh or None)
    return bill(usage, version, cdr.timezone or "UTC", contract=contract)
