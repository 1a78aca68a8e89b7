"""How tests wait for what is to come about: for the fact itself, with a bound that costs nothing when it comes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

T = TypeVar("T")

WAIT_S: Final = 180.0
"""Longer than anything takes on a machine with several times as much to do as it can."""

SHORTEST_S: Final = 0.005
LONGEST_S: Final = 0.1


@overload
async def until(fact: Callable[[], Awaitable[T | None]], what: str = "", deadline_s: float = WAIT_S) -> T: ...


@overload
async def until(fact: Callable[[], Any], what: str = "", deadline_s: float = WAIT_S) -> Any: ...


async def until(fact: Callable[[], Any], what: str = "", deadline_s: float = WAIT_S) -> Any:
    """Ask for `fact`, a function or a coroutine's, until it gives something true, and return that.

    It is asked less often the longer it takes to come, and the longer it takes to tell. What it raises is raised here.
    Raises AssertionError, with `what`, if it does not come within the deadline; a coroutine is then cancelled.
    """
    begun = time.monotonic()
    limit = asyncio.timeout(deadline_s)
    try:
        async with limit:
            while True:
                asked = time.monotonic()
                found = fact()
                if isinstance(found, Awaitable):
                    found = await found
                if found:
                    return found
                now = time.monotonic()
                pause_s = min(LONGEST_S, max(SHORTEST_S, (now - begun) / 20))
                await asyncio.sleep(max(pause_s, now - asked))
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(f"not within {deadline_s} s: {what or fact}") from None
