"""Test benches with one interface: the tally processor on a runtime, with what goes in and what comes out."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from libs.bus.admin import delete_topics
from libs.bus.bus import Bus, connect, contract_topics
from libs.bus.dead_letters import list_dead_letters
from libs.bus.producer import Producer
from libs.bus.runtime_faust import FaustRuntime
from libs.bus.runtime_memory import MemoryRuntime
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.bus.schemas import SCHEMAS_TOPIC
from libs.bus.settings import BusSettings
from libs.events.ocpp_log import ConnectionOpened, OcppCallReceived
from libs.events.record import Record
from libs.events.registry import StationRegistered
from libs.events.sessions import SessionUpdated
from libs.runtime.clock import now_us
from libs.testing.tail import Tail
from tests.integration.children import python
from tests.integration.runtimes.tally import (
    CONTRACT,
    LIFECYCLE,
    OUTPUT,
    STATE,
    STATIONS,
    TRANSACTIONS,
    Tally,
    TallyState,
)
from tests.patience import WAIT_S, until

KafkaRuntime = TransactionalRuntime[TallyState] | FaustRuntime[TallyState]


def runtime_class(kind: str) -> "type[TransactionalRuntime[TallyState]] | type[FaustRuntime[TallyState]]":
    return TransactionalRuntime if kind == "transactional" else FaustRuntime


def topic_of(record: Record) -> str:
    return {OcppCallReceived: TRANSACTIONS, ConnectionOpened: LIFECYCLE, StationRegistered: STATIONS}[
        type(record)
    ]


class Bench(Protocol):
    """A running tally processor."""

    async def send(self, *records: OcppCallReceived | ConnectionOpened | StationRegistered) -> None:
        """Write records to the topics where they belong."""

    async def outputs(self, station: str, count: int) -> list[SessionUpdated]:
        """Wait for `count` outputs for `station`; gives all that there are."""

    async def dead(self, count: int) -> list[str]:
        """Wait for `count` dead letters; gives the event ids (empty if unreadable) of what was put aside."""


class MemoryBench:
    """The runtime without Kafka."""

    def __init__(self) -> None:
        self.runtime = MemoryRuntime(Tally())

    async def send(self, *records: OcppCallReceived | ConnectionOpened | StationRegistered) -> None:
        for record in records:
            if isinstance(record, StationRegistered):
                self.runtime.tables[STATIONS][record.station_id] = record
            else:
                self.runtime.feed(topic_of(record), record.station_id, record)

    async def outputs(self, station: str, count: int) -> list[SessionUpdated]:
        found: list[SessionUpdated] = []
        while len(found) < count:
            await asyncio.sleep(0.01)
            self.runtime.tick(now_us())
            records = [emit.record for emit in self.runtime.emitted if emit.key == station]
            found = [record for record in records if isinstance(record, SessionUpdated)]
        return found

    async def dead(self, count: int) -> list[str]:
        assert len(self.runtime.dead) >= count
        return [dead.message.record.event_id if dead.message.record else "" for dead in self.runtime.dead]


class Member:
    """A member of the group in this process."""

    def __init__(self, runtime: KafkaRuntime) -> None:
        self.runtime = runtime
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(runtime.run(self._stop))

    async def ready(self) -> None:
        await until(lambda: self.runtime.ready or self.task.done(), "a member to be ready")
        if self.task.done():
            self.task.result()

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.wait_for(self.task, WAIT_S)


class KafkaBench:
    """A runtime on Kafka. Outputs are what a read-committed consumer sees."""

    def __init__(self, kind: str, bus: Bus) -> None:
        self.kind = kind
        self.bus = bus
        self.members: list[Member] = []
        self.children: list[asyncio.subprocess.Process] = []
        self.seen: dict[str, list[SessionUpdated]] = defaultdict(list)
        self.producer = Producer(bus, "test")

    async def start(self, runtime: KafkaRuntime | None = None) -> Member:
        """Add a member, of today's Tally unless told otherwise, and wait until it is ready."""
        member = Member(runtime or runtime_class(self.kind)(self.bus, Tally()))
        self.members.append(member)
        await member.ready()
        return member

    async def spawn(self) -> asyncio.subprocess.Process:
        """Add a member that is a process of its own, and wait until it is ready."""
        child = await asyncio.create_subprocess_exec(
            *python(
                "-m", "tests.integration.runtimes.member", self.kind, self.bus.settings.model_dump_json()
            ),
            stdout=asyncio.subprocess.PIPE,
        )
        self.children.append(child)
        assert child.stdout is not None
        async with asyncio.timeout(WAIT_S):
            while (line := await child.stdout.readline()) != b"ready\n":
                assert line, "the member ended before it was ready"
        self._drain = asyncio.create_task(child.stdout.read())
        return child

    async def send(self, *records: OcppCallReceived | ConnectionOpened | StationRegistered) -> None:
        sent = [await self.producer.send(topic_of(r), r.station_id, r) for r in records]
        await asyncio.gather(*sent)

    async def send_raw(self, topic: str, key: str, value: bytes) -> None:
        """Write bytes that are no record."""
        assert self.producer._kafka is not None
        await self.producer._kafka.send_and_wait(self.bus.settings.topic(topic), value, key.encode())

    async def outputs(self, station: str, count: int) -> list[SessionUpdated]:
        await until(
            lambda: len(self.seen[station]) >= count or self._failed(), f"{count} outputs of {station}"
        )
        return list(self.seen[station])

    def _failed(self) -> bool:
        for member in self.members:
            if member.task.done():
                member.task.result()
        return False

    async def dead(self, count: int) -> list[str]:
        async with asyncio.timeout(WAIT_S):
            while True:
                letters = [
                    letter.letter
                    for topic in (TRANSACTIONS, LIFECYCLE)
                    async for letter in list_dead_letters(self.bus, topic)
                ]
                if len(letters) >= count:
                    return [self._event_id(letter.value) for letter in letters]
                await asyncio.sleep(0.1)

    def _event_id(self, value: bytes | None) -> str:
        try:
            return self.bus.codec.decode(value or b"").event_id
        except ValueError:
            return ""

    async def follow(self) -> None:
        """Collect outputs until cancelled."""
        async with Tail(self.bus, OUTPUT, start="beginning") as tail:
            async for message in tail:
                assert isinstance(message.record, SessionUpdated)
                self.seen[message.key].append(message.record)


async def drop_contract(settings: BusSettings) -> None:
    """Delete the suite's topics."""
    await delete_topics(settings, [name for name, _ in contract_topics(CONTRACT)] + [STATE, SCHEMAS_TOPIC])


@asynccontextmanager
async def kafka_bench(kind: str, settings: BusSettings) -> AsyncIterator[KafkaBench]:
    """A bench with no member yet, on topics that exist; ends every member that is left."""
    async with connect(settings, CONTRACT) as bus:
        bench = KafkaBench(kind, bus)
        await bench.producer.start()
        following = asyncio.create_task(bench.follow())
        try:
            yield bench
        finally:
            for child in bench.children:
                if child.returncode is None:
                    child.kill()
                    await child.wait()
            await asyncio.gather(*(member.stop() for member in bench.members if not member.task.done()))
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await bench.producer.stop()
