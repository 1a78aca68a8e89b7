"""What operators decide about sessions in review: given a history, when a decision comes, then these documents."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from libs.events.cdr_hash import digest
from libs.events.decisions import (
    Decision,
    SessionDecided,
    SessionDecisionConcluded,
)
from libs.events.ids import derive_id
from libs.events.record import Record
from libs.events.registry import TariffVersion
from libs.events.sessions import CdrCredited, CdrIssued, SessionCorrected
from libs.tariffs.documents import parse
from services.sessions.domain.decisions import MOST_REMEMBERED
from tests.unit.sessions.decided import balanced, conclusion, decide, decided, implausible, recalled
from tests.unit.sessions.exchanges import DAY, HOUR, NOON, STATION, meter16, start16, stop16
from tests.unit.sessions.given import Told, kinds, registry

TERMS = """
min_price: "5"
elements:
- price_components: [{type: FLAT, price: "2"}, {type: ENERGY, price: "0.40"}]
"""


def test_accepted_all_that_was_delivered_is_billed() -> None:
    told = implausible()
    (first,) = told.cdrs
    assert balanced(first) == (10_000, 28_120, 0)
    record = decided(told, "accept")
    out = decide(told, record)
    assert kinds(out) == ["SessionCorrected", "CdrCredited", "CdrIssued", "SessionDecisionConcluded"]
    corrected, credit, issued, concluded = out
    assert isinstance(corrected, SessionCorrected)
    assert isinstance(credit, CdrCredited)
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (38_120, 0, 0)
    # The doubt stays readable; that it is settled is what decision_id says.
    assert (issued.review, issued.decision_id, issued.decided_by) == (
        ("implausible_energy",),
        record.event_id,
        "anna",
    )
    assert (corrected.billed_wh, corrected.decision_id) == (38_120, record.event_id)
    assert (credit.billed_wh, credit.review_wh, credit.written_off_wh) == (-10_000, -28_120, 0)
    assert credit.credited_hash == first.hash
    assert issued.previous_hash == credit.hash
    assert issued.hash == digest(issued)
    assert (issued.version, issued.cause_id) == (2, record.event_id)
    assert issued.amount_minor == 1_734  # 38.12 kWh at 45.5 cents: 1734.46
    assert (issued.sources[1].topic, issued.sources[1].first_offset) == ("billing.decisions", 0)
    assert concluded == SessionDecisionConcluded(
        event_id=derive_id(record.event_id, "concluded"),
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        cause_id=record.event_id,
        station_id=STATION,
        session_id=first.session_id,
        decision_id=record.event_id,
        applied=True,
        version=2,
    )


def test_accepted_energy_is_billed_when_it_was_delivered() -> None:
    """By time of use: 10 kWh in the first half hour, 990 kWh in the second."""
    tariff = """
elements:
- price_components: [{type: ENERGY, price: "1"}]
  restrictions: {max_duration: 1800}
- price_components: [{type: ENERGY, price: "2"}]
"""
    told = implausible(Told((), priced(tariff)))
    issued = decide(told, decided(told, "accept"))[2]
    assert isinstance(issued, CdrIssued)
    assert [(line.quantity, line.price_milli) for line in issued.lines] == [
        (10_000, 100_000),
        (28_120, 200_000),
    ]
    # Half of it: half of each.
    issued = decide(told, decided(told, "adjust", billed_wh=19_060))[2]
    assert isinstance(issued, CdrIssued)
    assert [line.quantity for line in issued.lines] == [5_000, 14_060]
    assert balanced(issued) == (19_060, 0, 19_060)


def test_adjusted_a_part_is_billed_and_the_rest_written_off() -> None:
    told = implausible()
    issued = decide(told, decided(told, "adjust", billed_wh=12_345))[2]
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (12_345, 0, 25_775)
    assert issued.amount_minor == 562  # 12.345 kWh * 45.5 = 561.7


def test_written_off_nothing_at_all_is_charged() -> None:
    told = implausible(Told((), priced(TERMS)))
    assert told.cdrs[0].amount_minor == 600  # 2.00 and 10 kWh
    issued = decide(told, decided(told, "write_off"))[2]
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (0, 0, 38_120)
    assert (issued.amount_minor, issued.net_minor, issued.tax_minor, issued.lines, issued.taxes) == (
        0,
        0,
        0,
        (),
        (),
    )
    assert (issued.tariff_id, issued.currency) == ("flat", "EUR")
    assert sum(document.amount_minor for document in told.documents) == 0


def test_adjusted_to_nothing_the_session_fee_stays() -> None:
    told = implausible(Told((), priced(TERMS)))
    issued = decide(told, decided(told, "adjust", billed_wh=0))[2]
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (0, 0, 38_120)
    assert issued.amount_minor == 500


def test_doubts_without_energy_can_be_accepted() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)])
    told.tick(NOON + 8 * DAY)
    (first,) = told.cdrs
    assert (first.review, first.review_wh) == (("no_stop",), 0)
    issued = decide(told, decided(told, "accept", NOON + 9 * DAY))[2]
    assert isinstance(issued, CdrIssued)
    assert balanced(issued) == (9_000, 0, 0)
    assert issued.lines == first.lines


def test_more_energy_that_comes_to_light_goes_to_review() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)])
    told.tick(NOON + 8 * DAY)
    record = decided(told, "accept", NOON + 9 * DAY)
    decide(told, record)
    out = told.tell(stop16(1, NOON + 2 * HOUR, 15_000, recorded_at=NOON + 10 * DAY))
    assert kinds(out) == ["SessionCorrected", "CdrCredited", "CdrIssued"]
    issued = told.cdrs[-1]
    assert balanced(issued) == (9_000, 6_000, 0)
    assert issued.review == ("after_decision",)
    assert issued.decision_id == record.event_id
    # The next decision covers all of it.
    decide(told, decided(told, "accept", NOON + 11 * DAY))
    assert balanced(told.cdrs[-1]) == (15_000, 0, 0)
    assert told.cdrs[-1].review == ()


def test_after_a_write_off_new_energy_is_not_billed_by_itself() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)], priced(TERMS))
    told.tick(NOON + 8 * DAY)
    decide(told, decided(told, "write_off", NOON + 9 * DAY))
    told.tell(stop16(1, NOON + 2 * HOUR, 15_000, recorded_at=NOON + 10 * DAY))
    assert balanced(told.cdrs[-1]) == (0, 6_000, 9_000)
    assert told.cdrs[-1].amount_minor == 0


@pytest.mark.parametrize(("billed", "parts"), [(9_000, (4_000, 0, 0)), (1_000, (1_000, 0, 3_000))])
def test_less_energy_that_comes_to_light_bounds_what_is_billed(
    billed: int, parts: tuple[int, int, int]
) -> None:
    told = Told([start16(1, NOON, 1_000, recorded_at=NOON), meter16(1, NOON + HOUR, 10_000)])
    told.tick(NOON + 8 * DAY)
    decide(told, decided(told, "adjust", NOON + 9 * DAY, billed_wh=billed))
    assert told.state is not None
    (session,) = told.state.closed
    # As if the evidence had been of less energy.
    less = msgspec.structs.replace(session, meter_start_wh=6_000)
    decide(told, recalled(less, NOON + 10 * DAY))
    assert balanced(told.cdrs[-1]) == parts
    assert "after_decision" in told.cdrs[-1].review


def test_a_new_doubt_is_shown_although_the_energy_stays() -> None:
    told = implausible()
    decide(told, decided(told, "accept", NOON + 2 * HOUR))
    told.tell(stop16(7, NOON + HOUR, 999_000, recorded_at=NOON + 3 * HOUR))
    last = told.cdrs[-1]
    assert balanced(last) == (38_120, 0, 0)
    assert last.review == ("after_decision", "implausible_energy", "stop_conflict")


def test_a_duplicate_of_known_evidence_changes_nothing() -> None:
    told = implausible()
    decide(told, decided(told, "accept", NOON + 2 * HOUR))
    assert told.tell(stop16(7, NOON + HOUR, 1_001_000, recorded_at=NOON + 3 * HOUR)) == []


def test_the_same_decision_counts_once() -> None:
    told = implausible()
    record = decided(told, "write_off")
    decide(told, record)
    assert decide(told, record) == []
    other = decided(told, "accept", NOON + 4 * DAY)
    decide(told, other)
    assert decide(told, record) == []
    assert balanced(told.cdrs[-1]) == (38_120, 0, 0)


def test_a_refused_decision_stays_refused() -> None:
    told = Told([start16(1, NOON, 0), meter16(1, NOON + HOUR, 9_000)])
    early = decided_of_running(told)
    assert conclusion(decide(told, early)).detail == "still_running"
    told.tell(stop16(1, NOON + 2 * HOUR, 15_000))
    assert decide(told, early) == []


def decided_of_running(told: Told) -> SessionDecided:
    at = NOON + HOUR
    return SessionDecided(
        event_id="early",
        occurred_at=at,
        recorded_at=at,
        cause_id="early",
        station_id=STATION,
        session_id=told.starts[0].session_id,
        decision=Decision.ACCEPT,
        version=1,
        reason="r",
        decided_by="anna",
    )


@pytest.mark.parametrize(
    ("changes", "detail", "version"),
    [
        ({"session_id": "nobody"}, "unknown_session", 0),
        ({"session_id": ""}, "unknown_session", 0),
        ({"version": 2}, "other_version", 1),
        ({"version": 0}, "other_version", 1),
        ({"decision": Decision.ADJUST, "billed_wh": 1_000_001}, "more_than_delivered", 1),
        ({"decision": Decision.ADJUST, "billed_wh": -1}, "no_energy_named", 1),
        ({"decision": Decision.ADJUST}, "no_energy_named", 1),
        ({"decision": Decision.UNKNOWN}, "unknown_decision", 1),
    ],
)
def test_what_cannot_be_followed_is_refused(changes: dict[str, Any], detail: str, version: int) -> None:
    told = implausible()
    (concluded,) = decide(told, decided(told, "accept", **changes))
    assert isinstance(concluded, SessionDecisionConcluded)
    assert (concluded.applied, concluded.detail, concluded.version) == (False, detail, version)


def test_a_decision_about_a_station_that_nobody_knows_is_refused() -> None:
    told = Told()
    record = decided(implausible(), "accept")
    assert conclusion(decide(told, record)).detail == "unknown_session"
    assert not told.runtime.dead


def test_ids_of_decisions_are_bounded() -> None:
    told = implausible()
    for n in range(MOST_REMEMBERED + 5):
        decide(told, decided(told, "accept", NOON + 2 * DAY + n, version=99))
    assert told.state is not None
    assert len(told.state.decisions) == MOST_REMEMBERED


def priced(terms: str) -> dict[str, dict[str, Record]]:
    version = TariffVersion(
        version=1,
        valid_from=0,
        currency="EUR",
        price_per_kwh_milli=0,
        terms=parse(msgspec.yaml.decode(terms), "EUR"),
    )
    return registry(versions=(version,))
