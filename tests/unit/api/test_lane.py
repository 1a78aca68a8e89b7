"""Reports wait for each other, not others for them."""

import asyncio
from typing import Any

from services.api.http.lane import Lane
from services.api.http.problems import Unavailable


async def test_of_thirty_reports_at_once_two_are_made_some_wait_and_the_rest_are_told_to_come_later() -> None:
    reader: Any = object()
    lane = Lane(reader, at_once=2, most=10)
    running = most = 0
    done = asyncio.Event()

    async def report() -> bool:
        nonlocal running, most
        try:
            async with lane.turn() as given:
                assert given is reader
                running += 1
                most = max(most, running)
                await done.wait()
                running -= 1
                return True
        except Unavailable:
            return False

    reports = [asyncio.create_task(report()) for _ in range(30)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert (running, sum(each.done() for each in reports)) == (2, 20)
    done.set()
    assert sum(await asyncio.gather(*reports)) == 10
    assert most == 2
    # Who gave up waiting has left, too.
    waiting = [asyncio.create_task(report()) for _ in range(10)]
    await asyncio.sleep(0)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await report()
