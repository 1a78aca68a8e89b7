"""Histories as chargers told them, and the records that they lead to: `golden/*.yaml`."""

from __future__ import annotations

import msgspec
import pytest

from libs.bus.message import Emit
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.cdr_hash import digest
from libs.events.plans import PrepaidAsked, PrepaidGranted
from libs.events.record import Record
from libs.events.registry import TariffRegistered
from libs.events.sessions import CdrCredited, CdrIssued, SessionCorrected, SessionEnded
from libs.events.topics import BILLING_PREPAID, BILLING_PREPAID_ASKED
from services.plans.domain.processor import PlansProcessor
from services.sessions.domain.processor import SessionsProcessor
from tests.unit.sessions.clerk import told_by
from tests.unit.sessions.document import DOCUMENT, document
from tests.unit.sessions.exchanges import STATION
from tests.unit.sessions.history import DECISIONS, Added, Decided, History, Pass, decided, histories

HISTORIES = histories()


def told(history: History, times: int = 1) -> list[Record]:
    """The records that a history leads to; `times`: how often each message comes in."""
    runtime = MemoryRuntime(SessionsProcessor(), history.tables())
    plans = MemoryRuntime(PlansProcessor(), history.tables())
    now, out = history.begin, list[Record]()

    def said(emitted: list[Emit]) -> None:
        """What plans are asked they answer at once."""
        for emit in emitted:
            assert emit.record is not None
            if not isinstance(emit.record, PrepaidAsked | PrepaidGranted):
                out.append(emit.record)
            if emit.topic == BILLING_PREPAID_ASKED:
                said(plans.feed(BILLING_PREPAID_ASKED, emit.key, emit.record))
            elif emit.topic == BILLING_PREPAID:
                said(runtime.feed(BILLING_PREPAID, emit.key, emit.record))

    for number, happening in enumerate(history.happenings()):
        match happening:
            case Pass(length):
                now += length
                said(runtime.tick(now))
                said(plans.tick(now))
            case Added(version):
                tariff = runtime.tables["registry.tariffs"]["flat"]
                assert isinstance(tariff, TariffRegistered)
                grown = msgspec.structs.replace(tariff, versions=(*tariff.versions, version))
                runtime.tables["registry.tariffs"]["flat"] = grown
            case Decided(at, transaction_id):
                now = at
                about = [r for r in out if isinstance(r, CdrIssued) and r.transaction_id == transaction_id][
                    -1
                ]
                record = decided(history, at, about.session_id, about.version, happening, number)
                for _ in range(times):
                    said(runtime.feed(DECISIONS, STATION, record))
            case _:
                now = max(now, happening.record.recorded_at)
                for _ in range(times):
                    said(runtime.feed(happening.topic, STATION, happening.record))
        assert not runtime.dead, runtime.dead
        assert not plans.dead, plans.dead
    return out


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.name)
def test_history(history: History) -> None:
    records = told(history)
    assert list(told_by(records, history.clock, history.detailed)) == history.data["records"]
    adds_up(records)


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.name)
def test_a_message_that_comes_twice_changes_nothing(history: History) -> None:
    """But for where the evidence is in the log."""
    twice = list(told_by(told(history, 2), history.clock, history.detailed))
    assert twice == history.data["records"]


def test_the_documentation_lists_the_histories() -> None:
    """`make docs` writes the table."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == document(text)


def test_there_are_many_histories_in_every_version() -> None:
    files = {history.path for history in HISTORIES}
    assert len(files) >= 40
    assert {history.version for history in HISTORIES} == {"1.6", "2.0.1", "2.1"}


def adds_up(records: list[Record]) -> None:
    """Energy is somewhere, credit notes take back what was issued, and every document seals the one before it."""
    previous = ""
    last: dict[str, CdrIssued] = {}
    sums: dict[str, tuple[int, ...]] = {}
    for record in records:
        if isinstance(record, SessionEnded | SessionCorrected):
            assert record.billed_wh + record.review_wh + record.written_off_wh == record.energy_wh
            assert min(record.billed_wh, record.review_wh, record.written_off_wh) >= 0
        if not isinstance(record, CdrIssued | CdrCredited):
            continue
        assert (record.previous_hash, record.hash) == (previous, digest(record))
        previous = record.hash
        so_far = sums.get(record.cdr_id, (0,) * len(figures(record)))
        sums[record.cdr_id] = tuple(map(sum, zip(so_far, figures(record), strict=True)))
        if isinstance(record, CdrIssued):
            assert sum(line.amount_minor for line in record.lines) == record.amount_minor
            assert record.net_minor + record.tax_minor == record.amount_minor
            last[record.cdr_id] = record
    assert sums == {cdr_id: figures(record) for cdr_id, record in last.items()}


def figures(record: CdrIssued | CdrCredited) -> tuple[int, ...]:
    return (
        record.energy_wh,
        record.billed_wh,
        record.review_wh,
        record.written_off_wh,
        record.exported_wh,
        record.prepaid_wh,
        record.net_minor,
        record.tax_minor,
        record.amount_minor,
    )
