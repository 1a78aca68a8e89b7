"""When keys ring, and the time that a record and a tick have."""

from __future__ import annotations

import msgspec
import pytest

from libs.bus.message import Emit, Message, kafka_time
from libs.bus.processor import Processor, Step, Tables, Tick, TimerLoopError, ticks_until
from libs.bus.timers import Timers
from tests.contract.test_contract import EXAMPLES, example_record


class Wanted:
    """What each key wants now, and the timers that were told so."""

    def __init__(self) -> None:
        self.due: dict[str, int | None] = {}
        self.timers = Timers(self.due.get)

    def want(self, key: str, at: int | None) -> None:
        self.due[key] = at
        self.timers.arm(key, at)


def test_a_deadline_that_moved_away_rings_when_it_is_due_and_not_before() -> None:
    wanted = Wanted()
    wanted.want("a", 100)
    wanted.want("a", 500)
    assert wanted.timers.take_due(100) == []
    assert wanted.timers.take_due(499) == []
    assert wanted.timers.take_due(500) == ["a"]
    assert wanted.timers.take_due(10_000) == []


def test_a_deadline_that_moved_nearer_rings_then_and_once() -> None:
    wanted = Wanted()
    wanted.want("a", 500)
    wanted.want("a", 100)
    assert wanted.timers.take_due(99) == []
    assert wanted.timers.take_due(100) == ["a"]
    assert wanted.timers.take_due(500) == []


def test_a_deadline_that_moved_nearer_and_away_again_rings_once() -> None:
    wanted = Wanted()
    wanted.want("a", 500)
    wanted.want("a", 100)
    assert wanted.timers.take_due(100) == ["a"]
    wanted.want("a", 500)
    assert wanted.timers.take_due(500) == ["a"]
    assert wanted.timers.take_due(500) == []


def test_a_deadline_that_was_given_up_does_not_ring() -> None:
    wanted = Wanted()
    wanted.want("a", 100)
    wanted.want("a", None)
    assert wanted.timers.take_due(1_000) == []
    wanted.want("a", 2_000)
    assert wanted.timers.take_due(2_000) == ["a"]


def test_keys_ring_in_the_order_of_their_deadlines() -> None:
    wanted = Wanted()
    for key, at in (("late", 300), ("early", 100), ("middle", 200), ("never", 301)):
        wanted.want(key, at)
    assert wanted.timers.take_due(300) == ["early", "middle", "late"]


class Clock(msgspec.Struct, frozen=True):
    due: int


class Winding(Processor[Clock]):
    """Each tick puts the next one `step_us` later; gives up where it would go on for ever."""

    name = "winding"
    inputs = ()
    state = Clock

    def __init__(self, step_us: int) -> None:
        self.step_us = step_us
        self.ticks: list[int] = []

    def key(self, message: Message) -> str | None:
        return None

    def step(self, state: Clock | None, event: Message | Tick, tables: Tables) -> Step[Clock]:
        assert isinstance(event, Tick)
        assert state is not None
        self.ticks.append(event.at)
        assert len(self.ticks) < 100
        return Step(Clock(state.due + self.step_us))

    def due(self, state: Clock) -> int | None:
        return state.due


def test_every_tick_that_is_due_comes_in_its_order() -> None:
    winding, out = Winding(1), list[Emit]()
    assert ticks_until(winding, Clock(10), 12, {}, out) == Clock(13)
    assert winding.ticks == [10, 11, 12]


@pytest.mark.parametrize("step_us", [0, -1])
def test_a_tick_that_asks_for_itself_or_for_an_earlier_one_is_an_error(step_us: int) -> None:
    winding = Winding(step_us)
    with pytest.raises(TimerLoopError, match="winding: tick at 10"):
        ticks_until(winding, Clock(10), 12, {}, [])
    assert winding.ticks == [10]


def test_in_kafka_a_record_has_the_time_at_which_it_was_recorded() -> None:
    record = example_record(EXAMPLES[0])
    assert kafka_time(msgspec.structs.replace(record, recorded_at=1_700_000_000_123_999)) == 1_700_000_000_123
    assert kafka_time(None) is None
