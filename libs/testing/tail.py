"""A topic as an iterator, for tests and benchmarks."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Literal, Self

from libs.bus.bus import Bus
from libs.bus.follower import Follower
from libs.bus.message import Message


class Tail:
    """Messages of `topic` from its beginning or from what is written after entering; see Follower.

    Use as an async context manager and iterate. What nobody takes is held in memory.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        start: Literal["beginning", "end"] = "end",
    ) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._follower = Follower(bus, "tail", (topic,), self._messages.put_nowait, start=start)

    async def __aenter__(self) -> Self:
        await self._follower.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._follower.__aexit__(kind, error, trace)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            yield await self._messages.get()
