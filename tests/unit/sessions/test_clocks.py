"""Clocks of chargers that are wrong, and set right in mid-session: what time is charged."""

from __future__ import annotations

import pytest

from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import TariffVersion
from libs.ocpp.times import format_timestamp
from libs.tariffs.documents import parse
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, SECOND, event2, start16, stop16
from tests.unit.sessions.given import Told, registry

HOURLY = TariffVersion(
    version=1,
    valid_from=0,
    currency="EUR",
    price_per_kwh_milli=0,
    terms=parse({"elements": [{"price_components": [{"type": "TIME", "price": "0.60"}]}]}, "EUR"),
)
VERSIONS = ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"]


def session(version: str, started: int, stopped: int) -> list[OcppCallReceived]:
    """2,000 Wh, told at noon and an hour later, with the charger's own moments."""
    if version == "ocpp1.6":
        return [
            start16(7, started, 1000, recorded_at=NOON + SECOND),
            stop16(7, stopped, 3000, recorded_at=NOON + HOUR + SECOND),
        ]
    return [
        event2("Started", "a", 0, started, 1000, tag="A", version=version, recorded_at=NOON + SECOND),
        event2("Ended", "a", 1, stopped, 3000, version=version, recorded_at=NOON + HOUR + SECOND),
    ]


def charged(exchanges: list[OcppCallReceived]) -> tuple[int, tuple[str, ...], int]:
    """Seconds, doubts and cents of the one charge record."""
    told = Told(exchanges, registry(versions=(HOURLY,)))
    (end,), (cdr,) = told.ends, told.cdrs
    assert (end.billed_wh, end.review_wh) == (2000, 0)
    return (end.ended_at - end.started_at) // SECOND, end.review, cdr.amount_minor


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("years", [2, 8, 56])
def test_a_start_dated_years_ago_is_charged_from_its_receipt(version: str, years: int) -> None:
    seconds, review, cents = charged(session(version, NOON - years * 365 * DAY, NOON + HOUR))
    assert (seconds, review, cents) == (3599, ("clock_doubt",), 60)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("started", "stopped"),
    [
        (-200 * DAY, HOUR),
        (2 * HOUR, HOUR),
        (2 * HOUR, 3 * HOUR - 10 * MINUTE),
        (0, 3 * HOUR),
        (0, -11 * MINUTE),
        (300 * DAY, HOUR),
        (0, 300 * DAY),
    ],
)
def test_a_clock_that_is_set_in_mid_session_charges_what_lies_between_receipts(
    version: str, started: int, stopped: int
) -> None:
    seconds, review, cents = charged(session(version, NOON + started, NOON + stopped))
    assert seconds in (3600, 3601)
    assert (review, cents) == (("clock_doubt",), 60)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ahead", [-300 * DAY, -HOUR, 0, MINUTE, 8 * HOUR, 300 * DAY])
def test_a_clock_that_is_wrong_by_the_same_all_the_time_tells_lengths_that_are_right(
    version: str, ahead: int
) -> None:
    seconds, review, cents = charged(session(version, NOON + ahead, NOON + HOUR + ahead))
    # What is dated more than a day after its receipt is a doubt in itself.
    assert (seconds, review, cents) == (3600, ("clock_doubt",) if ahead > DAY else (), 60)


def test_a_session_of_days_that_was_told_offline_is_charged_and_in_doubt() -> None:
    exchanges = [
        start16(7, NOON - 5 * DAY, 1000, recorded_at=NOON),
        stop16(7, NOON - DAY, 3000, recorded_at=NOON + SECOND),
    ]
    assert charged(exchanges) == (4 * 86_400, ("clock_doubt",), 96 * 60)


def test_a_clock_that_is_days_slow_at_the_start_is_a_doubt() -> None:
    """It may have been offline. A week is the most that is charged so."""
    assert charged(session("ocpp1.6", NOON - 3 * DAY, NOON + HOUR))[1] == ("clock_doubt",)
    assert charged(session("ocpp1.6", NOON - 20 * HOUR, NOON + HOUR))[1] == ()
    assert charged(session("ocpp1.6", NOON - 8 * DAY, NOON + HOUR)) == (3600, ("clock_doubt",), 60)


def test_a_stop_without_a_real_id_may_be_dated_before_the_start() -> None:
    stop = stop16(-1, NOON - 11 * MINUTE, 3000, recorded_at=NOON + HOUR + SECOND)
    assert charged([session("ocpp1.6", NOON, 0)[0], stop]) == (3600, ("clock_doubt",), 60)


def test_a_stop_of_a_transaction_before_leaves_the_session() -> None:
    """Its register is that of the start."""
    told = Told([start16(7, NOON, 1000), stop16(-1, NOON - 11 * MINUTE, 1000, recorded_at=NOON + HOUR)])
    assert not told.ends


def test_a_stop_before_two_starts_ends_neither() -> None:
    told = Told([start16(7, NOON, 1000), start16(8, NOON, 500, connector=2, tag="TAG-B")])
    told.tell(stop16(-1, NOON - 11 * MINUTE, 3000, recorded_at=NOON + HOUR))
    assert not told.ends


@pytest.mark.parametrize("version", VERSIONS)
def test_the_charge_record_has_the_time_that_is_charged(version: str) -> None:
    told = Told(session(version, NOON + 2 * HOUR, NOON + HOUR), registry(versions=(HOURLY,)))
    (cdr,) = told.cdrs
    assert (cdr.started_at, cdr.ended_at) == (NOON + SECOND, NOON + HOUR + SECOND)
    assert cdr.intervals[-1].to_at == cdr.ended_at
    assert format_timestamp(cdr.lines[-1].to_at) == format_timestamp(cdr.ended_at)
