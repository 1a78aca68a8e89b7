import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
import pytest

from libs.bus import metrics
from libs.bus.dead_letters import REPLAYED_HEADER
from libs.bus.errors import BusUnavailableError
from libs.bus.raw_consumer import Partition
from libs.clickhouse.client import ClickHouseUnavailableError
from libs.clickhouse.table_mapping import TableLayout, layouts
from libs.events.codec import BadValueError, CodecError, UnknownSchemaIdError
from libs.events.contract import load_contract
from services.sink import pipeline as module
from services.sink.domain.blocks import BadRecord, Block, Fields
from services.sink.pipeline import Ports, TablePipeline
from services.sink.settings import SinkSettings
from tests.metrics import value_of
from tests.patience import until

T = TypeVar("T")
LAYOUTS = layouts(load_contract())
HERE = Partition("load.plans", 0)
DEAD = Partition("load.plans.dead", 0)


class Raw(msgspec.Struct):
    offset: int
    value: bytes | None = b"good"
    key: bytes | None = b"site"
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


class World:
    """ClickHouse, registry and dead letters as a test wants them; `log` is what happened, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.insert_failures = 0
        self.bury_failures = 0
        self.known_ids: set[int] = set()
        self.learnable: set[int] = set()
        self.registry_failures = 0
        self.stored: dict[Partition, int] = {}
        self.changed = asyncio.Condition()

    async def prepare(self) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def positions(self, layouts: Collection[TableLayout]) -> Mapping[Partition, int]:
        return {}

    async def insert(self, layout: TableLayout, block: Block) -> None:
        await asyncio.sleep(0)
        if self.insert_failures:
            self.insert_failures -= 1
            await self.note(f"failed {block.token}")
            raise ClickHouseUnavailableError("away")
        await self.note(f"inserted {block.token}")

    async def run(self, work: Callable[[], T]) -> T:
        return work()

    def decode(self, value: bytes) -> tuple[str, Fields]:
        if value == b"bad":
            raise BadValueError("bad")
        if value[0] == 0 and value[1] not in self.known_ids:
            raise UnknownSchemaIdError(value[1])
        return "LoadPlanMade", {}

    async def fetch_schema(self, schema_id: int) -> None:
        if self.registry_failures:
            self.registry_failures -= 1
            raise BusUnavailableError("registry away")
        if schema_id not in self.learnable:
            raise CodecError("not registered")
        self.known_ids.add(schema_id)

    async def bury(self, bad: BadRecord) -> None:
        if self.bury_failures:
            self.bury_failures -= 1
            raise BusUnavailableError("broker away")
        await self.note(f"buried {bad.record.offset}")

    def store(self, offsets: Mapping[Partition, int]) -> None:
        self.stored |= offsets

    async def note(self, what: str) -> None:
        self.log.append(what)
        async with self.changed:
            self.changed.notify_all()

    async def until(self, what: str) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: what in self.log)


@asynccontextmanager
async def running(world: World, table: str = "load_plans", **settings: int) -> AsyncIterator[TablePipeline]:
    ports = Ports(world, world.decode, world.fetch_schema, world.bury, world.store)
    options = {"sink_settle_ms": 0, "sink_interval_ms": 0} | settings
    pipeline = TablePipeline(LAYOUTS[table], ports, SinkSettings.model_validate(options))
    task = asyncio.create_task(pipeline.run())
    try:
        yield pipeline
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def _retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.0)
    monkeypatch.setattr(module, "LONGEST_RETRY_S", 0.0)
    monkeypatch.setattr(module, "UPSTREAM_RETRY_S", 0.0)


async def test_a_block_that_fails_is_given_again_the_same_before_anything_newer() -> None:
    world = World()
    world.insert_failures = 2
    async with running(world, sink_flush_rows=2) as pipeline:
        pipeline.add(HERE, [Raw(0), Raw(1), Raw(2)])
        await pipeline.drain()
    assert world.log == [
        "failed load.plans:0:0-1",
        "failed load.plans:0:0-1",
        "inserted load.plans:0:0-1",
        "inserted load.plans:0:2-2",
    ]
    assert world.stored == {HERE: 3}
    assert not pipeline.failing


async def test_a_bad_record_is_in_the_dead_letters_before_its_row_is_stored() -> None:
    world = World()
    world.bury_failures = 1
    async with running(world) as pipeline:
        pipeline.add(HERE, [Raw(0), Raw(1, b"bad")])
        await pipeline.drain()
    assert world.log == ["buried 1", "inserted load.plans:0:0-1"]


async def test_a_bad_dead_letter_has_no_dead_letter() -> None:
    world = World()
    async with running(world, "dead_letters") as pipeline:
        pipeline.add(DEAD, [Raw(0, b"bad")])
        await pipeline.drain()
    assert world.log == ["inserted load.plans.dead:0:0-0"]


async def test_a_schema_id_is_learnt_however_long_the_registry_is_away() -> None:
    world = World()
    world.registry_failures = 2
    world.learnable = {5}
    async with running(world) as pipeline:
        pipeline.add(HERE, [Raw(0, b"\0\x05"), Raw(1, b"\0\x06")])
        await pipeline.drain()
    assert world.log == ["buried 1", "inserted load.plans:0:0-1"]


async def test_more_bad_records_than_the_limit_stop_the_table_before_they_are_stored() -> None:
    world = World()
    stopped = metrics.STOPPED_PARTITIONS.labels("sink", "load.plans/0", "failures")
    async with running(world, dead_letter_limit=2) as pipeline:
        pipeline.add(HERE, [Raw(0)])
        await pipeline.drain()
        pipeline.add(HERE, [Raw(1), *(Raw(offset, b"bad") for offset in range(2, 6))])
        await world.until("buried 3")
        await until(lambda: pipeline.blocked, "the table is stopped")
        assert value_of(stopped) == 1
        assert world.log == ["inserted load.plans:0:0-0", "buried 2", "buried 3"]
        await pipeline.reset()
        assert not pipeline.blocked
    assert value_of(stopped) == 0
    assert world.stored == {HERE: 1}


async def test_dead_letters_that_are_bad_again_when_they_are_replayed_do_not_count() -> None:
    world = World()
    async with running(world, dead_letter_limit=0) as pipeline:
        pipeline.add(HERE, [Raw(0, b"bad", headers=((REPLAYED_HEADER, b"7"),))])
        await pipeline.drain()
    assert world.log == ["buried 0", "inserted load.plans:0:0-0"]


async def test_what_was_taken_away_is_given_up() -> None:
    world = World()
    world.insert_failures = 10**9
    async with running(world) as pipeline:
        pipeline.add(HERE, [Raw(0)])
        await world.until("failed load.plans:0:0-0")
        await pipeline.reset()
        assert pipeline.rows == 0
        world.insert_failures = 0
        pipeline.add(HERE, [Raw(7)])
        await pipeline.drain()
    assert world.log[-1] == "inserted load.plans:0:7-7"
    assert "inserted load.plans:0:0-0" not in world.log
    assert world.stored == {HERE: 8}


async def test_full_from_four_blocks_on() -> None:
    world = World()
    async with running(world, sink_flush_rows=2, sink_settle_ms=10**6) as pipeline:
        pipeline.add(HERE, [Raw(i) for i in range(7)])
        assert not pipeline.full
        pipeline.add(HERE, [Raw(7)])
        assert pipeline.full
        assert pipeline.size == 8 * (256 + len(b"good") + len(b"site"))
