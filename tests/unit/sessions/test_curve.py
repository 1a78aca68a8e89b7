"""Readings joined in any order, repeated and thinned: the same curve, never more energy."""

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.sessions.domain.curve import EMPTY, MOST_BUCKETS, Curve, Points, join
from tests.unit.sessions.exchanges import HOUR, MINUTE, NOON

READING = st.tuples(st.integers(NOON, NOON + 200 * HOUR), st.integers(0, 100_000))


def joined(readings: Points) -> Curve:
    curve = EMPTY
    for at, value in readings:
        curve = join(curve, at, value)
    return curve


def rises(points: Points) -> int:
    return sum(max(0, b - a) for (_, a), (_, b) in pairwise(points))


@given(st.lists(READING, max_size=150), st.randoms(use_true_random=False), st.booleans())
def test_any_order_and_repetition_gives_the_same_curve(
    readings: Points, random: Random, monotone: bool
) -> None:
    if monotone:
        values = sorted(value for _, value in readings)
        readings = list(zip(sorted(at for at, _ in readings), values, strict=True))
    shuffled = [*readings, *random.choices(readings, k=len(readings) // 2)] if readings else []
    random.shuffle(shuffled)
    curve = joined(shuffled)
    assert curve == joined(sorted(readings)) == joined(readings)
    kept = curve.readings()
    assert set(kept) <= set(readings)
    assert len(kept) <= 4 * MOST_BUCKETS
    assert rises(kept) <= rises(sorted(set(readings)))
    assert curve.steady == all(a <= b for (_, a), (_, b) in pairwise(kept))
    for at, value in readings:
        assert join(curve, at, value) is curve
    if readings:
        assert (curve.first(), curve.last()) == (min(readings)[1], max(readings)[1])


@given(st.lists(st.integers(0, 500), min_size=1, max_size=600))
def test_of_a_register_that_only_rises_nothing_is_lost(steps: list[int]) -> None:
    readings, register = [], 10**7
    for n, step in enumerate(steps):
        register += step
        readings.append((NOON + n * MINUTE, register))
    curve = joined(readings)
    assert rises(curve.readings()) == register - readings[0][1]
    assert len(curve.readings()) <= 2 * MOST_BUCKETS
