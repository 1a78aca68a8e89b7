"""What a session used: intervals one after the other, each with its energy and what the vehicle did.

Within an interval energy flows evenly. Where an interval is cut, the register that a meter of whole Wh would have shown
there, rounded half up, decides what energy goes to either side. Parts therefore add up to the whole, differ from
the exact share by less than 1 Wh, and do not depend on where else the interval is cut.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from operator import itemgetter
from typing import TypeAlias

import msgspec


class VehicleState(StrEnum):
    """What a connected vehicle does. SUSPENDED: it, or the station, holds back for now. IDLE: it is done."""

    CHARGING = "charging"
    SUSPENDED = "suspended"
    IDLE = "idle"


class Interval(msgspec.Struct, frozen=True, gc=False):
    """`energy_wh` taken from `start` to `end` (microseconds, UTC), evenly; all of it at once if they are equal.

    `current_ma`: mean of the sum over all phases; None if it is not known.
    """

    start: int
    end: int
    energy_wh: int
    kind: VehicleState = VehicleState.CHARGING
    current_ma: int | None = None


Usage: TypeAlias = tuple[Interval, ...]
"""Intervals in order, each beginning where the one before ends."""


def checked(intervals: Iterable[Interval]) -> Usage:
    """The intervals as a usage. Raises ValueError for gaps, overlaps and negative energy or time."""
    usage = tuple(intervals)
    for each in usage:
        if each.end < each.start or each.energy_wh < 0:
            raise ValueError(f"an interval of {each.end - each.start} us and {each.energy_wh} Wh")
    for one, next_one in pairwise(usage):
        if one.end != next_one.start:
            raise ValueError(f"an interval ends at {one.end}, and the next one begins at {next_one.start}")
    return usage


def usage_from_readings(
    start: int,
    end: int,
    readings: Sequence[tuple[int, int]],
    states: Sequence[tuple[int, VehicleState]] = (),
) -> Usage:
    """The usage of a session from `start` to `end`.

    `readings`: (moment, Wh of the register), in order, within the session; before the first and after the last nothing
    was taken. `states`: (moment, what the vehicle did from then on), in order; charging before the first. What the
    register gained between two readings was taken evenly over the time of charging between them; if there was
    none, over all the time between them. Raises ValueError for readings that go back, or lie outside.
    """
    _check_readings(start, end, readings)
    pieces: list[Interval] = []
    known = [(start, readings[0][1] if readings else 0), *readings]
    known.append((end, known[-1][1]))
    kind, passed, change = VehicleState.CHARGING, 0, states[0][0] if states else None
    first, before = known[0]
    for last, after in known:
        while change is not None and change <= first:
            kind = states[passed][1]
            passed += 1
            change = states[passed][0] if passed < len(states) else None
        if first < last and change is not None and change < last:
            pieces += _stretch(first, last, after - before, kind, states[passed:])
        elif first < last or after > before:
            pieces.append(Interval(first, last, after - before, kind))
        first, before = last, after
    return tuple(pieces)


def _stretch(
    first: int, last: int, energy_wh: int, kind: VehicleState, states: Sequence[tuple[int, VehicleState]]
) -> Iterable[Interval]:
    """What lies between two readings if what the vehicle did changed in between: `kind`, then `states`."""
    marks = [(first, kind), *states[: bisect_left(states, last, key=itemgetter(0))]]
    ends = [*(at for at, _ in marks[1:]), last]
    parts = [(at, end, did) for (at, did), end in zip(marks, ends, strict=True) if at < end]
    everywhere = all(did is not VehicleState.CHARGING for _, _, did in parts)
    whole = sum(end - at for at, end, did in parts if everywhere or did is VehicleState.CHARGING)
    passed = shown = 0
    for at, end, did in parts:
        passed += end - at if everywhere or did is VehicleState.CHARGING else 0
        register = (2 * energy_wh * passed + whole) // (2 * whole)
        yield Interval(at, end, register - shown, did)
        shown = register


def _check_readings(start: int, end: int, readings: Sequence[tuple[int, int]]) -> None:
    if end < start:
        raise ValueError("the session ends before it starts")
    for (at, wh), (next_at, next_wh) in pairwise(readings):
        if next_at < at or next_wh < wh:
            raise ValueError(f"the register reads {wh} Wh at {at}, then {next_wh} Wh at {next_at}")
    if readings and (readings[0][0] < start or readings[-1][0] > end):
        raise ValueError("a reading lies outside of the session")
