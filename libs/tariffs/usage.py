"""What a session used: intervals one after the other, each with its energy and what the vehicle did.

Within an interval energy flows evenly. Where an interval is cut, the register that a meter of whole Wh would have shown
there, rounded half up, decides what energy goes to either side. Parts therefore add up to the whole, differ from
the exact share by less than 1 Wh, and do not depend on where else the interval is cut.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import TypeAlias

import msgspec


class Kind(StrEnum):
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
    kind: Kind = Kind.CHARGING
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


def register_at(interval: Interval, at: int) -> int:
    """Wh since the interval's start, as the register shows them at `at` within the interval."""
    length = interval.end - interval.start
    if at >= interval.end or length == 0:
        return interval.energy_wh
    return (2 * interval.energy_wh * (at - interval.start) + length) // (2 * length)


def until(usage: Usage, at: int) -> Usage:
    """What was used before `at`; all of it if it ended by then."""
    kept = []
    for each in usage:
        if each.end <= at:
            kept.append(each)
        elif each.start < at:
            kept.append(msgspec.structs.replace(each, end=at, energy_wh=register_at(each, at)))
    return tuple(kept)


def metered(
    start: int,
    end: int,
    readings: Sequence[tuple[int, int]],
    states: Sequence[tuple[int, Kind]] = (),
) -> Usage:
    """The usage of a session from `start` to `end`.

    `readings`: (moment, Wh of the register), in order, within the session; before the first and after the last nothing
    was taken. `states`: (moment, what the vehicle did from then on), in order; charging before the first. What the
    register gained between two readings was taken evenly over the time of charging between them; if there was
    none, over all the time between them. Raises ValueError for readings that go back, or lie outside.
    """
    _check_readings(start, end, readings)
    marks = sorted({start, end, *(at for at, _ in readings), *(at for at, _ in states if start < at < end)})
    pieces: list[Interval] = []
    moments = [at for at, _ in states]

    def kind_at(at: int) -> Kind:
        index = bisect_right(moments, at)
        return states[index - 1][1] if index else Kind.CHARGING

    def stretch(first: int, last: int, energy_wh: int) -> None:
        """Adds what lies between two readings."""
        inner = marks[bisect_left(marks, first) : bisect_left(marks, last) + 1]
        kinds = [kind_at(at) for at in inner[:-1]]
        everywhere = Kind.CHARGING not in kinds
        lengths = [
            b - a if everywhere or kind is Kind.CHARGING else 0
            for (a, b), kind in zip(pairwise(inner), kinds, strict=True)
        ]
        whole, passed, shown = sum(lengths), 0, 0
        for (a, b), kind, length in zip(pairwise(inner), kinds, lengths, strict=True):
            passed += length
            register = (2 * energy_wh * passed + whole) // (2 * whole)
            pieces.append(Interval(a, b, register - shown, kind))
            shown = register

    known = [(start, readings[0][1] if readings else 0), *readings]
    known.append((end, known[-1][1]))
    for (first, before), (last, after) in pairwise(known):
        if first < last:
            stretch(first, last, after - before)
        elif after > before:
            pieces.append(Interval(first, last, after - before, kind_at(first)))
    return tuple(pieces)


def _check_readings(start: int, end: int, readings: Sequence[tuple[int, int]]) -> None:
    if end < start:
        raise ValueError("the session ends before it starts")
    for (at, wh), (next_at, next_wh) in pairwise(readings):
        if next_at < at or next_wh < wh:
            raise ValueError(f"the register reads {wh} Wh at {at}, then {next_wh} Wh at {next_at}")
    if readings and (readings[0][0] < start or readings[-1][0] > end):
        raise ValueError("a reading lies outside of the session")
