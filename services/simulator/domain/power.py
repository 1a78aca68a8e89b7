"""Meters, cars and the power that flows between them.

Energy is integrated in whole watt-microseconds, so that splitting an interval never changes the register.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

VOLTAGE_V = 230
# IEC 61851-1: a pilot signal cannot offer less than 6 A, so a lower limit suspends an AC charge.
MIN_AC_CURRENT_A = 6
# A car that is nearly full draws less: linearly down to this share over the last part of what it wants.
TAPER_SHARE = 0.1
TAPER_FLOOR = 0.2
WUS_PER_WH = 3_600_000_000

Current = Literal["AC", "DC"]


@dataclass(frozen=True, slots=True)
class Meter:
    """An import register that only counts up. `wus` is the lifetime energy in watt-microseconds."""

    wus: int

    @classmethod
    def at(cls, register_wh: int) -> Meter:
        """A meter whose register shows `register_wh`."""
        return cls(register_wh * WUS_PER_WH)

    @property
    def register_wh(self) -> int:
        """What the register shows: whole Wh, rounded down."""
        return self.wus // WUS_PER_WH

    def advance(self, power_w: int, elapsed_us: int) -> Meter:
        """The meter after `elapsed_us` at constant `power_w`. Raises ValueError when either is negative."""
        if power_w < 0 or elapsed_us < 0:
            raise ValueError(f"a meter runs forward only: {power_w} W for {elapsed_us} us")
        return Meter(self.wus + power_w * elapsed_us)


@dataclass(frozen=True, slots=True)
class Car:
    """What a plugged-in car wants: `wants_wh` in total, at most `max_power_w`, over `phases` (1 or 3)."""

    wants_wh: int
    max_power_w: int
    phases: int = 3

    def demand_w(self, delivered_wh: float) -> int:
        """Power that the car would draw after `delivered_wh`: its maximum, tapering near the end, then 0."""
        remaining = self.wants_wh - delivered_wh
        if remaining <= 0:
            return 0
        taper_wh = self.wants_wh * TAPER_SHARE
        share = 1.0 if remaining >= taper_wh else max(TAPER_FLOOR, remaining / taper_wh)
        return max(1, int(self.max_power_w * share))


@dataclass(frozen=True, slots=True)
class Outlet:
    """What an EVSE can deliver: kind of current, phases (AC side), greatest power in W."""

    current: Current
    phases: int
    max_power_w: int

    def phases_with(self, car: Car) -> int:
        """Phases of the supply that a charge of `car` loads."""
        return self.phases if self.current == "DC" else min(self.phases, car.phases)

    def power_w(self, car: Car, delivered_wh: float, limit_w: int | None) -> int:
        """Power that flows, in W. `limit_w` is the allowed total, None for no limit."""
        phases = self.phases_with(car)
        hardware_w = self.max_power_w if self.current == "DC" else self.max_power_w * phases // self.phases
        power = min(car.demand_w(delivered_wh), hardware_w)
        if limit_w is None or power <= limit_w:
            return power
        if self.current == "AC" and limit_w < MIN_AC_CURRENT_A * VOLTAGE_V * phases:
            return 0
        return max(0, limit_w)


def watts(limit_milli: int, unit: Literal["A", "W"], phases: int) -> int:
    """A limit of `limit_milli` thousandths of `unit` as whole W over `phases` phases, rounded down."""
    return limit_milli // 1000 if unit == "W" else limit_milli * VOLTAGE_V * phases // 1000


def share_out(total_w: int, wanted_w: Sequence[int]) -> list[int]:
    """Divide `total_w` among consumers that want `wanted_w`: equal shares, what one leaves goes to the rest."""
    shares = [0] * len(wanted_w)
    left = max(0, total_w)
    for position, index in enumerate(sorted(range(len(wanted_w)), key=wanted_w.__getitem__)):
        shares[index] = min(wanted_w[index], left // (len(wanted_w) - position))
        left -= shares[index]
    return shares
