"""How an edge that stops lets go of its sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast
from unittest.mock import Mock

import pytest

from services.edge import server
from services.edge.context import Context
from services.edge.directory import Directory
from services.edge.server import EdgeServer
from services.edge.settings import EdgeSettings

BOUND_S = 20.0


class Clock:
    """Goes on a little each time that it is looked at."""

    now = 100.0

    def time(self) -> float:
        self.now += 0.0001
        return self.now


class Held:
    """A connection that needs some looks to be gone once it was told to end."""

    def __init__(self, clock: Clock, idle: bool = True) -> None:
        self._clock = clock
        self.idle = idle
        self.ended_at: list[float] = []
        self.looks_left = 10

    @property
    def ending(self) -> bool:
        return bool(self.ended_at)

    def end(self, _code: int, _reason: str) -> None:
        self.ended_at.append(self._clock.now)


class Holding:
    draining = False

    def __init__(self, held: list[Held]) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[Held]:
        for each in self.held:
            each.looks_left -= each.ending
        self.held = [each for each in self.held if each.looks_left]
        return iter(list(self.held))


async def drained(clock: Clock, held: list[Held], monkeypatch: pytest.MonkeyPatch) -> float:
    """When it began."""
    monkeypatch.setattr(server, "DRAIN_STEP_S", 0)
    settings = EdgeSettings.model_validate(
        {
            "kafka": "nowhere",
            "registry_url": "http://nowhere",
            "drain_s": BOUND_S,
            "transaction_key": "only for this test",
        }
    )
    context: Any = Mock(settings=settings, loop=clock)
    edge = EdgeServer(cast(Context, context), cast(Directory, Holding(held)), lambda: True)
    begun = clock.now
    await edge.drain()
    return begun


@pytest.mark.parametrize(("count", "rate"), [(500, 200), (4_000, 400)])
async def test_sockets_are_closed_at_a_rate_each_once(
    count: int, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 a second, or as many as it takes to be through in half of the time."""
    clock = Clock()
    held = [Held(clock) for _ in range(count)]
    begun = await drained(clock, held, monkeypatch)
    assert all(len(each.ended_at) == 1 for each in held)
    moments = sorted(each.ended_at[0] - begun for each in held)
    assert all(number < rate * moment + 1 for number, moment in enumerate(moments))
    # Those that take their time to be gone cost the others nothing.
    assert moments[-1] < count / rate + 0.1


async def test_who_is_busy_is_closed_at_the_end_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    busy, idle = Held(clock, idle=False), Held(clock)
    begun = await drained(clock, [busy, idle], monkeypatch)
    assert idle.ended_at[0] - begun < 1
    assert busy.ended_at[0] - begun >= BOUND_S
