"""Changes of the registry, with a Kafka that other processes write to at the worst moments."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest

from libs.bus.encoding import RecordTooLargeError
from libs.bus.errors import BusUnavailableError, ClaimLostError
from libs.bus.message import Emit
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.events.topics import REGISTRY_CREDENTIALS, REGISTRY_STATIONS, REGISTRY_TOKENS
from services.api.domain.errors import Conflict
from services.api.domain.renewal import TOPICS
from services.api.registry.changes import Changes

Log = dict[str, dict[str, Record]]


def station(key: str, event_id: str, evses: int = 0) -> StationRegistered:
    return StationRegistered(
        event_id=event_id, occurred_at=1, recorded_at=1, cause_id="c", station_id=key, evses=evses
    )


class Kafka:
    """What is committed, and what goes wrong: `faults` are called with what is to be written, one at each write."""

    def __init__(self) -> None:
        self.log: Log = {topic: {} for topic in TOPICS}
        self.shown: Log = {topic: {} for topic in TOPICS}
        self.faults: list[Callable[[list[Emit]], None]] = []
        self.written: list[list[Emit]] = []
        self.claims = self.readings = 0
        self.holds = False
        self._callbacks: list[Callable[[str, Record | None], None]] = []

    # As the tables.
    def __getitem__(self, topic: str) -> dict[str, Record]:
        return self.shown[topic]

    def on_change(self, topic: str, callback: Callable[[str, Record | None], None]) -> None:
        self._callbacks.append(callback)

    async def catch_up(self) -> None:
        self.readings += 1
        self.show()

    def show(self) -> None:
        for topic, entries in self.log.items():
            self.shown[topic].clear()
            self.shown[topic].update(entries)
        for callback in self._callbacks:
            callback("any", None)

    # As the writer.
    async def claim(self) -> None:
        self.claims += 1
        self.holds = True

    async def write(self, records: Iterable[Emit]) -> None:
        emits = list(records)
        if self.faults:
            self.faults.pop(0)(emits)
        self.commit(emits)
        asyncio.get_running_loop().call_soon(self.show)

    async def release(self) -> None:
        self.holds = False

    def commit(self, emits: list[Emit]) -> None:
        self.written.append(emits)
        for emit in emits:
            if emit.record is None:
                self.log[emit.topic].pop(emit.key, None)
            else:
                self.log[emit.topic][emit.key] = emit.record


class Rig:
    def __init__(self, **more: Any) -> None:
        self.kafka = Kafka()
        parts: Any = self.kafka
        self.changes = Changes(parts, parts, timeout_s=30, read_back_s=10, **more)
        self._task = asyncio.create_task(self.changes.run())

    def count(self, key: str, event_id: str) -> Callable[[], dict[str, Record | None]]:
        """A decision that raises the number in the entry by one."""

        def decide() -> dict[str, Record | None]:
            known: Any = self.kafka[REGISTRY_STATIONS].get(key)
            return {REGISTRY_STATIONS: station(key, event_id, 1 + (known.evses if known else 0))}

        return decide

    def number(self, key: str) -> int:
        entry: Any = self.kafka.log[REGISTRY_STATIONS][key]
        return int(entry.evses)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def rig() -> Any:
    rig = Rig()
    yield rig
    await rig.stop()


async def test_changes_that_wait_together_go_in_one_write(rig: Rig) -> None:
    made = [rig.changes.make(REGISTRY_STATIONS, f"cp-{n}", rig.count(f"cp-{n}", f"e-{n}")) for n in range(50)]
    await asyncio.gather(*made)
    assert [len(emits) for emits in rig.kafka.written] == [50]
    assert (rig.kafka.claims, rig.kafka.readings) == (1, 1)


async def test_one_by_one_each_is_decided_on_what_the_others_wrote_of_the_topic() -> None:
    rig = Rig(together=1, topics=(REGISTRY_STATIONS,))

    def only_the_first(key: str) -> dict[str, Record | None]:
        if rig.kafka[REGISTRY_STATIONS]:
            raise Conflict("there is one already")
        return {REGISTRY_STATIONS: station(key, key)}

    made = [
        rig.changes.make(REGISTRY_STATIONS, key, partial(only_the_first, key)) for key in ("cp-1", "cp-2")
    ]
    answers = await asyncio.gather(*made, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), Conflict]
    await rig.stop()


async def test_after_a_write_the_next_is_decided_without_reading(rig: Rig) -> None:
    for number in range(5):
        await rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", f"e-{number}"))
    assert rig.number("cp-1") == 5
    assert (rig.kafka.claims, rig.kafka.readings) == (1, 1)


async def test_changes_of_one_entry_and_of_other_kinds_come_one_after_the_other(rig: Rig) -> None:
    made = [
        rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", "e-1")),
        rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", "e-2")),
        rig.changes.make(REGISTRY_TOKENS, "card", lambda: {REGISTRY_TOKENS: station("card", "e-3")}),
    ]
    await asyncio.gather(*made)
    assert rig.number("cp-1") == 2
    assert [len(emits) for emits in rig.kafka.written] == [1, 1, 1]


async def test_what_another_process_wrote_in_between_is_decided_on(rig: Rig) -> None:
    def taken(_: list[Emit]) -> None:
        rig.kafka.holds = False
        rig.kafka.commit([Emit(REGISTRY_STATIONS, "cp-1", station("cp-1", "other", 7))])
        raise ClaimLostError("fenced")

    rig.kafka.faults = [taken]
    await rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", "mine"))
    assert rig.number("cp-1") == 8
    assert rig.kafka.claims == 2


async def test_a_change_that_does_not_fit_any_more_is_refused(rig: Rig) -> None:
    def decide() -> dict[str, Record | None]:
        if "cp-1" in rig.kafka[REGISTRY_STATIONS]:
            raise Conflict("there is one")
        return {REGISTRY_STATIONS: station("cp-1", "mine")}

    def taken(_: list[Emit]) -> None:
        rig.kafka.holds = False
        rig.kafka.commit([Emit(REGISTRY_STATIONS, "cp-1", station("cp-1", "other"))])
        raise ClaimLostError("fenced")

    rig.kafka.faults = [taken]
    with pytest.raises(Conflict):
        await rig.changes.make(REGISTRY_STATIONS, "cp-1", decide)
    assert rig.kafka.log[REGISTRY_STATIONS]["cp-1"].event_id == "other"


async def test_a_write_that_was_committed_unheard_is_not_repeated(rig: Rig) -> None:
    def unheard(emits: list[Emit]) -> None:
        rig.kafka.holds = False
        rig.kafka.commit(emits)
        raise ClaimLostError("no answer")

    rig.kafka.faults = [unheard]
    await rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", "mine"))
    assert rig.number("cp-1") == 1


async def test_a_refusal_is_decided_on_what_others_wrote_meanwhile(rig: Rig) -> None:
    await rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", "e-1"))

    def decide() -> dict[str, Record | None]:
        if "cp-2" not in rig.kafka[REGISTRY_STATIONS]:
            raise Conflict("there is none")
        return {REGISTRY_STATIONS: None, REGISTRY_CREDENTIALS: None}

    rig.kafka.commit([Emit(REGISTRY_STATIONS, "cp-2", station("cp-2", "other"))])
    await rig.changes.make(REGISTRY_STATIONS, "cp-2", decide)
    assert "cp-2" not in rig.kafka.log[REGISTRY_STATIONS]


async def test_one_that_is_too_large_fails_alone(rig: Rig) -> None:
    def large(emits: list[Emit]) -> None:
        if any(emit.key == "cp-1" for emit in emits):
            raise RecordTooLargeError("5,000,000 bytes")

    rig.kafka.faults = [large] * 4
    made = [rig.changes.make(REGISTRY_STATIONS, f"cp-{n}", rig.count(f"cp-{n}", f"e-{n}")) for n in range(3)]
    failed = await asyncio.gather(*made, return_exceptions=True)
    assert [type(each) for each in failed] == [type(None), Conflict, type(None)]
    assert rig.kafka.log[REGISTRY_STATIONS].keys() == {"cp-0", "cp-2"}


async def test_while_kafka_is_away_changes_fail_and_later_ones_are_made(rig: Rig) -> None:
    def away(_: list[Emit]) -> None:
        rig.kafka.holds = False
        raise BusUnavailableError("away")

    rig.kafka.faults = [away]
    with pytest.raises(BusUnavailableError):
        await rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", "e-1"))
    await rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", "e-2"))
    assert rig.number("cp-1") == 1


async def test_what_nobody_waits_for_any_more_is_not_made(rig: Rig) -> None:
    gone = asyncio.create_task(rig.changes.make(REGISTRY_STATIONS, "cp-1", rig.count("cp-1", "e-1")))
    await asyncio.sleep(0)
    gone.cancel()
    await rig.changes.make(REGISTRY_STATIONS, "cp-2", rig.count("cp-2", "e-2"))
    assert rig.kafka.log[REGISTRY_STATIONS].keys() == {"cp-2"}
