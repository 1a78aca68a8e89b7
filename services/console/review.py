"""Sessions in review: what each decision would make of the charge record."""

import msgspec

from libs.events.decisions import Decision
from libs.events.registry import TariffRegistered
from libs.events.sessions import CdrIssued
from libs.tariffs.bill import Bill
from libs.tariffs.records import billed
from services.sessions.audit.preview import under_decision


class Ruled(msgspec.Struct, frozen=True):
    """The record as it is and as it would be. `bill`: None if nothing can be said of it, or nothing is charged."""

    record: CdrIssued
    decision: Decision
    billed_wh: int
    written_off_wh: int
    bill: Bill | None


def ruled(
    record: CdrIssued, decision: Decision, billed_wh: int | None, tariff: TariffRegistered | None
) -> Ruled | None:
    """What the decision would make of the record, by the version of the tariff that it was billed by.

    None if the record does not show what it was made from.
    """
    found = under_decision(record, decision, billed_wh)
    if found is None:
        return None
    versions = () if tariff is None else tariff.versions
    version = next((each for each in versions if each.version == record.tariff_version), None)
    bill = None
    if version is not None and decision is not Decision.WRITE_OFF:
        bill = billed(record, found.usage, version)
    return Ruled(record, decision, found.billed_wh, found.written_off_wh, bill)
