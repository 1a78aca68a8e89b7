"""Outsiders cannot write the log at will, and silent sockets are told from dead ones."""

from __future__ import annotations

import asyncio

import pytest

from services.edge.domain.limits import OVERFLOW_IDENTITY, GarbageMeter, RefusalCount, RefusalLog
from services.edge.domain.liveness import Liveness, Patience, liveness
from services.edge.gate import Gate

WINDOW = 60


def test_refusals_of_a_kind_are_reported_at_once_and_then_together() -> None:
    log = RefusalLog(WINDOW, 10)
    first = log.note("cp1", "10.0.0.1", "unknown_station", 401, 0)
    assert first == RefusalCount("cp1", "10.0.0.1", "unknown_station", 401, 1, 0)
    assert [log.note("cp1", "10.0.0.1", "unknown_station", 401, at) for at in (5, 6, 7)] == [None] * 3
    assert log.due(WINDOW - 1) == []
    assert log.due(WINDOW) == [RefusalCount("cp1", "10.0.0.1", "unknown_station", 401, 3, 5)]
    assert log.note("cp1", "10.0.0.1", "unknown_station", 401, WINDOW + 1) is None
    assert [count.count for count in log.due(2 * WINDOW)] == [1]
    assert log.due(3 * WINDOW) == []
    assert len(log) == 0


def test_a_flood_of_identities_stays_bounded_and_is_counted() -> None:
    log = RefusalLog(WINDOW, 10)
    at_once = [log.note(f"cp{n}", "10.0.0.1", "unknown_station", 401, n % WINDOW) for n in range(1000)]
    assert sum(count is not None for count in at_once) == 11
    assert len(log) == 11
    later = log.due(10 * WINDOW)
    assert [count.identity for count in later] == [OVERFLOW_IDENTITY]
    assert sum(count.count for count in [*later, *(c for c in at_once if c)]) == 1000


def test_garbage_is_recorded_until_there_is_too_much_of_it_in_a_window() -> None:
    meter = GarbageMeter(3, WINDOW)
    assert [meter.record(WINDOW + at) for at in range(6)] == [True, True, True, False, False, False]
    assert meter.unrecorded == 3
    assert [meter.record(2 * WINDOW + at) for at in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("silent", "since_ping", "ponged", "verdict"),
    [
        (1, 100, True, Liveness.FINE),
        (30, 100, True, Liveness.PING),
        (45, 10, True, Liveness.FINE),
        (90, 10, True, Liveness.DEAD),
        (90, 100, False, Liveness.PING),
        (300, 100, False, Liveness.PING),
        (630, 100, False, Liveness.DEAD),
    ],
)
def test_liveness(silent: float, since_ping: float, ponged: bool, verdict: Liveness) -> None:
    assert liveness(Patience(30, 90), silent, since_ping, ponged, 300) is verdict


async def test_the_gate_admits_in_order_and_never_more_than_its_limit() -> None:
    gate = Gate(100)
    admitted: list[int] = []

    async def enter(number: int, size: int) -> None:
        await gate.enter(size)
        admitted.append(number)

    tasks = [asyncio.create_task(enter(n, size)) for n, size in enumerate((60, 30, 50, 10))]
    await asyncio.sleep(0)
    assert (admitted, gate.used) == ([0, 1], 90)
    tasks[2].cancel()
    await asyncio.gather(tasks[2], return_exceptions=True)
    gate.leave(30)
    await asyncio.gather(tasks[3])
    assert (admitted, gate.used) == ([0, 1, 3], 70)
    gate.leave(10)
    gate.leave(60)
    assert gate.used == 0


async def test_an_item_larger_than_the_gate_passes_alone() -> None:
    gate = Gate(100)
    await gate.enter(500)
    waiting = asyncio.create_task(gate.enter(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.leave(500)
    await waiting
    assert gate.used == 1


async def test_cancelling_one_that_was_just_admitted_gives_the_room_back() -> None:
    gate = Gate(100)
    await gate.enter(100)
    waiting = asyncio.create_task(gate.enter(40))
    await asyncio.sleep(0)
    gate.leave(100)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert gate.used == 0
