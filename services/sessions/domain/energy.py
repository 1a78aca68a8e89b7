"""What a session's registers say was delivered, and how much of it can be billed. Pure; int Wh and microseconds.

A register counts while it rises. Where it falls by more than `ROLLBACK_TOLERANCE_WH` a new segment begins, and what
it gains there is added: energy is the sum of rises, never negative and never a register's absolute value. A rise is
billed unless something speaks against it; then it is in review:

- more than the connector can deliver in the time (`most_w`, half as much again, and `SLACK_WH`), rise by rise, and all
  that is to be billed over the whole session;
- a peak: the register fell back, but not below where it had been before its last rise;
- a dip: one step leads from below to where the register had fallen from, or beyond; what lies below was counted before;
- what a register shows after a fall to where it may have counted from zero since.

So billed and reviewed energy are what was delivered, as the registers show it, and never more than the connector can
deliver in the time.

Samples may be of another register than the transaction's own: a lifetime register at start and stop, and samples that
count from zero, or the other way round. Where both tell the same, the transaction's own is billed.
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
WALLBOX_W: Final = 22_080
"""What most connectors deliver at most, 32 A on three phases."""
UNKNOWN_W: Final = 400_000
"""What a connector whose power is not known delivers at most: more than that is not in review either."""

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
    registers = of_one_register(registers, own_stop, most_w)
    walk = _Walk(registers[0], most_w)
    for at, wh in _exact(registers) if own_stop else registers[1:]:
        walk.reach(at, wh)
    length = registers[-1][0] - registers[0][0]
    doubts = tuple(sorted(walk.doubts))
    billed, review, readings = walk.billed, walk.review, tuple(walk.readings)
    if billed > most_wh(most_w, length):
        billed, review = 0, billed + review
        readings = (registers[0][0], 0), (registers[-1][0], 0)
        doubts = tuple(sorted({*doubts, IMPLAUSIBLE_ENERGY}))
    most = max(billed, most_wh(most_w or UNKNOWN_W, length))
    delivered = tuple([(at, min(wh, most)) for at, wh in walk.delivered])
    return Measured(billed, min(review, most - billed), readings, doubts, delivered)


def of_one_register(registers: list[Reading], own_stop: bool, most_w: int | None) -> list[Reading]:
    """`registers` with samples of the same register as start and stop, where those tell something else.

    Samples that count from zero are brought to the register at the start. Those of a register that is so high that the
    vehicle cannot have taken that are left out. Either only if they rose by no more than from start to stop.
    """
    (begin, start), (end, stop) = registers[0], registers[-1]
    # 2.x tells start and stop as samples, too.
    samples = [each for each in registers[1:-1] if each not in (registers[0], registers[-1])]
    if not own_stop or not samples or not 0 <= stop - start <= most_wh(most_w, end - begin):
        return registers
    low, high = start - ROLLBACK_TOLERANCE_WH, stop + ROLLBACK_TOLERANCE_WH
    first, last = samples[0][1], samples[-1][1]
    if any(low <= wh <= high for _, wh in samples) or last - first > high - start:
        return registers
    if last + start <= high:
        found = [registers[0], *((at, wh + start) for at, wh in samples), registers[-1]]
    elif first - start > most_wh(most_w or UNKNOWN_W, end - begin):
        found = [registers[0], registers[-1]]
    else:
        return registers
    walk = _Walk(registers[0], most_w)
    for at, wh in _exact(found):
        walk.reach(at, wh)
    return registers if walk.doubts else found


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
