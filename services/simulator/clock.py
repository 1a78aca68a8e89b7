"""Time for virtual chargers: accelerated physics, and the clock that a charger stamps its messages with."""

from __future__ import annotations

import asyncio
import time

from libs.runtime.clock import SECOND
from services.simulator.domain.scenario import Stamp


class Clock:
    """Simulated time that runs `speed` times as fast as the wall clock.

    Cars, meters and sampling intervals follow simulated time. A charger's own clock, which stamps its messages
    and times what a central system orders (heartbeats, schedules), follows the wall clock with stamp "real", or
    simulated time from `start_us` (microseconds since the epoch; by default now) with stamp "simulated".
    """

    def __init__(self, speed: float = 1.0, stamp: Stamp = "real", start_us: int | None = None) -> None:
        if speed <= 0:
            raise ValueError("speed must be positive")
        self.speed = speed
        self.stamp = stamp
        self._start_us = time.time_ns() // 1000 if start_us is None else start_us
        self._origin = time.monotonic()

    def start(self) -> None:
        """Make this instant the zero of simulated time."""
        self._origin = time.monotonic()

    def elapsed_us(self) -> int:
        """Simulated microseconds since the start."""
        return int((time.monotonic() - self._origin) * self.speed * SECOND)

    def now_us(self) -> int:
        """What a charger's own clock shows: microseconds since the epoch, in whole milliseconds."""
        now = time.time_ns() // 1000 if self.stamp == "real" else self._start_us + self.elapsed_us()
        return now // 1000 * 1000

    async def sleep(self, seconds: float) -> None:
        """Wait simulated seconds."""
        await asyncio.sleep(seconds / self.speed)

    async def sleep_until(self, elapsed_s: float) -> None:
        """Wait until simulated time has reached `elapsed_s` seconds since the start."""
        await self.sleep(max(0.0, elapsed_s - self.elapsed_us() / SECOND))

    async def sleep_own(self, seconds: float) -> None:
        """Wait seconds of the charger's own clock."""
        await asyncio.sleep(seconds if self.stamp == "real" else seconds / self.speed)

    def simulated_s(self, own_us: int) -> float:
        """How many simulated seconds pass while a charger's own clock advances by `own_us`."""
        return own_us / SECOND * (self.speed if self.stamp == "real" else 1.0)
