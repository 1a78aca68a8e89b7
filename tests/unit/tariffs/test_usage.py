"""Energy is split so that parts add up."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.tariffs.usage import Interval, VehicleState, checked, register_at, truncate, usage_from_readings

MINUTE = 60_000_000
INTERVALS = st.builds(
    lambda start, length, wh: Interval(start, start + length, wh),
    st.integers(0, 10**15),
    st.integers(0, 10**11),
    st.integers(0, 100_000),
)


@given(INTERVALS, st.lists(st.integers(0, 10**11), max_size=6))
def test_parts_add_up_and_stay_close_to_their_exact_share(interval: Interval, offsets: list[int]) -> None:
    length = interval.end - interval.start
    cuts = sorted({interval.start, interval.end, *(interval.start + o for o in offsets if o < length)})
    parts = [register_at(interval, b) - (register_at(interval, a) if a > interval.start else 0)
             for a, b in pairwise(cuts)]  # fmt: skip
    if length:
        assert sum(parts) == interval.energy_wh
    for (a, b), part in zip(pairwise(cuts), parts, strict=True):
        assert abs(part * length - interval.energy_wh * (b - a)) <= length
        assert part >= 0


def test_a_cut_is_rounded_half_up_to_the_watt_hour() -> None:
    interval = Interval(0, 4 * MINUTE, 2)
    assert [register_at(interval, n * MINUTE) for n in range(5)] == [0, 1, 1, 2, 2]


@given(INTERVALS, st.integers(0, 10**11))
def test_what_was_used_so_far_is_a_beginning_of_the_whole(interval: Interval, after: int) -> None:
    at = interval.start + after
    so_far = truncate((interval,), at)
    assert sum(each.energy_wh for each in so_far) <= interval.energy_wh
    if at >= interval.end:
        assert so_far == (interval,)
    elif after:
        assert (so_far[0].end, so_far[0].energy_wh) == (at, register_at(interval, at))
    else:
        assert so_far == ()


def test_gaps_and_negative_amounts_are_refused() -> None:
    with pytest.raises(ValueError, match="next one begins"):
        checked([Interval(0, 5, 1), Interval(6, 7, 1)])
    with pytest.raises(ValueError, match="-1 Wh"):
        checked([Interval(0, 5, -1)])


@st.composite
def meters(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]], list[tuple[int, VehicleState]]]:
    times = sorted(draw(st.lists(st.integers(0, 1000), min_size=2, max_size=8)))
    registers = sorted(draw(st.lists(st.integers(0, 5000), min_size=len(times), max_size=len(times))))
    marks = sorted(draw(st.lists(st.integers(-10, 1010), max_size=4)))
    states = [(at, draw(st.sampled_from(VehicleState))) for at in marks]
    readings = list(zip(times, registers, strict=True))
    return min(0, times[0]), max(1000, times[-1]), readings, states


@given(meters())
@settings(max_examples=300)
def test_registers_become_intervals_without_gaps_that_hold_what_the_register_gained(
    meter: tuple[int, int, list[tuple[int, int]], list[tuple[int, VehicleState]]],
) -> None:
    start, end, readings, states = meter
    usage = checked(usage_from_readings(start, end, readings, states))
    assert (usage[0].start, usage[-1].end) == (start, end)
    assert sum(each.energy_wh for each in usage) == readings[-1][1] - readings[0][1]
    for (first, before), (last, after) in pairwise(readings):
        inside = [each for each in usage if first <= each.start and each.end <= last]
        if first < last:
            assert sum(each.energy_wh for each in inside if each.start < each.end) == after - before
            charged = any(each.kind is VehicleState.CHARGING for each in inside if each.start < each.end)
            assert not charged or all(
                each.energy_wh == 0
                for each in inside
                if each.kind is not VehicleState.CHARGING and each.start < each.end
            )


def test_energy_goes_to_the_time_of_charging() -> None:
    usage = usage_from_readings(
        0,
        90 * MINUTE,
        [(0, 1000), (60 * MINUTE, 7000)],
        [(0, VehicleState.CHARGING), (45 * MINUTE, VehicleState.IDLE)],
    )
    assert usage == (
        Interval(0, 45 * MINUTE, 6000),
        Interval(45 * MINUTE, 60 * MINUTE, 0, VehicleState.IDLE),
        Interval(60 * MINUTE, 90 * MINUTE, 0, VehicleState.IDLE),
    )


def test_what_is_split_by_a_pause_is_rounded_half_up() -> None:
    states = [
        (0, VehicleState.CHARGING),
        (MINUTE, VehicleState.SUSPENDED),
        (2 * MINUTE, VehicleState.CHARGING),
    ]
    found = usage_from_readings(0, 4 * MINUTE, [(0, 100), (4 * MINUTE, 105)], states)
    # A third of 5 Wh in the first minute: the register would have shown 101.67, so 102.
    assert [(each.end - each.start, each.energy_wh) for each in found] == [
        (MINUTE, 2),
        (MINUTE, 0),
        (2 * MINUTE, 3),
    ]


@pytest.mark.parametrize("readings", [[(0, 5), (10, 4)], [(5, 1), (4, 2)], [(-1, 0)], [(101, 0)]])
def test_registers_that_go_back_or_lie_outside_are_refused(readings: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"register|reading"):
        usage_from_readings(0, 100, readings)
