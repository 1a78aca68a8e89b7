"""What registers amount to: sums of rises, and what of them is not billed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sessions.domain.energy import UNKNOWN_W, Measured, Reading, measure, most_wh
from tests.unit.sessions.exchanges import HOUR, MINUTE, NOON

KW22 = 22_080


def measured(*registers: tuple[int, int], own_stop: bool = True, most_w: int | None = KW22) -> Measured:
    """Registers with the minute of each."""
    return measure([(NOON + minute * MINUTE, wh) for minute, wh in registers], own_stop, most_w)


@pytest.mark.parametrize(
    ("what", "registers", "billed", "review", "doubts"),
    [
        ("plain", [(0, 1000), (30, 8000), (60, 15_345)], 14_345, 0, ()),
        ("samples in tenths of a kWh", [(0, 1040), (30, 1000), (50, 8400), (60, 8345)], 7305, 0, ()),
        (
            "reset to zero",
            [(0, 50_000), (30, 59_000), (31, 100), (60, 8000)],
            16_900,
            100,
            ("meter_rollback",),
        ),
        (
            "rolled back",
            [(0, 50_000), (30, 59_000), (31, 49_000), (60, 57_000)],
            17_000,
            0,
            ("meter_rollback",),
        ),
        (
            "a peak",
            [(0, 1000), (10, 3000), (20, 9000), (30, 5000), (40, 7000)],
            6000,
            4000,
            ("meter_rollback",),
        ),
        ("stop below start", [(0, 900_000), (60, 3000)], 0, 3000, ("meter_rollback",)),
        (
            "meter replaced by one that shows more",
            [(0, 50_000), (30, 59_000), (35, 700_000), (60, 707_000)],
            16_000,
            22_120,
            ("implausible_energy",),
        ),
        (
            "lifetime register after a start of zero",
            [(0, 0), (1, 157_440), (60, 169_500)],
            12_060,
            26_060,
            ("implausible_energy",),
        ),
        (
            "more than the connector can deliver, in small steps",
            [(minute, minute * 3000) for minute in range(60)],
            0,
            37_568,
            ("implausible_energy",),
        ),
    ],
)
def test_registers(
    what: str, registers: list[tuple[int, int]], billed: int, review: int, doubts: tuple[str, ...]
) -> None:
    found = measured(*registers)
    assert (found.billed_wh, found.review_wh, found.doubts) == (billed, review, doubts), what
    assert found.readings[-1][1] == billed


@pytest.mark.parametrize("most_w", [KW22, None])
@pytest.mark.parametrize(
    ("what", "registers", "billed", "readings"),
    [
        (
            "samples from zero",
            [(0, 1_250_000), (1, 0), (20, 900), (40, 1800), (60, 1_252_500)],
            2500,
            [0, 0, 900, 1800, 2500],
        ),
        (
            "a lifetime register between",
            [(0, 0), (20, 1_250_900), (40, 1_251_800), (60, 2500)],
            2500,
            [0, 2500],
        ),
        ("one sample of zero", [(0, 50_000), (30, 0), (60, 62_000)], 12_000, [0, 0, 12_000]),
    ],
)
def test_samples_of_another_register_than_start_and_stop(
    what: str, registers: list[tuple[int, int]], billed: int, readings: list[int], most_w: int | None
) -> None:
    found = measured(*registers, most_w=most_w)
    assert (found.billed_wh, found.review_wh, found.doubts) == (billed, 0, ()), what
    assert [wh for _, wh in found.readings] == readings, what


@pytest.mark.parametrize(
    ("what", "registers"),
    [
        ("a reset after the start", [(0, 0), (30, 9000), (60, 2000)]),
        ("samples that rise more than the own register", [(0, 50_000), (20, 0), (40, 9000), (60, 53_000)]),
        ("a stop that the connector cannot have reached", [(0, 50_000), (20, 0), (40, 900), (60, 900_000)]),
    ],
)
def test_samples_that_tell_otherwise_stay_in_doubt(what: str, registers: list[tuple[int, int]]) -> None:
    assert measured(*registers).doubts, what


def test_without_a_registered_current_only_the_absurd_is_reviewed() -> None:
    assert measured((0, 0), (60, 1_000_000), most_w=None).billed_wh == 1_000_000
    assert measured((0, 0), (60, 2_000_001), most_w=None).review_wh == 605_000


@given(
    st.lists(st.tuples(st.integers(0, HOUR), st.integers(0, 40_000)), min_size=1, max_size=30),
    st.booleans(),
    st.sampled_from([None, KW22, 3680]),
)
def test_what_is_billed_only_grows_and_is_bounded_by_the_rises(
    steps: list[Reading], own_stop: bool, most_w: int | None
) -> None:
    at, registers = NOON, []
    for length, wh in steps:
        at += length
        registers.append((at, wh))
    found = measure(registers, own_stop, most_w)
    billed = [wh for _, wh in found.readings]
    assert billed == sorted(billed)
    assert billed[0] == 0
    assert billed[-1] == found.billed_wh
    assert found.billed_wh >= 0
    assert found.review_wh >= 0
    assert [at for at, _ in found.readings] == sorted(at for at, _ in found.readings)
    rises = sum(max(0, b - a) for (_, a), (_, b) in pairwise(registers))
    assert found.billed_wh <= rises
    length = registers[-1][0] - registers[0][0]
    assert found.delivered_wh <= max(found.billed_wh, most_wh(most_w or UNKNOWN_W, length))


def test_a_register_below_zero_is_no_energy() -> None:
    found = measured((0, 0), (60, -120))
    assert (found.billed_wh, found.review_wh) == (0, 0)
    assert found.doubts == ("meter_rollback",)
