"""Moments as the platform counts them, and back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from libs.runtime.clock import SECOND, iso, micros, moment_of

NOON = datetime(2026, 5, 1, 12, 0, 0, 7, tzinfo=UTC)
DAY = 86_400 * SECOND


@pytest.mark.parametrize("at", [0, -1, 7, 20_574 * DAY + 43_200 * SECOND + 7, 253_402_300_799_999_999])
def test_a_moment_is_its_microseconds_and_they_are_it(at: int) -> None:
    assert micros(moment_of(at)) == at
    assert datetime.fromisoformat(iso(at)) == moment_of(at)
    assert moment_of(at).tzinfo is UTC


def test_zones_tell_the_same_moment_otherwise() -> None:
    assert (
        micros(NOON) == micros(NOON.astimezone(timezone(timedelta(hours=9)))) == 20_574 * DAY + DAY // 2 + 7
    )


def test_a_time_without_zone_is_no_moment() -> None:
    with pytest.raises(TypeError):
        micros(NOON.replace(tzinfo=None))


def test_after_the_year_9999_there_is_no_moment() -> None:
    with pytest.raises(OverflowError):
        moment_of(253_402_300_800_000_000)
