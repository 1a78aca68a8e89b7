"""Whether what the read models do not know may merely not have been read yet."""

import asyncio
from collections.abc import Awaitable, Callable

from libs.bus.errors import BusUnavailableError
from services.edge import metrics


class Freshness:
    """Reads on before a no is said, so that who was told of an entry finds it at every edge.

    `catch_up` returns once everything that was committed before its call has been read. However many ask, two
    readings at most are under way: the one that runs, and the one for all who came since it began.
    """

    def __init__(self, catch_up: Callable[[], Awaitable[None]], most_s: float) -> None:
        self._catch_up = catch_up
        self._most_s = most_s
        self._running: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None

    async def reached(self) -> bool:
        """Whether everything that was committed before this call has been read; waits for it, `most_s` at most."""
        if self._next is None:
            self._next = asyncio.create_task(self._read(self._running), name="read on")
        reading = self._next
        done, _ = await asyncio.wait({reading}, timeout=self._most_s)
        reached = bool(done) and reading.result()
        metrics.LOOKED_AGAIN.labels("reached" if reached else "late").inc()
        return reached

    async def _read(self, before: asyncio.Task[bool] | None) -> bool:
        if before is not None:
            await asyncio.wait({before})
        self._running, self._next = self._next, None
        try:
            async with asyncio.timeout(self._most_s):
                await self._catch_up()
        except (BusUnavailableError, TimeoutError):
            return False
        return True
