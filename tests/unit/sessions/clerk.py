"""Records of sessions and charges in a billing clerk's words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from libs.events.decisions import SessionDecisionConcluded
from libs.events.plans import PlanMonthCharged
from libs.events.record import Record
from libs.events.sessions import CdrCredited, CdrIssued, CdrLine, SessionCorrected, SessionEnded
from libs.tariffs.currency import minor_digits

Clock = Callable[[int], str]


def told_by(records: Iterable[Record], clock: Clock, detailed: bool) -> Iterator[str]:
    """What the records say that matters on a bill; `detailed`: with the lines of charges."""
    review: tuple[str, ...] = ()
    for record in records:
        match record:
            case SessionEnded() | SessionCorrected():
                review = record.review
                yield session(record, clock)
            case CdrIssued():
                doubts = sorted(set(record.review) - set(review))
                yield charge(record) + (f"; review: {', '.join(doubts)}" if doubts else "")
                if detailed:
                    yield from (line(each, record.currency or "EUR") for each in record.lines)
            case CdrCredited():
                yield f"credit note over {record.transaction_id} version {record.version}: {amounts(record)}"
            case PlanMonthCharged():
                fee = money(record.amount_minor, record.currency)
                used = f"{record.used_wh} of {record.bundle_wh} Wh used"
                yield f"fee of {record.group_id} for {record.month}: {used}, {fee} {record.currency}"
            case SessionDecisionConcluded():
                yield f"decision {'applied' if record.applied else f'refused: {record.detail}'}"
            case _:
                pass


def session(record: SessionEnded | SessionCorrected, clock: Clock) -> str:
    name = "ended" if isinstance(record, SessionEnded) else f"corrected ({record.version})"
    by = f" by {record.reason}" if record.reason else ""
    start, stop = (("?" if wh is None else wh) for wh in (record.meter_start_wh, record.meter_stop_wh))
    energy = f"{record.energy_wh} Wh = {record.billed_wh} billed + {record.review_wh} in review"
    energy += f" + {record.written_off_wh} written off" if record.written_off_wh else ""
    energy += f", {record.exported_wh} Wh given back" if record.exported_wh else ""
    parts = [
        f"session {record.transaction_id} (EVSE {record.evse_id}, {record.id_token or 'no tag'}) {name}: "
        f"{clock(record.started_at)} to {clock(record.ended_at)}{by}, register {start} to {stop}, {energy}",
        f"{record.charging_s} s charging, {record.suspended_s} s suspended, {record.idle_s} s idle",
        f"review: {', '.join(record.review) or 'none'}",
    ]
    if record.quirks:
        parts.append(f"flags: {', '.join(record.quirks)}")
    if record.signed:
        parts.append(f"signed by {len(record.signed)} messages")
    if record.token_refusal:
        parts.append(f"token answered {record.token_refusal}")
    if record.decided_by is not None:
        parts.append(f"decided by {record.decided_by}")
    return "; ".join(parts)


def charge(record: CdrIssued) -> str:
    tariff = "no tariff" if record.tariff_id is None else f"{record.tariff_id} {record.tariff_version}"
    group = f" for {record.group_id}" if record.group_id else ""
    return f"charge {record.transaction_id} version {record.version} by {tariff}{group}: {amounts(record)}"


def amounts(record: CdrIssued | CdrCredited) -> str:
    currency = record.currency
    if currency is None:
        return f"{record.billed_wh} Wh, no price"
    gross = f"{money(record.amount_minor, currency)} {currency}"
    if record.tax_minor:
        net, tax = money(record.net_minor, currency), money(record.tax_minor, currency)
        gross = f"{net} + {tax} tax = {gross}"
    prepaid = f", {record.prepaid_wh} prepaid" if record.prepaid_wh else ""
    return f"{record.billed_wh} Wh{prepaid}, {gross}"


def line(each: CdrLine, currency: str) -> str:
    price = f"{Decimal(each.price_milli).scaleb(-minor_digits(currency) - 3).normalize():f}"
    used = "" if each.unit == "session" else f" {each.quantity} {each.unit} at {price} ="
    tax = f" + {money(each.tax_minor, currency)} tax" if each.tax_minor else ""
    return f"- {each.kind}:{used} {money(each.net_minor, currency)}{tax}"


def money(minor: int, currency: str) -> str:
    digits = minor_digits(currency)
    return f"{Decimal(minor).scaleb(-digits):.{digits}f}"
