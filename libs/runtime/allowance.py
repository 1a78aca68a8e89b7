"""How often an outsider may do something before he is told to wait. Memory is bounded."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")


class Allowance(Generic[K]):
    """`limit` events at once per key, refilled evenly over `window_us`; 0 limits nothing.

    Of more than `most` keys those of the oldest events are forgotten.
    """

    def __init__(self, limit: int, window_us: int, most: int) -> None:
        self._limit = limit
        self._interval = window_us // limit if limit else 0
        self._most = most
        # When each key's bucket will be full again.
        self._full_at: OrderedDict[K, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: K, now: int) -> int:
        """Microseconds until the key may have its next event; 0: now."""
        if not self._limit:
            return 0
        return max(0, self._full_at.get(key, now) - (self._limit - 1) * self._interval - now)

    def spend(self, key: K, now: int) -> None:
        """Count one event."""
        if not self._limit:
            return
        full_at = max(self._full_at.get(key, now), now) + self._interval
        self._full_at[key] = min(full_at, now + self._limit * self._interval)
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
