"""Division and sharing of whole numbers."""

from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.tariffs import RoundingMode
from libs.tariffs.money import apportion, round_div

RULES = {RoundingMode.HALF_EVEN: ROUND_HALF_EVEN, RoundingMode.HALF_UP: ROUND_HALF_UP}


@pytest.mark.parametrize("mode", RoundingMode)
@given(st.integers(-(10**9), 10**9), st.sampled_from([1, 2, 4, 5, 10, 1000, 2**20]))
def test_division_rounds_as_decimals_do(mode: RoundingMode, number: int, divisor: int) -> None:
    exact = Decimal(number) / Decimal(divisor)
    assert round_div(number, divisor, mode) == int(exact.quantize(Decimal(1), RULES[mode]))


def test_halves() -> None:
    halves = [-5, -3, -1, 1, 3, 5]
    assert [round_div(n, 2, RoundingMode.HALF_EVEN) for n in halves] == [-2, -2, 0, 0, 2, 2]
    assert [round_div(n, 2, RoundingMode.HALF_UP) for n in halves] == [-3, -2, -1, 1, 2, 3]


@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=8),
    st.integers(1, 1000),
    st.sampled_from(RoundingMode),
)
def test_parts_add_up_and_are_neighbours_of_their_exact_share(
    weights: list[int], divisor: int, mode: RoundingMode
) -> None:
    total = round_div(sum(weights), divisor, mode)
    parts = apportion(weights, divisor, total)
    assert sum(parts) == total
    assert all(
        weight // divisor <= part <= -(-weight // divisor)
        for part, weight in zip(parts, weights, strict=True)
    )


def test_the_largest_remainders_go_up_the_first_of_equal_ones_before() -> None:
    assert apportion([14, 16, 16, 14], 10, 6) == [1, 2, 2, 1]
    assert apportion([15, 15, 10], 10, 4) == [2, 1, 1]
