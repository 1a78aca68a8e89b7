"""When the states of a processor want a tick."""

import heapq
from collections.abc import Callable

from libs.bus.processor import Processor, S
from libs.runtime.clock import SECOND

TICK_GRACE_US = 1 * SECOND
"""Timers run this much behind the wall clock, so that what was recorded before a deadline is read before it."""
TICK_INTERVAL_S = 0.25
TICK_RETRY_US = 60 * SECOND
"""When a tick that raised is tried again."""


class Timers:
    """Keys by the moment at which they are to be looked at again.

    `due` says when a key wants a tick, None for never or a key without state. A timer that moved away stays
    where it is until it rings: a state whose deadline moves with every message would otherwise fill the heap.
    """

    def __init__(self, due: Callable[[str], int | None]) -> None:
        self._due = due
        self._heap: list[tuple[int, str]] = []
        self._armed: dict[str, int] = {}

    def arm(self, key: str, due: int | None) -> None:
        """Look at `key` no later than `due`."""
        if due is None:
            return
        armed = self._armed.get(key)
        if armed is None or due < armed:
            self._armed[key] = due
            heapq.heappush(self._heap, (due, key))

    def take_due(self, now: int) -> list[str]:
        """Keys that are due at or before `now`, earliest first, each once; they are no longer armed."""
        keys: dict[str, None] = {}
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._armed.get(key) != at:
                continue
            del self._armed[key]
            due = self._due(key)
            if due is not None and due <= now:
                keys[key] = None
            else:
                self.arm(key, due)
        return list(keys)


def due_of(processor: Processor[S], state: S) -> int | None:
    """When `state` wants a tick; at once if `due` raises: whoever runs the tick meets the error."""
    try:
        return processor.due(state)
    except Exception:
        return 0


def has_timers(processor: Processor[S]) -> bool:
    """Whether `processor` overrides `due`."""
    return type(processor).due is not Processor.due
