"""How many failures of a partition are put aside before it stands still; which partitions do, and which wait."""

import asyncio
from collections.abc import Callable, Hashable
from time import monotonic

from libs.bus import metrics
from libs.bus.bounded_waits import FIRST_WAIT_S, LONGEST_WAIT_S
from libs.bus.errors import PartitionError, TooManyFailuresError
from libs.runtime.logging import get_logger

log = get_logger(__name__)


class FailureLimit:
    """Lets at most `most` failures of a partition pass within any `window_s`; the next one is too many for good.

    A failure is known by its place: one that comes again because the partition started over is the same. So it takes
    bounded memory, and says no until it is made anew.
    """

    def __init__(self, most: int, window_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._window_s = window_s
        self._clock = clock
        self._failed_at: dict[Hashable, float] = {}
        self._exceeded = False

    def count(self, place: Hashable, error: Exception) -> None:
        """Count what failed at `place` with `error`. Raises TooManyFailuresError if it is not to be put aside."""
        if place in self._failed_at:
            return
        now = self._clock()
        while not self._exceeded and self._failed_at:
            oldest = next(iter(self._failed_at))
            if self._failed_at[oldest] > now - self._window_s:
                break
            del self._failed_at[oldest]
        if len(self._failed_at) >= self._most:
            self._exceeded = True
            raise TooManyFailuresError(
                f"more than {self._most} failures in {self._window_s:g} s; {place} would be the next: {error!r}"
            )
        self._failed_at[place] = now


class Standstill:
    """The partitions of `processor` that stand still in this process, told in log and metrics."""

    def __init__(self, processor: str) -> None:
        self._processor = processor
        self._reasons: dict[int, str] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._reasons

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def begin(self, number: int, error: PartitionError) -> None:
        """Partition `number` stands still because of `error`."""
        log.critical(
            "partition_stopped", processor=self._processor, partition=number, reason=error.reason,
            error=str(error),
        )  # fmt: skip
        self._reasons[number] = error.reason
        metrics.STOPPED_PARTITIONS.labels(self._processor, number, error.reason).set(1)

    def end(self) -> None:
        """None stands still here any more."""
        for number, reason in self._reasons.items():
            metrics.STOPPED_PARTITIONS.labels(self._processor, number, reason).set(0)
        self._reasons.clear()


class SchemaWait:
    """The partitions of `processor` that wait in this process for a schema that cannot be looked up."""

    def __init__(self, processor: str) -> None:
        self._processor = processor
        self._numbers: set[int] = set()
        self._pause_s = FIRST_WAIT_S

    def __bool__(self) -> bool:
        return bool(self._numbers)

    async def pause(self, numbers: set[int]) -> None:
        """Wait before the next attempt, longer every time. `numbers`: the partitions that wait."""
        self._show(numbers)
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_WAIT_S)

    def end(self) -> None:
        """None waits any more."""
        if self._numbers:
            self._show(set())
            self._pause_s = FIRST_WAIT_S

    def _show(self, numbers: set[int]) -> None:
        for number in self._numbers ^ numbers:
            metrics.WAITING_PARTITIONS.labels(self._processor, number).set(number in numbers)
        self._numbers = numbers
