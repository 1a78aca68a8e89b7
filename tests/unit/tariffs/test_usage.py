"""Energy is split so that parts add up."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.tariffs.usage import Interval, VehicleState, checked, usage_from_readings

MINUTE = 60_000_000


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
