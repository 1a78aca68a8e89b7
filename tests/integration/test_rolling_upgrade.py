"""A release that follows another under load, process by process, and back: nothing is lost, doubled or put aside."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import pytest

from libs.bus.admin import delete_topics
from libs.bus.bus import Bus, connect, contract_topics
from libs.bus.dead_letters import list_dead_letters
from libs.bus.producer import Producer
from libs.bus.schemas import SCHEMAS_TOPIC
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints
from libs.events.ids import new_id
from libs.events.record import Record
from libs.runtime.clock import now_us
from libs.testing.tail import Tail
from tests.integration.bus import bus_settings, make_topics
from tests.integration.children import python
from tests.integration.rolling import first, second
from tests.integration.rolling.common import READINGS, STATE, TOTALS, installed
from tests.patience import WAIT_S, until

STATIONS = [f"s{number}" for number in range(8)]
PAUSE_S = 0.02
"""Between readings of all stations: some 300 a second on a quiet machine."""
ROUNDS = int(os.environ.get("VOLTBUS_CHAOS_ROUNDS", "1"))
"""How often 2.0 rolls out and back before it stays."""


@pytest.fixture
async def settings(stack: Endpoints, namespace: str) -> AsyncIterator[BusSettings]:
    """Settings of a namespace in which the contract of 1.0 is applied."""
    settings = bus_settings(stack, namespace)
    await make_topics(settings, first.CONTRACT)
    yield settings
    topics = [name for name, _ in contract_topics(second.CONTRACT)]
    await delete_topics(settings, [*topics, STATE, SCHEMAS_TOPIC])


class Process:
    """A process of the slice."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._said: list[bytes] = []
        self._ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._child.stdout is not None
        async for line in self._child.stdout:
            self._said.append(line)
            if line == b"ready\n":
                self._ready.set()

    @classmethod
    async def start(cls, release: str, settings: BusSettings) -> "Process":
        """Begin one of `release`; it need not become ready."""
        child = await asyncio.create_subprocess_exec(
            *python("-m", "tests.integration.rolling.member", release, settings.model_dump_json()),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        return cls(child)

    async def ready(self) -> None:
        """Wait until it takes part in the group."""
        waiting = {asyncio.create_task(self._ready.wait()), self._reading}
        await asyncio.wait(waiting, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        assert self._ready.is_set(), self.said

    async def ended(self) -> int:
        """Wait for its end; gives its exit status."""
        status = await asyncio.wait_for(self._child.wait(), WAIT_S)
        await self._reading
        return status

    async def stop(self) -> None:
        """Ask it to end, as an operator does; it must end well."""
        self._child.terminate()
        assert await self.ended() == 0, self.said

    def kill(self) -> None:
        """End it if it is still there."""
        if self._child.returncode is None:
            self._child.kill()

    @property
    def said(self) -> str:
        """Everything that it wrote."""
        return b"".join(self._said).decode()


class Edge:
    """Writes readings of all stations, as a release does, until it is stopped; counts them and their Wh."""

    def __init__(self, bus: Bus, release: str) -> None:
        self._producer = Producer(bus, f"edge-{release}")
        self._release = release
        self._stop = asyncio.Event()
        self._number = 0
        self.readings: Counter[str] = Counter()
        self.wh: Counter[str] = Counter()

    async def run(self) -> None:
        """Write until `stop`."""
        await self._producer.start()
        try:
            while not self._stop.is_set():
                await asyncio.gather(*[ack for name in STATIONS for ack in await self._write(name)])
                await asyncio.sleep(PAUSE_S)
        finally:
            await self._producer.stop()

    def stop(self) -> None:
        """Write nothing more."""
        self._stop.set()

    async def _write(self, station: str) -> list[asyncio.Future[None]]:
        self._number += 1
        records = self._first(station) if self._release == "1.0" else self._second(station)
        for record in records:
            if isinstance(record, first.ReadingTaken | second.ReadingTaken):
                self.readings[station] += 1
                self.wh[station] += record.wh
        return [await self._producer.send(READINGS, station, record) for record in records]

    def _first(self, station: str) -> list[Record]:
        return [first.ReadingTaken(**common(station), wh=self._number, kind=first.ReadingKind.SAMPLE)]

    def _second(self, station: str) -> list[Record]:
        kind = second.ReadingKind.ESTIMATED if self._number % 3 == 0 else second.ReadingKind.SAMPLE
        taken = second.ReadingTaken(**common(station), wh=self._number, kind=kind, phase="L1")
        if self._number % 5:
            return [taken]
        return [second.ReadingDoubted(**common(station), reason="too high"), taken]


def common(station: str) -> Any:
    event_id, at = new_id(), now_us()
    return {
        "event_id": event_id, "occurred_at": at, "recorded_at": at, "cause_id": event_id, "station_id": station,
    }  # fmt: skip


class Slice:
    """The slice as an operator and its consumers see it."""

    def __init__(self, bus: Bus, settings: BusSettings, edges: tuple[Edge, Edge]) -> None:
        self._bus = bus
        self._settings = settings
        self.old_edge, self.new_edge = edges
        self.processes: list[Process] = []
        self.totals: dict[str, list[second.TotalChanged]] = {station: [] for station in STATIONS}

    async def start(self, release: str, beside: str = "") -> Process:
        """Add a process of `release` which writes states as release `beside` reads them."""
        settings = self._settings.model_copy(update={"state_release": beside})
        process = await Process.start(release, settings)
        self.processes.append(process)
        return process

    async def replace(self, old: Process, release: str, beside: str = "") -> Process:
        """One step of a rolling upgrade: one process ends, one of `release` takes its place, and readings flow."""
        await old.stop()
        new = await self.start(release, beside)
        await new.ready()
        await self.flows()
        return new

    async def flows(self) -> None:
        """Wait until every station has new totals."""
        before = {station: len(totals) for station, totals in self.totals.items()}
        await until(lambda: all(len(self.totals[name]) > before[name] + 5 for name in STATIONS))

    async def follow(self) -> None:
        """Collect what read-committed consumers see, until cancelled."""
        async with Tail(self._bus, TOTALS, start="beginning") as tail:
            async for message in tail:
                assert isinstance(message.record, second.TotalChanged)
                self.totals[message.key].append(message.record)

    async def check(self) -> None:
        """Every reading of every edge has counted exactly once, in a history without a gap; nothing is put aside."""
        edges = (self.old_edge, self.new_edge)
        readings = {name: sum(edge.readings[name] for edge in edges) for name in STATIONS}
        await until(lambda: all(len(self.totals[name]) >= readings[name] for name in STATIONS))
        for name in STATIONS:
            assert [total.readings for total in self.totals[name]] == list(range(1, readings[name] + 1))
            assert self.totals[name][-1].wh == sum(edge.wh[name] for edge in edges)
        letters = [letter async for letter in list_dead_letters(self._bus, READINGS)]
        assert not letters, letters[0]


@pytest.mark.chaos
async def test_a_release_rolls_out_and_back_process_by_process_and_nothing_is_lost(
    settings: BusSettings,
) -> None:
    with ExitStack() as records:
        records.enter_context(installed(first.RECORDS))
        async with connect(settings, first.CONTRACT) as old_bus:
            records.close()
            # Additions are compatible: the contract of 2.0 goes first, while everything is at 1.0.
            await make_topics(settings, second.CONTRACT)
            records.enter_context(installed(second.RECORDS))
            async with connect(settings, second.CONTRACT) as bus:
                edges = Edge(old_bus, "1.0"), Edge(bus, "2.0")
                await roll(Slice(bus, settings, edges))


async def roll(slice_: Slice) -> None:
    following = asyncio.create_task(slice_.follow())
    old_load = asyncio.create_task(slice_.old_edge.run())
    new_load = None
    try:
        a, b = await slice_.start("1.0"), await slice_.start("1.0")
        await a.ready()
        await b.ready()
        await slice_.flows()
        # An edge of 2.0 writes fields, symbols and kinds that 1.0 does not know.
        new_load = asyncio.create_task(slice_.new_edge.run())
        await slice_.flows()
        for _ in range(ROUNDS):
            # Out, and back.
            a = await slice_.replace(a, "2.0", beside="1.0")
            b = await slice_.replace(b, "2.0", beside="1.0")
            a = await slice_.replace(a, "1.0")
            b = await slice_.replace(b, "1.0")
        # Out again, and done: now states are as 2.0 keeps them.
        a = await slice_.replace(a, "2.0", beside="1.0")
        b = await slice_.replace(b, "2.0", beside="1.0")
        a = await slice_.replace(a, "2.0")
        b = await slice_.replace(b, "2.0")
        # Who goes back now cannot read them: it stops loudly, and the others go on.
        await b.stop()
        late = await slice_.start("1.0")
        assert await late.ended() == 1, late.said
        assert "state_unreadable" in late.said
        assert "StateShapeError" in late.said
        await slice_.flows()
        b = await slice_.start("2.0")
        await b.ready()
        await slice_.flows()
    finally:
        slice_.old_edge.stop()
        slice_.new_edge.stop()
        await asyncio.gather(old_load, *([new_load] if new_load else []))
    try:
        await slice_.check()
        await a.stop()
        await b.stop()
    finally:
        for process in slice_.processes:
            process.kill()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
