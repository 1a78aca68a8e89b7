"""What a session's registers say was delivered, and how much of it can be billed. Pure; int Wh and microseconds.

A register counts while it rises. Where it falls by more than `ROLLBACK_TOLERANCE_WH` a new segment begins, and what
it gains there is added: energy is the sum of rises, never negative and never a register's absolute value. A rise is
billed unless something speaks against it; then it is in review:

- more than the connector can deliver in the time (`most_w`, half as much again, and `SLACK_WH`), rise by rise, and all
  that is to be billed over the whole session;
- a peak: the register fell back, but not below where it had been before its last rise;
- a dip: one step leads from below to where the register had fallen from, or beyond; what lies below was counted before;
- what a register shows after a fall to where it may have counted from zero since.

So billed and reviewed energy are always what was delivered.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.runtime.clock import SECOND

METER_ROLLBACK: Final = "meter_rollback"
IMPLAUSIBLE_ENERGY: Final = "implausible_energy"

ROLLBACK_TOLERANCE_WH: Final = 100
"""Sampled registers come in tenths of a kWh where the transaction's own are whole Wh."""
IMPLAUSIBLE_WH: Final = 2_000_000
"""No vehicle takes that much at once: a lifetime register was taken for a session's."""
SLACK_WH: Final = 5_000
"""Registers move in steps, and the clocks of samples jump."""

_WH: Final = 3600 * SECOND

Reading = tuple[int, int]


class Measured(msgspec.Struct, frozen=True, gc=False):
    """`readings`: (moment, Wh to be billed since the start), in order. `doubts`: why something is in review.

    `delivered`: as `readings`, of all that was delivered.
    """

    billed_wh: int
    review_wh: int
    readings: tuple[Reading, ...]
    doubts: tuple[str, ...] = ()
    delivered: tuple[Reading, ...] = ()

    @property
    def delivered_wh(self) -> int:
        """By the meters, billed or not."""
        return self.billed_wh + self.review_wh


def most_wh(most_w: int | None, length: int) -> int:
    """What a connector can have delivered in `length` microseconds."""
    if most_w is None:
        return IMPLAUSIBLE_WH
    return min(IMPLAUSIBLE_WH, 3 * most_w * max(0, length) // (2 * _WH) + SLACK_WH)


def measure(registers: list[Reading], own_stop: bool, most_w: int | None) -> Measured:
    """What registers in the order of time amount to.

    The first is the one at the start, the last the one at the end. `own_stop`: that is the transaction's own, which is
    exact where samples are not: they are lowered to it within the tolerance.
    """
    walk = _Walk(registers[0], most_w)
    for at, wh in _exact(registers) if own_stop else registers[1:]:
        walk.reach(at, wh)
    begin, end = registers[0][0], registers[-1][0]
    if walk.billed > most_wh(most_w, end - begin):
        everything = walk.billed + walk.review
        doubts = tuple(sorted({*walk.doubts, IMPLAUSIBLE_ENERGY}))
        return Measured(0, everything, ((begin, 0), (end, 0)), doubts, tuple(walk.delivered))
    return Measured(
        walk.billed, walk.review, tuple(walk.readings), tuple(sorted(walk.doubts)), tuple(walk.delivered)
    )


def _exact(registers: list[Reading]) -> list[Reading]:
    """All but the first, those of the last segment lowered to the last register."""
    final = registers[-1][1]
    lowered = registers[1:]
    for index in range(len(lowered) - 2, -1, -1):
        at, wh = lowered[index]
        if wh > final + ROLLBACK_TOLERANCE_WH:
            break
        if wh > final:
            lowered[index] = at, final
    return lowered


class _Walk:
    """From register to register: `top` is the highest of the segment so far, `before` the one before it."""

    def __init__(self, start: Reading, most_w: int | None) -> None:
        at, wh = start
        self.billed = self.review = 0
        self.doubts: set[str] = set()
        self.readings: list[Reading] = [(at, 0)]
        self.delivered: list[Reading] = [(at, 0)]
        self._most_w = most_w
        self._top = self._before = wh
        self._top_at = at
        self._last_billed = 0
        self._fell_from: int | None = None

    def reach(self, at: int, wh: int) -> None:
        if wh > self._top:
            self._rise(at, wh)
        elif wh < self._top - ROLLBACK_TOLERANCE_WH:
            self._fall(at, wh)
        elif wh == self._top:
            self._top_at = at
        self.readings.append((at, self.billed))
        self.delivered.append((at, self.billed + self.review))

    def _rise(self, at: int, wh: int) -> None:
        rise = wh - self._top
        new = rise
        if self._fell_from is not None and wh >= self._fell_from:
            new = wh - self._fell_from
            self._fell_from = None
        if rise > most_wh(self._most_w, at - self._top_at):
            self.doubts.add(IMPLAUSIBLE_ENERGY)
            new = 0
        self.billed += new
        self.review += rise - new
        self._last_billed = new
        self._before, self._top, self._top_at = self._top, wh, at

    def _fall(self, at: int, wh: int) -> None:
        self.doubts.add(METER_ROLLBACK)
        if wh >= self._before:
            peak = min(self._top - wh, self._last_billed)
            self.billed -= peak
            self.review += peak
            self._lower(self.billed)
        else:
            if 0 < wh <= most_wh(self._most_w, at - self._top_at) - SLACK_WH:
                self.review += wh
            self._fell_from = self._top if self._fell_from is None else max(self._fell_from, self._top)
        self._before = self._top = wh
        self._top_at = at
        self._last_billed = 0

    def _lower(self, most: int) -> None:
        for index in range(len(self.readings) - 1, -1, -1):
            moment, wh = self.readings[index]
            if wh <= most:
                break
            self.readings[index] = moment, most
