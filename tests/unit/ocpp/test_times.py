from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ocpp import quirks
from libs.ocpp.times import format_timestamp, parse_timestamp

NOW = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
DAY = 86_400_000_000


@pytest.mark.parametrize(
    ("value", "micros", "seen"),
    [
        ("2026-01-01T00:00:00Z", NOW, ()),
        ("2026-01-01T00:00:00.123Z", NOW + 123_000, ()),
        ("2026-01-01T00:00:00.1234567Z", NOW + 123_456, ()),
        ("2026-01-01T02:00:00+02:00", NOW, ()),
        ("2025-12-31T19:00:00-05:00", NOW, ()),
        ("2026-01-01T00:00:00+0000", NOW, ()),
        ("2026-01-01 00:00:00Z", NOW, ()),
        ("2026-01-01T00:00:00", NOW, (quirks.TIMESTAMP_WITHOUT_ZONE,)),  # Growatt
        ("2026-01-01T00:00:00z", NOW, (quirks.TIMESTAMP_FORMAT,)),
        ("2025-12-31T23:59:60Z", NOW - 1_000_000, (quirks.TIMESTAMP_FORMAT,)),
        ("1970-01-01T00:00:12Z", NOW, (quirks.TIMESTAMP_OUT_OF_BOUNDS,)),
        ("2018-01-01T00:00:00Z", NOW, (quirks.TIMESTAMP_OUT_OF_BOUNDS,)),  # when its firmware was built
        ("2030-01-01T00:00:00Z", NOW, (quirks.TIMESTAMP_OUT_OF_BOUNDS,)),
        ("222222017-01-01T00:00:00Z", NOW, (quirks.TIMESTAMP_UNREADABLE,)),
        ("0001-01-01T00:00:00+14:00", NOW, (quirks.TIMESTAMP_OUT_OF_BOUNDS,)),
        ("yesterday", NOW, (quirks.TIMESTAMP_UNREADABLE,)),
        ("", NOW, (quirks.TIMESTAMP_UNREADABLE,)),
        ("1767225600", NOW, (quirks.TIMESTAMP_NUMBER,)),
        (1767225600, NOW, (quirks.TIMESTAMP_NUMBER,)),
        (1767225600000, NOW, (quirks.TIMESTAMP_NUMBER,)),
        (12345, NOW, (quirks.TIMESTAMP_NUMBER, quirks.TIMESTAMP_OUT_OF_BOUNDS)),
        (-5, NOW, (quirks.TIMESTAMP_NUMBER, quirks.TIMESTAMP_OUT_OF_BOUNDS)),
        ("NaN", NOW, (quirks.TIMESTAMP_NUMBER, quirks.TIMESTAMP_OUT_OF_BOUNDS)),
        ("1e400", NOW, (quirks.TIMESTAMP_NUMBER, quirks.TIMESTAMP_OUT_OF_BOUNDS)),
        (None, NOW, ()),
        ({}, NOW, (quirks.TIMESTAMP_UNREADABLE,)),
        ("9" * 100_000, NOW, (quirks.TIMESTAMP_UNREADABLE,)),
    ],
)
def test_parse_timestamp(value: object, micros: int, seen: tuple[str, ...]) -> None:
    assert parse_timestamp(value, NOW) == (micros, seen)


def test_zoneless_timestamps_are_read_in_the_chargers_zone() -> None:
    zone = timezone(timedelta(hours=2))
    assert parse_timestamp("2026-01-01T02:00:00", NOW, zone) == (NOW, (quirks.TIMESTAMP_WITHOUT_ZONE,))


def test_a_year_of_queued_messages_is_believed() -> None:
    assert parse_timestamp(format_timestamp(NOW - 365 * DAY), NOW) == (NOW - 365 * DAY, ())


@given(st.integers(min_value=(NOW - 366 * DAY) // 1000, max_value=(NOW + 366 * DAY) // 1000))
def test_format_and_parse_are_inverse(millis: int) -> None:
    assert parse_timestamp(format_timestamp(millis * 1000), NOW) == (millis * 1000, ())


@given(st.text(max_size=50) | st.integers() | st.floats() | st.none() | st.binary())
def test_any_value_gives_a_time_within_bounds(value: object) -> None:
    micros, _ = parse_timestamp(value, NOW)
    assert abs(micros - NOW) <= 366 * DAY


@pytest.mark.parametrize(
    ("shown", "received", "meant"),
    [
        # Berlin: 3:00 CEST is followed by 2:00 CET, and 2:00 CET by 3:00 CEST.
        ("2026-10-25T02:30:00", "2026-10-25T00:30:02Z", "2026-10-25T00:30:00Z"),
        ("2026-10-25T02:10:00", "2026-10-25T01:10:02Z", "2026-10-25T01:10:00Z"),
        ("2026-10-25T02:10:00", "2026-10-25T09:00:00Z", "2026-10-25T01:10:00Z"),
        ("2026-10-25T03:30:00", "2026-10-25T00:30:02Z", "2026-10-25T02:30:00Z"),
        ("2026-03-29T02:30:00", "2026-03-29T01:30:02Z", "2026-03-29T01:30:00Z"),
    ],
)
def test_of_two_moments_that_a_clock_shows_it_is_the_one_nearer_to_its_receipt(
    shown: str, received: str, meant: str
) -> None:
    received_at, _ = parse_timestamp(received, NOW)
    at, _ = parse_timestamp(shown, received_at, ZoneInfo("Europe/Berlin"))
    assert format_timestamp(at) == f"{meant[:-1]}.000Z"


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "Europe/Dublin"])
@pytest.mark.parametrize("shown", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
def test_the_ends_of_time_can_be_read_in_any_zone(zone: str, shown: str) -> None:
    odd = (quirks.TIMESTAMP_WITHOUT_ZONE, quirks.TIMESTAMP_OUT_OF_BOUNDS)
    assert parse_timestamp(shown, NOW, ZoneInfo(zone)) == (NOW, odd)
