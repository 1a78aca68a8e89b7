"""A charge record in words, for whoever has to answer for the bill. Pure: the same record gives the same text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from libs.events.sessions import CdrIssued, CdrLine, CdrSource
from libs.events.tariffs import DriverPlan, RoundingScope, TariffTerms
from libs.ocpp.semantics.received_calls import zone_named
from libs.runtime.clock import SECOND
from libs.tariffs.amounts import kwh, money, price
from libs.tariffs.bill import Bill, LineKind
from libs.tariffs.currency import minor_digits
from libs.tariffs.documents import render
from libs.tariffs.engine import terms_of
from services.sessions.audit.checks import (
    Check,
    Document,
    Priced,
    changes,
    exact_minor,
    recomputed,
    segments,
)

REASONS: Final = {
    "no_meter": "the station sent no registers at all",
    "no_meter_start": "there is no register at the start; the first one that was read stands in for it",
    "no_meter_stop": "there is no register at the end; the last one that was read stands in for it",
    "no_start": "the start was never told; the first evidence stands in for it",
    "no_stop": "the end was never told; a rule closed the session",
    "endless": "the session went on for months without effect; a rule closed it",
    "stop_conflict": "the station told two ends with different registers; the first counts",
    "clock_doubt": "the station's clock could not be read (the time of receipt stands in for it), or cannot be right",
    "meter_rollback": "the register fell back",
    "implausible_energy": "more energy than the connector can deliver in the time",
    "not_authorized": "the station was answered that this token may not charge",
    "no_tariff": "no tariff was in force at the site",
    "after_decision": "evidence came after an operator had decided",
}
"""What `review` names, in words; others are shown as they are."""

_KINDS: Final = {
    LineKind.PREPAID: "prepaid: out of the month's bundle",
    LineKind.GRACE: "grace: the first {grace} of idling cost nothing",
    LineKind.ENERGY_STEP: "rounded up to the step of the price",
    LineKind.TIME_STEP: "rounded up to the step of the price",
    LineKind.PARKING_TIME_STEP: "rounded up to the step of the price",
    LineKind.DISCOUNT: "discount: {discount} % for group {group}",
    LineKind.MINIMUM: "minimum: a session costs {minimum} at least",
    LineKind.MAXIMUM: "maximum: a session costs {maximum} at most",
    LineKind.ROUNDING: "rounded to a multiple of {increment}",
}
_PER: Final = {"Wh": "kWh", "s": "h", "session": "session", "month": "month"}
_WIDTH: Final = 12


class Clock:
    """Moments as the site's clock shows them."""

    def __init__(self, zone: str | None) -> None:
        self._zone = zone_named(zone)
        self.name = getattr(self._zone, "key", "UTC")

    def full(self, at: int) -> str:
        """Date and time."""
        return self._at(at).strftime("%Y-%m-%d %H:%M:%S")

    def time(self, at: int) -> str:
        """Time of day."""
        return self._at(at).strftime("%H:%M:%S")

    def _at(self, at: int) -> datetime:
        return datetime.fromtimestamp(at // SECOND, self._zone)


def explained(
    cdr: CdrIssued, documents: Sequence[Document], found: Sequence[Check], priced: Priced | None
) -> Iterator[str]:
    """The lines of the explanation. `documents`: all of the session, in the order of issue; `found`: the checks."""
    clock = Clock(cdr.timezone if priced is None else priced.zone)
    last = max(each.version for each in documents)
    yield f"charge record {cdr.cdr_id}, version {cdr.version} of {last}, issued {clock.full(cdr.recorded_at)}"
    yield _to_pay(cdr)
    yield from _session(cdr, clock)
    yield from _meter(cdr, clock)
    yield from _energy(cdr)
    made = None if priced is None or cdr.tariff_id is None else recomputed(cdr, priced)
    if priced is not None and cdr.tariff_id is not None:
        yield from _tariff(cdr, priced, clock)
    yield from _bill(cdr, made, priced, clock)
    yield from _documents(documents, clock)
    yield from _checks(found)


def query_of(source: CdrSource, station_id: str) -> str:
    """The query for the messages themselves, as the station sent them."""
    table = source.topic.replace(".", "_")
    quoted = station_id.replace("\\", "\\\\").replace("'", "\\'")
    return (
        f"SELECT * FROM {table} FINAL"  # noqa: S608
        f" WHERE station_id = '{quoted}' AND _partition = {source.partition}"
        f" AND _offset BETWEEN {source.first_offset} AND {source.last_offset} ORDER BY _offset"
    )


def _to_pay(cdr: CdrIssued) -> str:
    if cdr.currency is None:
        return "no amount: no tariff was in force"
    amount, net, tax = (
        money(each, cdr.currency) for each in (cdr.amount_minor, cdr.net_minor, cdr.tax_minor)
    )
    return f"to pay: {amount} = {net} net + {tax} tax"


def _session(cdr: CdrIssued, clock: Clock) -> Iterator[str]:
    yield ""
    yield "session"
    group = f", group {cdr.group_id}" if cdr.group_id else ""
    length = timedelta(seconds=cdr.ended_at // SECOND - cdr.started_at // SECOND)
    times = (cdr.charging_s, cdr.suspended_s, cdr.idle_s)
    charging, suspended, idle = (str(timedelta(seconds=each)) for each in times)
    yield from _pairs(
        ("id", f"{cdr.session_id}, transaction {cdr.transaction_id}"),
        ("where", f"station {cdr.station_id}, EVSE {cdr.evse_id}, site {cdr.site_id or 'none'}"),
        ("who", f"token {cdr.id_token}{group}" if cdr.id_token else ""),
        ("answered", cdr.token_refusal),
        ("from", f"{clock.full(cdr.started_at)} ({clock.name})"),
        ("to", f"{clock.full(cdr.ended_at)}, after {length}"),
        ("time", f"{charging} charging, {suspended} suspended, {idle} idle"),
        ("ended by", cdr.reason),
        ("bent", ", ".join(cdr.quirks)),
    )


def _meter(cdr: CdrIssued, clock: Clock) -> Iterator[str]:
    yield ""
    yield "meter"
    found = segments(cdr)
    before = None
    for each in found:
        if before is not None:
            yield f"  then it fell by {kwh(before - each.from_wh)} kWh: a new segment begins"
        rise = kwh(each.to_wh - each.from_wh)
        yield (
            f"  {clock.time(each.from_at)} {kwh(each.from_wh)} kWh to {clock.time(each.to_at)} {kwh(each.to_wh)} kWh:"
            f" rose by {rise} kWh ({each.readings} registers)"
        )
        before = each.to_wh
    if not found:
        yield "  no registers were read"
    if cdr.max_power_w is not None:
        yield f"  judged by a connector of {Decimal(cdr.max_power_w) / 1000:f} kW"
    if cdr.signed:
        yield f"  signed meter values are in the records {', '.join(cdr.signed)}"
    for source in cdr.sources:
        yield (
            f"  from {source.topic}, partition {source.partition}, offsets {source.first_offset} to"
            f" {source.last_offset}:"
        )
        yield f"    {query_of(source, cdr.station_id)}"


def _energy(cdr: CdrIssued) -> Iterator[str]:
    yield ""
    yield "energy"
    decided = f"decided by {cdr.decided_by} (decision {cdr.decision_id})" if cdr.decision_id else ""
    rows = [
        (cdr.energy_wh, "delivered by the meter"),
        (cdr.billed_wh, f"billed, {decided}" if decided else "billed"),
        (cdr.review_wh, "in review: not billed until an operator decides"),
        (cdr.written_off_wh, "written off: never billed"),
        (cdr.exported_wh, "given back by the vehicle, not part of the above"),
    ]
    yield from (
        f"  {kwh(wh):>{_WIDTH}} kWh {words}" for index, (wh, words) in enumerate(rows) if wh or index < 2
    )
    for reason in cdr.review:
        yield f"  {reason}: {REASONS[reason]}" if reason in REASONS else f"  {reason}"


def _tariff(cdr: CdrIssued, priced: Priced, clock: Clock) -> Iterator[str]:
    terms = terms_of(priced.version)
    taxed = "with" if terms.tax_included else "without"
    since = f", since {clock.full(priced.version.valid_from)}" if priced.version.valid_from else ""
    yield ""
    yield f"tariff {cdr.tariff_id}, version {cdr.tariff_version}{since}; prices {taxed} tax"
    written = render(terms, priced.version.currency)
    for number, element in enumerate(written["elements"]):
        parts = [_component(each, priced.version.currency) for each in element["price_components"]]
        when = _words(element.get("restrictions") or {})
        yield f"  element {number}: {', '.join(parts)}{f' where {when}' if when else ''}"
    for each in terms.taxes:
        yield f"  {each.name} {_percent(each.rate_milli)} %"
    rest = {
        name: value
        for name, value in written.items()
        if name not in ("elements", "plans", "taxes", "tax_included", "rounding")
    }
    if rest:
        yield f"  {_words(rest)}"
    plan = _plan(terms, cdr.group_id)
    if plan is not None:
        own = next(each for each in written["plans"] if each["group_id"] == cdr.group_id)
        yield f"  plan of group {cdr.group_id}: {_words({n: v for n, v in own.items() if n != 'group_id'})}"


def _component(written: dict[str, Any], currency: str) -> str:
    unit = {"ENERGY": "kWh", "FLAT": "session"}.get(written["type"], "hour")
    more = {name: value for name, value in written.items() if name not in ("type", "price")}
    return f"{written['type']} {written['price']} {currency} per {unit}{f' ({_words(more)})' if more else ''}"


def _words(fields: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {'/'.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for name, value in fields.items()
    )


def _bill(cdr: CdrIssued, made: Bill | None, priced: Priced | None, clock: Clock) -> Iterator[str]:
    if cdr.currency is None:
        return
    yield ""
    yield "bill"
    for number, line in enumerate(cdr.lines, 1):
        element = None if made is None else made.lines[number - 1].element
        yield f"  {number}. {_line(line, element, cdr, priced)}"
        amounts = (line.net_minor, line.tax_minor, line.amount_minor)
        net, tax, gross = (money(each, cdr.currency) for each in amounts)
        when = (
            f"{clock.time(line.from_at)} to {clock.time(line.to_at)}: " if line.to_at > line.from_at else ""
        )
        yield f"     {when}{net} net + {tax} tax = {gross}"
    for each in cdr.taxes:
        yield (
            f"  {each.name} {_percent(each.rate_milli)} % on {money(each.net_minor, cdr.currency)}:"
            f" {money(each.tax_minor, cdr.currency)}"
        )
    if priced is not None:
        yield f"  {_rounding(terms_of(priced.version))}"
    net, tax, gross = (money(each, cdr.currency) for each in (cdr.net_minor, cdr.tax_minor, cdr.amount_minor))
    yield f"  together {net} net + {tax} tax = {gross}"


def _line(line: CdrLine, element: int | None, cdr: CdrIssued, priced: Priced | None) -> str:
    currency = cdr.currency or ""
    name = line.kind.replace("_", " ")
    words = _KINDS.get(LineKind(line.kind))
    if words is not None:
        name = words if priced is None else words.format(**_limits(terms_of(priced.version), cdr))
    exact = exact_minor(line)
    if exact is None:
        return name
    by = (
        f" by element {element}"
        if element is not None
        else ""
        if line.price_milli or words
        else ", no price: free"
    )
    return (
        f"{name}{by}: {_quantity(line)} x {price(line.price_milli, currency)} per {_PER[line.unit]}"
        f" = {_exact(exact, currency)}"
    )


def _limits(terms: TariffTerms, cdr: CdrIssued) -> dict[str, str]:
    plan = _plan(terms, cdr.group_id)
    currency = cdr.currency or ""

    def amount(minor: int | None) -> str:
        return "" if minor is None else money(minor, currency)

    own = None if plan is None else plan.max_price_minor
    limits = [each for each in (terms.max_price_minor, own) if each is not None]
    return {
        "grace": str(timedelta(seconds=terms.idle_grace_s)),
        "discount": "" if plan is None else _percent(plan.discount_milli),
        "group": cdr.group_id or "",
        "minimum": amount(terms.min_price_minor),
        "maximum": amount(min(limits, default=None)),
        "increment": amount(terms.rounding_increment_minor),
    }


def _plan(terms: TariffTerms, group_id: str | None) -> DriverPlan | None:
    return next((plan for plan in terms.plans if plan.group_id == group_id), None)


def _quantity(line: CdrLine) -> str:
    if line.unit == "Wh":
        return f"{kwh(line.quantity)} kWh"
    if line.unit == "s":
        return str(timedelta(seconds=line.quantity))
    return str(line.quantity)


def _exact(minor: Fraction, currency: str) -> str:
    """An amount before it is rounded, in the major unit; shortened after eight decimals."""
    major = minor / 10 ** minor_digits(currency)
    shown = Decimal(major.numerator) / Decimal(major.denominator)
    text = f"{shown.quantize(Decimal(1).scaleb(-8)).normalize():f}"
    return text if Fraction(text) == major else f"{text}..."


def _rounding(terms: TariffTerms) -> str:
    what = "the total is" if terms.rounding_scope is RoundingScope.TOTAL else "each line is"
    return f"{what} rounded to the minor unit, {terms.rounding_mode.value.lower().replace('_', ' ')}"


def _percent(milli: int) -> str:
    return f"{(Decimal(milli) / 1000).normalize():f}"


def _documents(documents: Sequence[Document], clock: Clock) -> Iterator[str]:
    yield ""
    yield "documents"
    before: CdrIssued | None = None
    for each in documents:
        amount = money(each.amount_minor, each.currency) or "no amount"
        kind = "version" if isinstance(each, CdrIssued) else "credit note over version"
        yield (
            f"  {clock.full(each.recorded_at)} {kind} {each.version}: {kwh(each.billed_wh)} kWh billed, {amount},"
            f" hash {each.hash[:16]}"
        )
        if isinstance(each, CdrIssued):
            if before is not None:
                yield from (f"    {_change(*change, clock)}" for change in changes(before, each))
            before = each


def _change(name: str, before: object, after: object, clock: Clock) -> str:
    def shown(value: object) -> str:
        if name in ("started_at", "ended_at") and isinstance(value, int):
            return clock.full(value)
        if isinstance(value, tuple):
            return ", ".join(map(str, value)) or "none"
        return "none" if value in (None, "") else str(value)

    return f"{name}: {shown(before)} -> {shown(after)}"


def _checks(found: Sequence[Check]) -> Iterator[str]:
    yield ""
    yield "checks"
    marks = {True: "ok", False: "WRONG", None: "unknown"}
    yield from (f"  {marks[each.holds]:8} {each.about}: {each.detail}" for each in found)
    wrong, unknown = (sum(each.holds is mark for each in found) for mark in (False, None))
    yield (
        f"{wrong} WRONG"
        if wrong
        else f"{unknown} could not be checked, the rest is verified"
        if unknown
        else "verified"
    )


def _pairs(*pairs: tuple[str, str]) -> Iterator[str]:
    yield from (f"  {name:{_WIDTH}} {value}" for name, value in pairs if value)
