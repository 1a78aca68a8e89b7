"""Sharing a limit: never more than there is, max-min fair, deterministic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.load.domain.sites.allocation import MIN_SHARE_MA, STEP_MA, share

LIMITS = st.integers(-1_000, 400_000)
USABLE = st.lists(st.integers(0, 80_000), max_size=20)


def test_equal_shares() -> None:
    assert share(48_000, [32_000] * 3) == [16_000] * 3


def test_what_one_cannot_use_goes_to_the_others() -> None:
    assert share(48_000, [32_000, 10_000, 32_000]) == [19_000, 10_000, 19_000]


def test_later_arrivals_wait() -> None:
    assert share(20_000, [32_000] * 5) == [6_700, 6_700, 6_600, 0, 0]


def test_too_little_for_anybody() -> None:
    assert share(5_999, [32_000, 32_000]) == [0, 0]
    assert share(0, [32_000]) == [0]
    assert share(-5, [32_000]) == [0]


def test_nobody_charging() -> None:
    assert share(100_000, []) == []


@given(LIMITS, USABLE)
def test_the_sum_never_exceeds_the_limit(limit: int, usable: list[int]) -> None:
    assert sum(share(limit, usable)) <= max(limit, 0)


@given(LIMITS, USABLE)
def test_each_gets_six_ampere_or_waits_and_arrivals_come_first(limit: int, usable: list[int]) -> None:
    shares = share(limit, usable)
    admitted = [given > 0 for given in shares]
    assert all(given == 0 or given >= MIN_SHARE_MA for given in shares)
    assert all(given % STEP_MA == 0 for given in shares)
    assert admitted == sorted(admitted, reverse=True)
    # Nobody waits while there is room for another minimum.
    assert sum(admitted) == min(len(usable), max(limit, 0) // MIN_SHARE_MA)


@given(LIMITS, USABLE)
def test_max_min_fair(limit: int, usable: list[int]) -> None:
    """To give somebody more, one would have to take from somebody who has no more."""
    shares = share(limit, usable)
    admitted = [(given, able) for given, able in zip(shares, usable, strict=True) if given]
    for given_ma, able in admitted:
        cap = max(able, MIN_SHARE_MA) // STEP_MA * STEP_MA
        assert given_ma <= cap
        if given_ma < cap:
            assert given_ma >= max(shares) - STEP_MA
            assert limit - sum(shares) < STEP_MA * max(len(admitted), 1)


@given(LIMITS, USABLE)
def test_an_earlier_arrival_never_gets_less_than_an_equal_later_one(limit: int, usable: list[int]) -> None:
    shares = share(limit, usable)
    for first in range(len(usable)):
        for second in range(first + 1, len(usable)):
            if usable[first] == usable[second]:
                assert shares[first] >= shares[second]
