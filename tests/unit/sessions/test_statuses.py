"""OCPP 1.6: the statuses of a connector tell what the vehicle did, whichever of the two topics comes first."""

from itertools import combinations
from typing import Any

import pytest

from libs.events.ocpp_log import OcppCallReceived
from libs.events.registry import TariffVersion
from libs.events.sessions import CdrSource
from libs.events.tariffs import Dimension, PriceComponent, TariffElement, TariffTerms
from services.sessions.domain.statuses import MOST_OF_CONNECTOR, MOST_OF_STATION
from tests.unit.sessions.exchanges import DAY, HOUR, MINUTE, NOON, SECOND, event2, meter16, start16, stop16
from tests.unit.sessions.given import Told, kinds, registry
from tests.unit.sessions.signs import status2, status16

PARKING = TariffVersion(
    version=1,
    valid_from=0,
    currency="EUR",
    price_per_kwh_milli=0,
    terms=TariffTerms(
        elements=(
            TariffElement(
                price_components=(
                    PriceComponent(type=Dimension.ENERGY, price_milli=50_000),
                    PriceComponent(type=Dimension.PARKING_TIME, price_milli=600_000),
                )
            ),
        )
    ),
)


def transaction() -> list[OcppCallReceived]:
    return [
        start16(7, NOON, 0),
        meter16(7, NOON + 30 * MINUTE, 5000),
        stop16(7, NOON + 2 * HOUR, 9000),
    ]


def statuses() -> list[OcppCallReceived]:
    return [
        status16("Preparing", NOON - MINUTE),
        status16("Charging", NOON + 5 * MINUTE),
        status16("SuspendedEVSE", NOON + 30 * MINUTE),
        status16("Charging", NOON + 60 * MINUTE),
        status16("Finishing", NOON + 90 * MINUTE),
        status16("Available", NOON + 2 * HOUR),
    ]


def times(told: Told) -> tuple[int, int, int]:
    end = told.ends[-1]
    return end.charging_s // 60, end.suspended_s // 60, end.idle_s // 60


@pytest.mark.parametrize("places", [*combinations(range(9), 3)])
def test_either_topic_may_be_first(places: tuple[int, ...]) -> None:
    """Every way to shuffle the two topics into each other."""
    steps, signs = iter(transaction()), iter(statuses())
    told = Told([next(steps if n in places else signs) for n in range(9)], registry(versions=(PARKING,)))
    told.tick(NOON + DAY)
    # Preparing waits for 5 minutes, 30 minutes are suspended, 30 idle.
    assert times(told) == (55, 35, 30)
    assert (told.ends[-1].energy_wh, told.cdrs[-1].amount_minor) == (9000, 450 + 300)


def test_what_was_told_counts_more_than_a_register_that_stands_still() -> None:
    told = Told([start16(7, NOON, 0), status16("Charging", NOON), meter16(7, NOON + 20 * MINUTE, 100)])
    told.tell(meter16(7, NOON + 50 * MINUTE, 100), stop16(7, NOON + HOUR, 200))
    assert times(told) == (60, 0, 0)


def test_statuses_that_say_nothing_of_charging_leave_it_to_the_register() -> None:
    told = Told([status16("Preparing", NOON - 1), start16(7, NOON, 0), meter16(7, NOON + 20 * MINUTE, 4000)])
    told.tell(meter16(7, NOON + 50 * MINUTE, 4000), stop16(7, NOON + HOUR, 4000))
    assert times(told) == (20, 0, 40)


def test_a_vehicle_that_never_charged_waited() -> None:
    told = Told([status16("Preparing", NOON), start16(7, NOON, 500), stop16(7, NOON + HOUR, 500)])
    assert times(told) == (0, 60, 0)


def test_a_faulted_connector_is_no_idling_vehicle() -> None:
    told = Told([start16(7, NOON, 0), status16("Charging", NOON), status16("Faulted", NOON + 10 * MINUTE)])
    told.tell(status16("Charging", NOON + 30 * MINUTE), stop16(7, NOON + HOUR, 9000))
    assert times(told) == (40, 20, 0)


def test_who_is_gone_before_the_stop_does_not_idle() -> None:
    told = Told([start16(7, NOON, 0), status16("Charging", NOON), status16("Finishing", NOON + 20 * MINUTE)])
    told.tell(status16("Available", NOON + 30 * MINUTE))
    told.tell(stop16(7, NOON + HOUR, 9000, recorded_at=NOON + 2 * HOUR))
    assert times(told) == (20, 30, 10)


def test_statuses_of_the_same_second_follow_the_life_of_a_session() -> None:
    signs = [
        status16(name, NOON, recorded_at=NOON + SECOND) for name in ("Charging", "Preparing", "SuspendedEVSE")
    ]
    told = Told([*signs, start16(7, NOON, 0), stop16(7, NOON + HOUR, 9000)])
    assert times(told) == (60, 0, 0)


def test_the_status_told_before_the_start_holds_until_the_next() -> None:
    told = Told([status16("Charging", NOON - HOUR), status16("SuspendedEV", NOON - 2 * SECOND)])
    told.tell(start16(7, NOON, 0), status16("Charging", NOON + 30 * MINUTE), stop16(7, NOON + HOUR, 9000))
    assert times(told) == (30, 30, 0)


def test_a_status_of_an_offline_queue_corrects_only_what_somebody_pays_for() -> None:
    late = status16("Finishing", NOON + 30 * MINUTE, recorded_at=NOON + 5 * HOUR)
    for version, documents in ((None, 1), (PARKING, 3)):
        tables = registry() if version is None else registry(versions=(version,))
        told = Told([status16("Charging", NOON), start16(7, NOON, 0), stop16(7, NOON + HOUR, 9000)], tables)
        told.tell(late)
        assert len(told.documents) == documents
        assert told.tell(late) == []
    assert kinds(told.records())[-3:] == ["SessionCorrected", "CdrCredited", "CdrIssued"]
    assert times(told) == (30, 0, 30)
    # 9 kWh at 50 cents, half an hour at 6 euro.
    assert [d.amount_minor for d in told.documents] == [450, -450, 750]


def test_statuses_after_the_end_are_another_sessions() -> None:
    told = Told([status16("Charging", NOON), start16(7, NOON, 0), stop16(7, NOON + HOUR, 9000)])
    state = told.state
    assert state is not None
    assert told.tell(status16("Finishing", NOON + HOUR), status16("Available", NOON + 2 * HOUR)) == []
    assert told.state is not None
    assert told.state.closed == state.closed


def test_a_record_says_where_the_statuses_are() -> None:
    told = Told([status16("Preparing", NOON - MINUTE), status16("Charging", NOON), start16(7, NOON, 0)])
    told.tell(status16("Finishing", NOON + 50 * MINUTE), stop16(7, NOON + HOUR, 9000))
    assert told.cdrs[0].sources == (
        CdrSource(topic="ocpp.transactions", partition=0, first_offset=0, last_offset=1),
        CdrSource(topic="ocpp.lifecycle", partition=0, first_offset=1, last_offset=2),
    )


def test_what_does_not_count() -> None:
    """The station itself, another connector, statuses that are of no session, a clock that means nothing, and 2.x."""
    charging = [status16("Charging", NOON), start16(7, NOON, 0)]
    odd = [
        status16("SuspendedEV", NOON + 10 * MINUTE, connector=0),
        status16("SuspendedEV", NOON + 10 * MINUTE, connector=2),
        status16("Reserved", NOON + 10 * MINUTE),
        status16("Unavailable", NOON + 10 * MINUTE),
        status16("SuspendedEV", NOON + 10 * MINUTE, timestamp="1970-01-01T00:00:00Z"),
        status16("SuspendedEV", NOON + 10 * MINUTE, timestamp="now"),
        status2("Occupied", NOON + 10 * MINUTE),
    ]
    told = Told([*charging, *odd, stop16(7, NOON + HOUR, 9000)])
    assert times(told) == (60, 0, 0)
    assert kinds(told.records()) == ["SessionStarted", "SessionUpdated", "SessionEnded", "CdrIssued"]


def test_of_a_station_without_sessions_nothing_is_kept_for_long() -> None:
    told = Told([status2("Available", NOON), status16("Available", NOON, connector=0)])
    assert told.state is None
    assert told.tell(status16("Available", NOON)) == []
    assert told.state is not None
    told.tick(NOON + DAY + 2 * SECOND)
    assert told.state is None


def test_state_stays_bounded_whatever_is_told() -> None:
    told = Told()
    for n in range(400):
        told.tell(status16(("Charging", "SuspendedEV")[n % 2], NOON + n * SECOND, connector=n % 13 + 1))
        told.tell(status16("Available", NOON + n * SECOND, connector=77))
    assert told.state is not None
    assert len(told.state.statuses) <= MOST_OF_STATION * 40
    told = Told([status16(("Charging", "SuspendedEV")[n % 2], NOON + n * SECOND) for n in range(100)])
    assert told.state is not None
    assert len(told.state.statuses) <= MOST_OF_CONNECTOR * 40


def test_a_status_that_is_repeated_all_day_does_not_crowd_out_the_others() -> None:
    told = Told([status16("Charging", NOON), status16("SuspendedEV", NOON + MINUTE)])
    told.tell(*[status16("Charging", NOON + (2 + n) * MINUTE) for n in range(58)])
    told.tell(start16(7, NOON, 0, recorded_at=NOON + 2 * HOUR))
    told.tell(stop16(7, NOON + HOUR, 9000, recorded_at=NOON + 2 * HOUR + 1))
    assert times(told) == (59, 1, 0)


def test_two_connectors_are_told_apart() -> None:
    told = Told([start16(1, NOON, 0), start16(2, NOON, 0, connector=2, tag="TAG-B")])
    told.tell(status16("Charging", NOON), status16("Charging", NOON, connector=2))
    told.tell(status16("SuspendedEV", NOON + 30 * MINUTE, connector=2))
    told.tell(stop16(1, NOON + HOUR, 9000), stop16(2, NOON + HOUR, 9000))
    assert [(e.charging_s, e.suspended_s) for e in told.ends] == [(3600, 0), (1800, 1800)]


HOURLY = TariffVersion(
    version=1,
    valid_from=0,
    currency="EUR",
    price_per_kwh_milli=0,
    terms=TariffTerms(
        elements=(
            TariffElement(price_components=(PriceComponent(type=Dimension.TIME, price_milli=600_000),)),
        )
    ),
)


@pytest.mark.parametrize("place", range(4))
def test_a_status_that_was_dated_ahead_and_told_before_the_start_does_not_end_the_charging(
    place: int,
) -> None:
    """The clock was ahead until the boot was answered; either topic may be first."""
    ahead = status16("Available", NOON + HOUR, recorded_at=NOON - MINUTE)
    exchanges = [
        status16("Charging", NOON + 5 * SECOND),
        start16(7, NOON, 0, recorded_at=NOON + SECOND),
        stop16(7, NOON + 2 * HOUR, 9000),
    ]
    exchanges.insert(place, ahead)
    told = Told(exchanges, registry(versions=(HOURLY,)))
    told.tick(NOON + DAY)
    end = told.ends[-1]
    # It was Available before the start, and charged from the next status on.
    assert (end.charging_s, end.suspended_s, end.idle_s) == (7195, 5, 0)
    assert told.cdrs[-1].amount_minor == 1199


def test_a_status_counts_from_its_receipt_at_the_latest() -> None:
    told = Told([start16(7, NOON, 0, recorded_at=NOON + SECOND), status16("Charging", NOON + 5 * SECOND)])
    told.tell(status16("SuspendedEV", NOON + 90 * MINUTE, recorded_at=NOON + 20 * MINUTE))
    told.tell(status16("Charging", NOON + 60 * MINUTE), stop16(7, NOON + 2 * HOUR, 9000))
    assert times(told) == (80, 40, 0)


def test_what_is_ahead_all_the_time_keeps_its_lengths() -> None:
    lead = HOUR

    def at(minutes: int) -> dict[str, Any]:
        return {"at": NOON + minutes * MINUTE + lead, "recorded_at": NOON + minutes * MINUTE}

    told = Told([start16(7, meter=0, **at(0)), status16("Charging", **at(1))])
    told.tell(status16("SuspendedEV", **at(30)), status16("Charging", **at(60)))
    told.tell(stop16(7, meter=9000, **at(120)))
    assert times(told) == (90, 30, 0)


@pytest.mark.parametrize("version", ["ocpp2.0.1", "ocpp2.1"])
def test_a_charging_state_of_2_x_counts_from_its_receipt_at_the_latest(version: str) -> None:
    told = Told(
        [
            event2("Started", "a", 0, NOON, 0, state="Charging", tag="A", version=version),
            event2(
                "Updated",
                "a",
                1,
                NOON + 90 * MINUTE,
                state="SuspendedEV",
                version=version,
                recorded_at=NOON + 20 * MINUTE,
                trigger="ChargingStateChanged",
            ),
            event2("Updated", "a", 2, NOON + 60 * MINUTE, state="Charging", version=version),
            event2("Ended", "a", 3, NOON + 120 * MINUTE, 9000, version=version),
        ]
    )
    assert times(told) == (80, 40, 0)
