"""Whether a charge record follows from what it says it was made from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final, TypeAlias

import msgspec

from libs.events.cdr_hash import UnknownHashVersionError, digest
from libs.events.record import ENVELOPE
from libs.events.registry import TariffVersion
from libs.events.sessions import CdrCredited, CdrIssued, CdrLine
from libs.ocpp.semantics.received_calls import zone_named
from libs.tariffs.bill import Bill, LineKind
from libs.tariffs.engine import DriverContract, bill, terms_of
from libs.tariffs.records import usage_of
from services.sessions.domain import session as sessions
from services.sessions.domain.curve import Curve, packed
from services.sessions.domain.energy import ROLLBACK_TOLERANCE_WH

Document: TypeAlias = CdrIssued | CdrCredited

_PER: Final = {"Wh": 1_000_000, "s": 3_600_000, "session": 1_000, "month": 1_000}
"""What a quantity at a price in thousandths of a minor unit is to be divided by."""


class Check(msgspec.Struct, frozen=True):
    """Something that was looked at. `holds` None: that could not be told, and `detail` says why."""

    about: str
    holds: bool | None
    detail: str


class Priced(msgspec.Struct, frozen=True):
    """The tariff version that a record names, and the clock of its site."""

    version: TariffVersion
    zone: str


def priced_by(cdr: CdrIssued, versions: Iterable[TariffVersion], timezone: str | None) -> Priced | None:
    """How the record was priced: `versions` of its tariff, `timezone` of its site; None if that version is not there.

    A record says itself by which clock it was priced; those of before say none.
    """
    found = next((each for each in versions if each.version == cdr.tariff_version), None)
    if found is None:
        return None
    return Priced(found, getattr(zone_named(cdr.timezone or timezone), "key", "UTC"))


class Segment(msgspec.Struct, frozen=True):
    """A stretch over which the register did not fall. `readings`: how many there are in it."""

    from_at: int
    from_wh: int
    to_at: int
    to_wh: int
    readings: int


def chosen(documents: Sequence[Document], version: int | None) -> CdrIssued | None:
    """The charge record of that version, or the last one; None if there is none."""
    issued = [each for each in documents if isinstance(each, CdrIssued)]
    if version is not None:
        issued = [each for each in issued if each.version == version]
    return max(issued, key=lambda each: each.version, default=None)


def checks(
    cdr: CdrIssued, documents: Sequence[Document], predecessor: bool | None, priced: Priced | None
) -> list[Check]:
    """Everything that can be checked about a record.

    `documents`: all of its session, in the order of issue. `predecessor`: whether the station's document before it is
    there; None if it is the first one. `priced`: None if the tariff or the site is not there any more.
    """
    return [
        _sealed(cdr),
        _chained(cdr, predecessor),
        *_taken_back(documents),
        _energy(cdr),
        _meters(cdr),
        _intervals(cdr),
        *_lines(cdr),
        _bill(cdr, priced),
    ]


def chain_faults(documents: Sequence[Document]) -> Iterator[str]:
    """What is wrong with a station's whole row of documents, in the order of their issue.

    Raises UnknownHashVersionError for a document whose hash cannot be told here.
    """
    for each in documents:
        if digest(each) != each.hash:
            yield f"{named(each)}: the hash is not that of its content"
    for one, other in pairwise(documents):
        if other.previous_hash != one.hash:
            yield f"{named(other)}: does not follow on {named(one)}"
    if documents and documents[0].previous_hash:
        yield f"{named(documents[0])}: what it follows on is missing"


def named(document: Document) -> str:
    """A document for people."""
    kind = "charge record" if isinstance(document, CdrIssued) else "credit note over"
    return f"{kind} {document.cdr_id} version {document.version}"


def _sealed(cdr: CdrIssued) -> Check:
    try:
        holds = digest(cdr) == cdr.hash
    except UnknownHashVersionError as error:
        return Check("hash", None, str(error))
    return Check("hash", holds, "the hash is that of the content" if holds else "the content was changed")


def _chained(cdr: CdrIssued, predecessor: bool | None) -> Check:
    if predecessor is None:
        return Check("chain", True, "the station's first document")
    words = (
        "the station's document before it is there" if predecessor else "the document before it is missing"
    )
    return Check("chain", predecessor, words)


def _taken_back(documents: Sequence[Document]) -> Iterator[Check]:
    """Every version but the last has one credit note, over exactly what it said."""
    issued = [each for each in documents if isinstance(each, CdrIssued)]
    for each in issued[:-1]:
        notes = [n for n in documents if isinstance(n, CdrCredited) and n.credited_hash == each.hash]
        holds = (
            len(notes) == 1
            and _amounts(notes[0]) == tuple(-amount for amount in _amounts(each))
            and _parties(notes[0]) == _parties(each)
        )
        words = "is taken back by a credit note" if holds else "is not taken back as it was"
        yield Check("credit notes", holds, f"version {each.version} {words}")


def _amounts(document: Document) -> tuple[int, ...]:
    d = document
    energy = (d.energy_wh, d.billed_wh, d.review_wh, d.written_off_wh, d.prepaid_wh, d.exported_wh)
    return (d.amount_minor, d.net_minor, d.tax_minor, *energy)


def _parties(document: Document) -> tuple[str | None, ...]:
    return document.id_token, document.group_id, document.site_id


def _energy(cdr: CdrIssued) -> Check:
    parts = cdr.billed_wh + cdr.review_wh + cdr.written_off_wh
    return Check(
        "energy",
        parts == cdr.energy_wh,
        f"{cdr.billed_wh} Wh billed + {cdr.review_wh} in review + {cdr.written_off_wh} written off = {parts} Wh,"
        f" delivered {cdr.energy_wh}",
    )


def _meters(cdr: CdrIssued) -> Check:
    # Where a rule closed it, it ended with its last register or as the next transaction began.
    found = [sessions.measured(each) for each in (evidence(cdr, None), evidence(cdr, cdr.ended_at))]
    said = [(each.delivered_wh, each.billed_wh) if each is not None else (0, 0) for each in found]
    delivered, sure = said[0]
    if cdr.decision_id is None and cdr.token_refusal:
        holds = cdr.billed_wh == 0 and cdr.energy_wh in (each[0] for each in said)
    elif cdr.decision_id is None:
        holds = (cdr.energy_wh, cdr.billed_wh) in said
    else:
        holds = cdr.energy_wh in (each[0] for each in said)
    return Check("meters", holds, f"by the registers {delivered} Wh were delivered, {sure} without doubt")


def evidence(cdr: CdrIssued, until: int | None) -> sessions.Session:
    """The registers of a record as the fold had them; `until`: when the next transaction began."""
    doubts = set(cdr.review)
    start = None if sessions.NO_METER_START in doubts else cdr.meter_start_wh
    stop = None if doubts & {sessions.NO_METER_STOP, sessions.NO_STOP} else cdr.meter_stop_wh
    return sessions.Session(
        cdr.transaction_id,
        "",
        cdr.started_at,
        max(cdr.ended_at, *(each.at for each in cdr.readings), cdr.started_at),
        0,
        "",
        started_at=None if sessions.NO_START in doubts else cdr.started_at,
        meter_start_wh=start,
        stopped_at=None if sessions.NO_STOP in doubts else cdr.ended_at,
        meter_stop_wh=stop,
        meter=Curve(points=packed((each.at, each.wh) for each in cdr.readings)),
        undated_low=cdr.meter_start_wh,
        undated_high=cdr.meter_stop_wh,
        most_w=cdr.max_power_w,
        until=until if sessions.NO_STOP in doubts else None,
    )


def registers(cdr: CdrIssued) -> list[tuple[int, int]]:
    """(moment, Wh) of the registers that count for a record, in order; what a station sent after the end does not."""
    found = [(each.at, each.wh) for each in cdr.readings if each.at <= cdr.ended_at]
    if cdr.meter_start_wh is not None and sessions.NO_METER_START not in cdr.review:
        found.insert(0, (cdr.started_at, cdr.meter_start_wh))
    if cdr.meter_stop_wh is not None and not {sessions.NO_METER_STOP, sessions.NO_STOP} & set(cdr.review):
        found.append((cdr.ended_at, cdr.meter_stop_wh))
    return found


def segments(cdr: CdrIssued) -> list[Segment]:
    """The registers of a record, cut where one is lower than the one before by more than the tolerance."""
    found: list[Segment] = []
    for at, wh in registers(cdr):
        if not found or wh < found[-1].to_wh - ROLLBACK_TOLERANCE_WH:
            found.append(Segment(at, wh, at, wh, 1))
        else:
            last = found[-1]
            found[-1] = Segment(last.from_at, last.from_wh, at, max(wh, last.to_wh), last.readings + 1)
    return found


def _intervals(cdr: CdrIssued) -> Check:
    total = sum(each.energy_wh for each in cdr.intervals)
    return Check(
        "stretches",
        total == cdr.billed_wh,
        f"the stretches that the bill was made from have {total} Wh together",
    )


def _lines(cdr: CdrIssued) -> Iterator[Check]:
    net, tax = sum(line.net_minor for line in cdr.lines), sum(line.tax_minor for line in cdr.lines)
    yield Check(
        "lines",
        (net, tax, net + tax) == (cdr.net_minor, cdr.tax_minor, cdr.amount_minor)
        and all(line.amount_minor == line.net_minor + line.tax_minor for line in cdr.lines),
        "the lines add up to the amount" if net + tax == cdr.amount_minor else "the lines do not add up",
    )
    taxes = sum(each.tax_minor for each in cdr.taxes)
    if taxes != cdr.tax_minor:
        yield Check("taxes", False, "the taxes do not add up")


def recomputed(cdr: CdrIssued, priced: Priced) -> Bill | None:
    """The bill computed anew that is the record's own; None if it comes out otherwise."""
    terms = terms_of(priced.version)
    plan = next((plan for plan in terms.plans if plan.group_id == cdr.group_id), None)
    # What had been left of the bundle is not on the record: as much as was taken, or more if that was all energy.
    left = {cdr.prepaid_wh, cdr.prepaid_wh if plan is None else max(cdr.prepaid_wh, plan.prepaid_wh)}
    for each in sorted(left):
        made = bill(
            usage_of(cdr),
            priced.version,
            priced.zone,
            contract=DriverContract(group_id=cdr.group_id, prepaid_left_wh=each),
        )
        if _same(cdr, made):
            return made
    return None


def _same(cdr: CdrIssued, made: Bill) -> bool:
    lines = [
        (n.kind.value, n.quantity, n.unit, n.price_milli, n.net_minor, n.tax_minor, n.start, n.end)
        for n in made.lines
    ]
    said = [
        (n.kind, n.quantity, n.unit, n.price_milli, n.net_minor, n.tax_minor, n.from_at, n.to_at)
        for n in cdr.lines
    ]
    taxes = [(t.name, t.rate_milli, t.net_minor, t.tax_minor) for t in made.taxes]
    return (
        lines == said
        and taxes == [(t.name, t.rate_milli, t.net_minor, t.tax_minor) for t in cdr.taxes]
        and (made.net_minor, made.tax_minor, made.prepaid_wh)
        == (cdr.net_minor, cdr.tax_minor, cdr.prepaid_wh)
    )


def _bill(cdr: CdrIssued, priced: Priced | None) -> Check:
    if cdr.tariff_id is None:
        return Check(
            "bill", cdr.amount_minor == 0 and not cdr.lines, "there was no tariff, so there is no bill"
        )
    if priced is None:
        return Check("bill", None, "the tariff or the site is not configured any more")
    if recomputed(cdr, priced) is not None:
        return Check(
            "bill", True, "computed again from the stretches and the tariff it is the same, line by line"
        )
    return Check(
        "bill",
        False,
        f"computed again it is another one (tariff {cdr.tariff_id}, version {cdr.tariff_version}, clock of"
        f" {priced.zone})",
    )


def exact_minor(line: CdrLine) -> Fraction | None:
    """Quantity times price in minor units; None for a line that is not made so."""
    if line.kind in (LineKind.DISCOUNT, LineKind.MINIMUM, LineKind.MAXIMUM, LineKind.ROUNDING):
        return None
    return Fraction(line.price_milli * line.quantity, _PER[line.unit])


def changes(before: CdrIssued, after: CdrIssued) -> list[tuple[str, object, object]]:
    """What the later version says otherwise: field, before, after; nothing that every version has its own of."""
    own = {*ENVELOPE, "version", "previous_hash", "hash", "hash_version"}
    whole = {"lines", "taxes", "sources", "readings", "intervals", "signed", "quirks"}
    return [
        (name, getattr(before, name), getattr(after, name))
        for name in CdrIssued.__struct_fields__
        if name not in own | whole and getattr(before, name) != getattr(after, name)
    ]
