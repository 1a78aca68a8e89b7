"""What a decision would make of a charge record, before anybody decides. Pure."""

import msgspec

from libs.events.decisions import Decision
from libs.events.sessions import CdrIssued
from libs.tariffs.usage import Usage, VehicleState, usage_from_readings
from services.sessions.audit.checks import evidence
from services.sessions.domain import session as sessions
from services.sessions.domain.energy import Measured


class Preview(msgspec.Struct, frozen=True):
    """Energy in Wh as it would be split, and the usage that would be billed."""

    billed_wh: int
    written_off_wh: int
    usage: Usage


def under_decision(cdr: CdrIssued, decision: Decision, billed_wh: int | None = None) -> Preview | None:
    """What the record would be made from under this decision; None if its registers do not show the energy it has.

    `billed_wh`: what is billed if the decision is ADJUST, at most the delivered energy.
    """
    if decision is Decision.WRITE_OFF:
        return Preview(0, cdr.energy_wh, ())
    found = _measured(cdr)
    if found is None:
        return None
    wanted = cdr.energy_wh if decision is Decision.ACCEPT else min(billed_wh or 0, cdr.energy_wh)
    delivered = found.delivered_wh or 1
    shares = [(at, wh * wanted // delivered) for at, wh in found.delivered]
    starts = (cdr.started_at, *(each.to_at for each in cdr.intervals))
    kinds = [
        (start, VehicleState(each.kind)) for start, each in zip(starts, cdr.intervals, strict=False)
    ] or sessions.kinds(evidence(cdr, None), cdr.started_at)
    begun = cdr.started_at
    usage = usage_from_readings(begun, max(begun, cdr.ended_at), shares, kinds)
    return Preview(wanted, cdr.energy_wh - wanted, usage)


def _measured(cdr: CdrIssued) -> Measured | None:
    """As the fold had it: with its last register, or ended as the next transaction began."""
    for until in (None, cdr.ended_at):
        found = sessions.measured(evidence(cdr, until))
        if found is not None and found.delivered_wh == cdr.energy_wh:
            return found
    return None
