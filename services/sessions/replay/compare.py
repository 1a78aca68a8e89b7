"""Charge records of the same sessions from two sides, beside each other. Pure.

A session is compared by the last version that each side has of its record, if it ended in the period by either. It is
settled, and only its sums are kept, once nothing has been heard of it for so long that the fold has forgotten it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from enum import IntEnum
from typing import Any, Final

import msgspec

from libs.events.sessions import CdrIssued
from libs.events.topics import BILLING_PREPAID
from libs.runtime.clock import SECOND
from services.sessions.domain.rules import REMEMBER
from services.sessions.domain.session import NO_START, Session

SETTLED_AFTER: Final = REMEMBER + 24 * 3600 * SECOND
"""A session is no longer remembered so long after its last news, so that its record stays as it is."""
SAME_START: Final = 24 * 3600 * SECOND
"""Sessions of one transaction id that began so close to each other are the same one, read otherwise."""

COMPARED: Final = (
    "evse_id",
    "site_id",
    "id_token",
    "group_id",
    "started_at",
    "ended_at",
    "meter_start_wh",
    "meter_stop_wh",
    "energy_wh",
    "billed_wh",
    "review_wh",
    "written_off_wh",
    "exported_wh",
    "prepaid_wh",
    "reason",
    "review",
    "tariff_id",
    "currency",
    "amount_minor",
    "net_minor",
    "tax_minor",
    "lines",
    "taxes",
)
"""What a charge record says of a session. The split of time counts where it is paid for: in the lines."""


class Side(IntEnum):
    """BEFORE: as it is, or was issued. AFTER: as it would be."""

    BEFORE = 0
    AFTER = 1


class Entry(msgspec.Struct, gc=False):
    """A session: the last record of either side, when there was news of it, and what the fold AFTER knew of it then."""

    before: CdrIssued | None = None
    after: CdrIssued | None = None
    touched: int = 0
    session: Session | None = None

    @property
    def any(self) -> CdrIssued:
        """The record of whichever side has one, AFTER first."""
        found = self.before if self.after is None else self.after
        assert found is not None
        return found


Settled = Callable[[Entry, tuple[str, ...]], None]


class Sums(msgspec.Struct):
    """What charge records come to: Wh and minor units of one currency."""

    sessions: int = 0
    energy_wh: int = 0
    billed_wh: int = 0
    review_wh: int = 0
    net_minor: int = 0
    tax_minor: int = 0
    amount_minor: int = 0

    def add(self, cdr: CdrIssued) -> None:
        """With this record, too."""
        self.sessions += 1
        self.energy_wh += cdr.energy_wh
        self.billed_wh += cdr.billed_wh
        self.review_wh += cdr.review_wh
        self.net_minor += cdr.net_minor
        self.tax_minor += cdr.tax_minor
        self.amount_minor += cdr.amount_minor


class Row(msgspec.Struct):
    """Sums of a tariff at a site, in one currency (None: no tariff was in force)."""

    tariff_id: str | None
    site_id: str | None
    currency: str | None
    before: Sums = msgspec.field(default_factory=Sums)
    after: Sums = msgspec.field(default_factory=Sums)


class Difference(msgspec.Struct, frozen=True):
    """A session that comes out otherwise; the amounts are 0 on a side that has no record of it."""

    station_id: str
    session_id: str
    started_at: int
    currency: str | None
    before_minor: int
    after_minor: int
    before_wh: int
    after_wh: int
    fields: tuple[str, ...]


class Report(msgspec.Struct):
    """What came out. `left_out`: sessions that began before what was read. `fields`: how often each differs."""

    sessions: int = 0
    equal: int = 0
    changed: int = 0
    only_before: int = 0
    only_after: int = 0
    left_out: int = 0
    failed: int = 0
    unreadable: int = 0
    messages: int = 0
    fields: dict[str, int] = msgspec.field(default_factory=dict)
    rows: list[Row] = msgspec.field(default_factory=list)
    largest: list[Difference] = msgspec.field(default_factory=list)


class Period(msgspec.Struct, frozen=True):
    """Sessions that ended from `since` to `until` (exclusive), of `site_id` if there is one; `read_from`: the log."""

    since: int
    until: int
    read_from: int
    site_id: str | None = None

    def has(self, cdr: CdrIssued | None) -> bool:
        """Whether the record is of a session to be compared."""
        return (
            cdr is not None
            and self.since <= cdr.ended_at < self.until
            and (self.site_id is None or self.site_id == cdr.site_id)
        )

    def began_before(self, entry: Entry) -> bool:
        """Whether its beginning may not have been read."""
        unstarted = entry.after is not None and NO_START in entry.after.review
        if entry.before is not None and (entry.after is None or not unstarted):
            return entry.before.started_at < self.read_from
        return unstarted and entry.any.started_at < self.since


class Comparison:
    """Collects both sides. `held`: ids of sessions that are not settled before the end. `both`: nor are those that one
    side alone has a record of, since the sides are not read in the same order.

    `settled` is called with each session that was compared and what differs in it, as it is settled.
    """

    def __init__(
        self,
        period: Period,
        held: Collection[str] = (),
        *,
        both: bool = False,
        largest: int = 10,
    ) -> None:
        self._period = period
        self._held = held
        self._both = both
        self.settled: Settled = lambda entry, fields: None
        self._most = largest
        self._pending: dict[str, dict[str, Entry]] = {}
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._fields: Counter[str] = Counter()
        self._largest: list[tuple[int, int, str, Difference]] = []
        self.report = Report()

    def put(self, side: Side, cdr: CdrIssued) -> Entry:
        """A side's newest record of a session."""
        sessions = self._pending.setdefault(cdr.station_id, {})
        entry = sessions.get(cdr.session_id)
        if entry is None:
            self._settle(sessions, cdr.recorded_at - SETTLED_AFTER)
            entry = sessions[cdr.session_id] = Entry()
        # What is not compared is not kept, but for where a bundle's answer is.
        answers = tuple([source for source in cdr.sources if source.topic == BILLING_PREPAID])
        slim = msgspec.structs.replace(cdr, readings=(), intervals=(), sources=answers)
        if side is Side.BEFORE:
            entry.before = slim
        else:
            entry.after = slim
        entry.touched = max(entry.touched, cdr.recorded_at)
        return entry

    def pending(self) -> Iterator[Entry]:
        """What is not settled yet."""
        for sessions in self._pending.values():
            yield from sessions.values()

    def settle_all(self) -> None:
        """Settle what is left; nothing more comes of the stations so far."""
        for sessions in self._pending.values():
            self._settle(sessions, None)
        self._pending.clear()

    def finished(self) -> Report:
        """The report over everything that is settled."""
        report = self.report
        report.fields = dict(self._fields.most_common())
        report.rows = [self._rows[key] for key in sorted(self._rows)]
        report.largest = [each for *_, each in sorted(self._largest, reverse=True)]
        return report

    def _settle(self, sessions: dict[str, Entry], before: int | None) -> None:
        for session_id, entry in list(sessions.items()):
            if before is not None and (entry.touched >= before or self._awaited(session_id, entry)):
                continue
            if session_id not in sessions:
                continue
            del sessions[session_id]
            if entry.before is None or entry.after is None:
                _join_other_half(entry, sessions)
            self._count(entry)

    def _awaited(self, session_id: str, entry: Entry) -> bool:
        return session_id in self._held or (self._both and (entry.before is None or entry.after is None))

    def _count(self, entry: Entry) -> None:
        before, after, period = entry.before, entry.after, self._period
        if not (period.has(before) or period.has(after)):
            return
        if period.began_before(entry):
            self.report.left_out += 1
            return
        self.report.sessions += 1
        for cdr, side in ((before, Side.BEFORE), (after, Side.AFTER)):
            if cdr is not None:
                row = self._row(cdr)
                (row.before if side is Side.BEFORE else row.after).add(cdr)
        fields = differing(before, after)
        self.settled(entry, fields)
        if not fields:
            self.report.equal += 1
            return
        self.report.changed += 1
        self.report.only_before += after is None
        self.report.only_after += before is None
        self._fields.update(fields)
        self._keep(_difference(entry, fields))

    def _row(self, cdr: CdrIssued) -> Row:
        key = cdr.tariff_id or "", cdr.site_id or "", cdr.currency or ""
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row(cdr.tariff_id, cdr.site_id, cdr.currency)
        return row

    def _keep(self, each: Difference) -> None:
        size = abs(each.after_minor - each.before_minor), abs(each.after_wh - each.before_wh)
        item = (*size, each.session_id, each)
        if len(self._largest) < self._most:
            heapq.heappush(self._largest, item)
        elif self._largest and item[:3] > self._largest[0][:3]:
            heapq.heapreplace(self._largest, item)


def differing(before: CdrIssued | None, after: CdrIssued | None) -> tuple[str, ...]:
    """The names of what two records of a session say otherwise."""
    if before is None or after is None:
        return ("missing",)
    return tuple(name for name in COMPARED if _said(before, name) != _said(after, name))


def _said(cdr: CdrIssued, name: str) -> Any:
    if name == "lines":
        return [(n.kind, n.quantity, n.unit, n.price_milli, n.net_minor, n.tax_minor) for n in cdr.lines]
    return getattr(cdr, name)


def _difference(entry: Entry, fields: tuple[str, ...]) -> Difference:
    before, after, any_of_them = entry.before, entry.after, entry.any
    return Difference(
        any_of_them.station_id,
        any_of_them.session_id,
        any_of_them.started_at,
        any_of_them.currency,
        0 if before is None else before.amount_minor,
        0 if after is None else after.amount_minor,
        0 if before is None else before.billed_wh,
        0 if after is None else after.billed_wh,
        fields,
    )


def _join_other_half(entry: Entry, sessions: dict[str, Entry]) -> None:
    """A session that is read to have begun at another moment has another id: the same transaction tells."""
    own = entry.any
    for session_id, other in sessions.items():
        theirs = other.any
        if (
            (other.before is None) == (entry.after is None)
            and (other.after is None) == (entry.before is None)
            and theirs.transaction_id == own.transaction_id
            and abs(theirs.started_at - own.started_at) <= SAME_START
        ):
            entry.before = entry.before or other.before
            entry.after = entry.after or other.after
            entry.session = entry.session or other.session
            del sessions[session_id]
            return
