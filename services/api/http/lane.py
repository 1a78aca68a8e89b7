"""Questions to ClickHouse that take long, apart from all others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.clickhouse.reader import Reader
from services.api.http.problems import Unavailable


class Lane:
    """A reader of its own, with `at_once` connections; beyond `most`, those waiting included, nobody is let in."""

    def __init__(self, reader: Reader, at_once: int, most: int) -> None:
        self._reader = reader
        self._free = asyncio.Semaphore(at_once)
        self._most = most
        self._inside = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Reader]:
        """The reader, as soon as it is one's turn. Raises Unavailable if too many wait."""
        if self._inside >= self._most:
            raise Unavailable("too many reports are being made: ask again later")
        self._inside += 1
        try:
            async with self._free:
                yield self._reader
        finally:
            self._inside -= 1
