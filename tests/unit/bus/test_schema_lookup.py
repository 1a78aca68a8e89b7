"""Where a schema id that is not known is looked up, what is remembered, and what is only bad luck."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import httpx
import pytest
from aiokafka.errors import KafkaConnectionError

from libs.bus import schemas
from libs.bus.errors import BusUnavailableError
from libs.bus.schemas import (
    REMEMBER_S,
    REMEMBERED_IDS,
    REREAD_S,
    RegisteredSchema,
    SchemaLookup,
    SchemaRegistry,
)
from libs.bus.settings import BusSettings
from libs.events.codec import Codec, CodecError
from libs.events.contract import load_contract

CONTRACT = load_contract()
SCHEMA = CONTRACT.value_schema("load.plans")
NEW = 4711

Answer = Callable[[httpx.Request], httpx.Response]


def no_such_schema(_: httpx.Request) -> httpx.Response:
    return httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"})


def found(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"schema": json.dumps(SCHEMA)})


class World:
    """The bus and a registry as a test wants them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Answer = no_such_schema
        self.on_bus: list[RegisteredSchema] = []
        self.bus_away = False
        self.bus_reads = 0
        self.asked = 0
        self.now = 1000.0
        self.passes = True
        monkeypatch.setattr(schemas, "read_schemas", self._read)
        access = {"transport": httpx.MockTransport(self._handle)}
        monkeypatch.setattr(schemas, "registry_access", lambda _: access)
        registry = SchemaRegistry(BusSettings(registry_url="http://registry"), attempts=1)
        self.codec = Codec(CONTRACT, {"load.plans": 1})
        self.lookup = SchemaLookup(BusSettings(), registry, self.codec, lambda: self.now, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds * self.passes

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return self.answer(request)

    async def _read(self, settings: BusSettings) -> list[RegisteredSchema]:
        self.bus_reads += 1
        if self.bus_away:
            raise KafkaConnectionError("away")
        return self.on_bus


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def down(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


async def test_a_schema_applied_since_the_start_is_found_on_the_bus_while_the_registry_is_down(
    world: World,
) -> None:
    world.answer = down
    world.on_bus = [RegisteredSchema("load.plans-value", NEW, SCHEMA)]
    await world.lookup.fetch(NEW)
    assert world.codec.knows(NEW)
    assert world.asked == 0


async def test_a_schema_that_nobody_here_understands_hides_no_other(world: World) -> None:
    world.on_bus = [
        RegisteredSchema("other-value", 7, {"type": "map", "values": "string"}),
        RegisteredSchema("load.plans-value", NEW, SCHEMA),
    ]
    await world.lookup.fetch(NEW)
    assert world.codec.knows(NEW)


async def test_a_schema_that_only_the_registry_has_is_learnt_from_it(world: World) -> None:
    world.answer = found
    await world.lookup.fetch(NEW)
    assert world.codec.knows(NEW)


@pytest.mark.parametrize(
    "answer",
    [
        down,
        *(lambda _, status=status: httpx.Response(status) for status in (401, 403, 408, 429, 500, 502, 503)),
        lambda _: httpx.Response(404, text="<html>no backend</html>"),
        lambda _: httpx.Response(404, json={"detail": "no route"}),
        lambda _: httpx.Response(302, headers={"location": "https://login"}),
        lambda _: httpx.Response(200, text="<html>log in</html>"),
        lambda _: httpx.Response(200, json={"schema": "{"}),
        lambda _: httpx.Response(200, json=[]),
    ],
)
async def test_what_says_nothing_of_the_schema_is_tried_again(world: World, answer: Answer) -> None:
    world.answer = answer
    with pytest.raises(BusUnavailableError):
        await world.lookup.fetch(NEW)
    world.answer = found
    await world.lookup.fetch(NEW)
    assert world.codec.knows(NEW)


async def test_without_the_bus_nobody_knows_that_a_schema_does_not_exist(world: World) -> None:
    world.bus_away = True
    with pytest.raises(BusUnavailableError):
        await world.lookup.fetch(NEW)


async def test_what_was_applied_since_the_bus_was_read_is_not_taken_for_unknown(world: World) -> None:
    """The registry that is asked may be a replica that does not have it yet."""
    with pytest.raises(CodecError):
        await world.lookup.fetch(7)
    world.on_bus = [RegisteredSchema("load.plans-value", NEW, SCHEMA)]
    began = world.now
    await world.lookup.fetch(NEW)
    assert world.codec.knows(NEW)
    assert world.now == began + REREAD_S


async def test_that_nobody_knows_an_id_is_remembered_for_a_while(world: World) -> None:
    for _ in range(100):
        with pytest.raises(CodecError, match=f"schema id {NEW} is not registered"):
            await world.lookup.fetch(NEW)
    assert (world.asked, world.bus_reads) == (1, 1)
    world.answer = found
    world.now += REMEMBER_S
    await world.lookup.fetch(NEW)
    assert world.codec.knows(NEW)


async def test_every_id_of_a_flood_is_looked_for_on_the_bus(world: World) -> None:
    ids = range(10_000, 10_000 + 2 * REMEMBERED_IDS)
    for schema_id in ids:
        with pytest.raises(CodecError):
            await world.lookup.fetch(schema_id)
    assert world.bus_reads == len(ids)


async def test_of_too_many_ids_that_nobody_knows_the_oldest_is_forgotten(world: World) -> None:
    world.passes = False
    ids = range(10_000, 10_001 + REMEMBERED_IDS)
    for schema_id in (*ids, *ids[1:]):
        with pytest.raises(CodecError):
            await world.lookup.fetch(schema_id)
    assert world.asked == len(ids)
    with pytest.raises(CodecError):
        await world.lookup.fetch(ids[0])
    assert world.asked == len(ids) + 1


async def test_the_bus_is_read_once_a_second_at_most(world: World) -> None:
    world.answer = found
    for schema_id in range(10_000, 10_100):
        await world.lookup.fetch(schema_id)
    assert (world.bus_reads, world.asked) == (1, 100)


async def test_the_same_unknown_id_many_times_takes_bounded_memory(world: World) -> None:
    async def fail(times: int) -> None:
        for _ in range(times):
            with pytest.raises(CodecError):
                await world.lookup.fetch(NEW)

    await fail(100)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await fail(5_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
