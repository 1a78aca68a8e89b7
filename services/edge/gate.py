"""A bound on the bytes that are under way to Kafka."""

import asyncio
from collections import deque


class Gate:
    """Admits `limit` bytes at a time, first come first served. One item may be larger than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.used = 0

    def try_enter(self, size: int) -> bool:
        """Take `size` bytes if they have room and nobody waits; says whether they were taken."""
        if self._waiters or not self._fits(size):
            return False
        self.used += size
        return True

    async def enter(self, size: int) -> None:
        """Wait until `size` bytes have room, and take them. If cancelled, nothing is taken."""
        if self.try_enter(size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(size)
            raise

    def leave(self, size: int) -> None:
        """Give back `size` bytes."""
        self.used -= size
        while self._waiters:
            wanted, turn = self._waiters[0]
            if turn.done():
                self._waiters.popleft()
                continue
            if not self._fits(wanted):
                return
            self._waiters.popleft()
            self.used += wanted
            turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self.used == 0 or self.used + size <= self._limit
