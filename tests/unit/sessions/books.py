"""What must hold of all documents, whatever chargers, channels and operators did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from libs.events.cdr_hash import digest
from libs.events.record import Record
from libs.events.registry import TariffVersion
from libs.events.sessions import CdrCredited, CdrIssued, SessionCorrected, SessionEnded
from libs.events.tariffs import Dimension, PriceComponent, TariffElement, TariffTerms
from tests.unit.sessions.meter import Visit
from tests.unit.tariffs.ledger import Ledger

FIGURES = (
    "energy_wh",
    "billed_wh",
    "review_wh",
    "written_off_wh",
    "exported_wh",
    "prepaid_wh",
    "net_minor",
    "tax_minor",
    "amount_minor",
)


def figures(document: CdrIssued | CdrCredited) -> tuple[int, ...]:
    return tuple(getattr(document, name) for name in FIGURES)


class Books:
    """The documents of a station, checked while they are read; `ends` and `cdrs`: the last versions by transaction."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.ends: dict[tuple[str, str], SessionEnded | SessionCorrected] = {}
        self.cdrs: dict[tuple[str, str], CdrIssued] = {}
        self.chain = ""
        self._sums: dict[str, tuple[int, ...]] = {}
        self._versions: dict[str, int] = {}
        self._ids: set[str] = set()
        for record in records:
            self.read(record)

    def read(self, record: Record) -> None:
        assert record.event_id not in self._ids, f"{type(record).__name__} twice"
        self._ids.add(record.event_id)
        if isinstance(record, SessionEnded | SessionCorrected):
            self.ends[record.transaction_id, record.session_id] = record
            self._energy(record)
        elif isinstance(record, CdrIssued | CdrCredited):
            self._document(record)

    @staticmethod
    def _energy(record: SessionEnded | SessionCorrected | CdrIssued) -> None:
        parts = (record.billed_wh, record.review_wh, record.written_off_wh)
        assert min(parts) >= 0
        assert sum(parts) == record.energy_wh
        times = (record.charging_s, record.suspended_s, record.idle_s)
        assert min(times) >= 0
        assert sum(times) == record.ended_at // 1_000_000 - record.started_at // 1_000_000

    def _document(self, record: CdrIssued | CdrCredited) -> None:
        assert (record.previous_hash, record.hash) == (self.chain, digest(record))
        self.chain = record.hash
        so_far = self._sums.get(record.cdr_id, (0,) * len(FIGURES))
        self._sums[record.cdr_id] = tuple(map(sum, zip(so_far, figures(record), strict=True)))
        assert record.net_minor + record.tax_minor == record.amount_minor
        if isinstance(record, CdrIssued):
            self._energy(record)
            assert record.version == self._versions.get(record.cdr_id, 0) + 1
            self._versions[record.cdr_id] = record.version
            assert sum(line.amount_minor for line in record.lines) == record.amount_minor
            assert sum(line.net_minor for line in record.lines) == record.net_minor
            self.cdrs[record.transaction_id, record.session_id] = record
            # Credit notes took back what was issued before.
            assert self._sums[record.cdr_id] == figures(record)
        else:
            assert record.version == self._versions[record.cdr_id]
            assert not any(self._sums[record.cdr_id])

    def end_of(self, transaction_id: str) -> SessionEnded | SessionCorrected:
        (found,) = (end for (tx, _), end in self.ends.items() if tx == transaction_id)
        return found

    def cdr_of(self, transaction_id: str) -> CdrIssued:
        (found,) = (cdr for (tx, _), cdr in self.cdrs.items() if tx == transaction_id)
        return found

    def delivered_wh(self) -> int:
        """Billed, in review and written off, over all documents."""
        return sum(sum(sums[1:4]) for sums in self._sums.values())


def price(
    visit: Visit, version: TariffVersion, zone: str, tick: int, group: str | None = None, prepaid_wh: int = 0
) -> Mapping[str, int]:
    """What a visit costs, by the slow calculation, from what the meter measured."""
    slow = Ledger(visit.usage(), terms_of(version), zone, group, prepaid_wh, tick).result()
    return {"net_minor": slow.net, "tax_minor": slow.tax, "amount_minor": slow.gross}


def terms_of(version: TariffVersion) -> TariffTerms:
    if version.terms is not None:
        return version.terms
    component = PriceComponent(type=Dimension.ENERGY, price_milli=version.price_per_kwh_milli)
    return TariffTerms(elements=(TariffElement(price_components=(component,)),))


def valid_at(versions: Iterable[TariffVersion], at: int) -> TariffVersion | None:
    """The version that counts for what begins at `at`."""
    found = None
    for each in sorted(versions, key=lambda version: version.valid_from):
        if each.valid_from <= at:
            found = each
    return found
