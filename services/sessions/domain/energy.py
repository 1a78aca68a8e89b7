"""Delivered and billable energy from a session's registers. Pure; int Wh and microseconds.

Energy is the sum of the registers' rises, never negative and never a register's absolute value. A fall of more than
`ROLLBACK_TOLERANCE_WH` begins a new segment. A rise is billed, with these exceptions, which go to review:

- more than the connector can deliver in the time (1.5 times `most_w`, plus `SLACK_WH`): for each rise, and for all
  energy to be billed over the whole session;
- a peak: the register falls, but not below its value before the last rise;
- a dip: the register falls, then rises in one step to its former value or above; the part below was counted before;
- the register's value after a fall to where it may have counted from zero since.

Billed and reviewed energy together are the delivered energy, and never more than the connector can deliver in the time.

Samples may be of another register than the transaction's own: a lifetime register at start and stop with samples that
count from zero, or the reverse. If both agree, the transaction's own register is billed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libs.runtime.clock import SECOND

METER_ROLLBACK: Final = "meter_rollback"
IMPLAUSIBLE_ENERGY: Final = "implausible_energy"

ROLLBACK_TOLERANCE_WH: Final = 100
"""Samples may be in tenths of a kWh, where the transaction's own registers are in Wh."""
IMPLAUSIBLE_WH: Final = 2_000_000
"""More than any vehicle takes: a lifetime register was read as a session's."""
SLACK_WH: Final = 5_000
"""Registers move in steps, and the clocks of samples jump."""
WALLBOX_W: Final = 22_080
"""The maximum power of most connectors, 32 A on three phases."""
UNKNOWN_W: Final = 400_000
"""The maximum power assumed where none is registered: it limits the energy in review."""

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
        """All delivered energy, billed or not."""
        return self.billed_wh + self.review_wh


def most_wh(most_w: int | None, length: int) -> int:
    """The most energy, in Wh, that a connector can deliver in `length` microseconds."""
    if most_w is None:
        return IMPLAUSIBLE_WH
    return min(IMPLAUSIBLE_WH, 3 * most_w * max(0, length) // (2 * _WH) + SLACK_WH)


def measure(registers: list[Reading], own_stop: bool, most_w: int | None) -> Measured:
    """The energy of `registers`, which are in the order of time, the first at the start, the last at the end.

    `own_stop`: the last is the transaction's own register, which is exact: samples above it, within the tolerance, are
    lowered to it.
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
