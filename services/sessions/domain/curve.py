"""A bounded set of readings (moment, value) of one quantity, packed into bytes.

Joining is a union: in whatever order readings come, and however often, the curve is the same. It is thinned by a
rule that keeps that so. Time is cut into buckets of 2^`grain` microseconds since the epoch; whenever readings lie in
more than `MOST_BUCKETS` of them, the grain grows by one. Of each bucket the first, the last, the lowest and the highest
reading stay. What stays is a part of what was read, in its order: the sum of its rises is never more than that of all
readings, and equal to it unless a register fell twice within a bucket.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, pairwise
from struct import Struct
from typing import Final

import msgspec

FINEST_GRAIN: Final = 26
"""Buckets of 67 seconds."""
MOST_BUCKETS: Final = 32

POINT: Final = Struct("<qq")
"""A reading: its moment and its value."""
SIZE: Final = POINT.size

Points = list[tuple[int, int]]


class Curve(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Readings in the order of time, then value. `steady`: none is lower than the one before."""

    grain: int = FINEST_GRAIN
    points: bytes = b""
    steady: bool = True

    def readings(self) -> Points:
        """(moment, value) in order."""
        return list(POINT.iter_unpack(self.points))

    def last(self) -> int | None:
        """The value that was read last."""
        if not self.points:
            return None
        value: int = POINT.unpack_from(self.points, len(self.points) - SIZE)[1]
        return value

    def first(self) -> int | None:
        """The value that was read first."""
        return None if not self.points else POINT.unpack_from(self.points)[1]


EMPTY: Final = Curve()


def packed(points: Iterable[tuple[int, int]]) -> bytes:
    """Readings as a curve has them."""
    return b"".join([POINT.pack(*point) for point in points])


def join(curve: Curve, at: int, value: int) -> Curve:
    """`curve` with a reading; the same object if that is no news."""
    points, grain = curve.points, curve.grain
    size = len(points)
    if not size:
        return Curve(grain, POINT.pack(at, value))
    last_at, last = POINT.unpack_from(points, size - SIZE)
    if at <= last_at or value < last:
        return _merge(curve, at, value)
    # What nearly every reading is: later than all, and not lower than the last.
    bucket = at >> grain
    if bucket != last_at >> grain:
        if size >= MOST_BUCKETS * SIZE and _buckets(curve.readings(), grain) == MOST_BUCKETS:
            return _merge(curve, at, value)
        return Curve(grain, points + POINT.pack(at, value), curve.steady)
    if size > SIZE:
        before_at, before = POINT.unpack_from(points, size - 2 * SIZE)
        if before_at >> grain == bucket:
            if before > last:
                return _merge(curve, at, value)
            points = points[:-SIZE]
    return Curve(grain, points + POINT.pack(at, value), curve.steady)


def _merge(curve: Curve, at: int, value: int) -> Curve:
    merged = thinned(sorted({*curve.readings(), (at, value)}), curve.grain)
    return curve if merged.points == curve.points else merged


def thinned(points: Points, grain: int) -> Curve:
    """The curve of `points`, which are in order: of each bucket what stays of it, buckets of `grain` or coarser."""
    while _buckets(points, grain) > MOST_BUCKETS:
        grain += 1
    kept: Points = []
    for _, bucket in groupby(points, key=lambda point: point[0] >> grain):
        kept += _of_bucket(list(bucket))
    return Curve(grain, packed(kept), all(a[1] <= b[1] for a, b in pairwise(kept)))


def _buckets(points: Points, grain: int) -> int:
    return len({at >> grain for at, _ in points})


def _of_bucket(points: Points) -> Points:
    """First, last, lowest (the earliest of equals) and highest (the latest of equals)."""
    lowest = min(points, key=lambda point: point[1])
    highest = max(points, key=lambda point: (point[1], point[0]))
    return sorted({points[0], lowest, highest, points[-1]})
