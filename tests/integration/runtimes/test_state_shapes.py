"""Stored states of other shapes: read by their upcasts, or the process stops and another one goes on."""

import asyncio
from copy import copy
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from libs.bus import metrics
from libs.bus.connection import connection
from libs.bus.errors import StateShapeError
from libs.bus.faust_states import FORM, Entry
from libs.bus.partitioner import partition_of
from libs.bus.reading import read_to_end
from libs.bus.shapes import fingerprint
from tests.integration.runtimes.bench import Bench, KafkaBench, Member, MemoryBench, runtime_class
from tests.integration.runtimes.tally import (
    STATE,
    TRANSACTIONS,
    FormerTally,
    FormerTallyState,
    Tally,
    TallyState,
    call,
)
from tests.patience import WAIT_S, until

STATIONS = [f"s{number}" for number in range(6)]
FORMER = fingerprint(FormerTallyState)
TODAY = fingerprint(TallyState)


class Blind(Tally):
    """Knows no former state."""

    former_states = ()
    unmarked_state = None


async def store(bench: Bench, station: str, value: bytes, shape: str | None) -> None:
    """Write a state as if another release had."""
    if isinstance(bench, MemoryBench):
        bench.runtime.restore({station: (value, None if shape is None else shape.encode())})
        return
    assert isinstance(bench, KafkaBench)
    settings = bench.bus.settings
    partition = partition_of(station.encode(), 2)
    headers = []
    if bench.kind == "faust":
        value = msgspec.msgpack.encode(Entry(partition, {}, value))
    if shape is not None:
        headers = [("shape", ((FORM if bench.kind == "faust" else "") + shape).encode())]
    producer = AIOKafkaProducer(**connection(settings))
    await producer.start()
    try:
        await producer.send_and_wait(
            settings.topic(STATE), value, station.encode(), partition, headers=headers
        )
    finally:
        await producer.stop()


def former(station: str) -> bytes:
    return msgspec.msgpack.encode(FormerTallyState(station, 700, 7, 0, None))


async def stored(kafka: KafkaBench, *shapes: str) -> None:
    """Wait until the states that are stored have these shapes: Faust writes them after the outputs."""
    async with asyncio.timeout(WAIT_S):
        while (found := await _stored_shapes(kafka)) != set(shapes):
            assert found <= {FORMER, TODAY}
            await asyncio.sleep(0.1)


async def _stored_shapes(kafka: KafkaBench) -> set[str]:
    found: dict[bytes, str] = {}
    for partition in range(2):
        async for record in read_to_end(kafka.bus.settings, STATE, (partition,)):
            found[record.key] = dict(record.headers)["shape"].decode().removeprefix(FORM)
    return set(found.values())


async def committed(kafka: KafkaBench, group: str) -> int:
    """How many messages of the input are committed."""
    consumer = AIOKafkaConsumer(**connection(kafka.bus.settings), group_id=group)
    await consumer.start()
    try:
        topic = kafka.bus.settings.topic(TRANSACTIONS)
        return sum([await consumer.committed(TopicPartition(topic, number)) or 0 for number in range(2)])
    finally:
        await consumer.stop()


async def failure(kafka: KafkaBench, tally: Tally) -> tuple[StateShapeError, str]:
    """What ends a member that runs `tally`, and its group."""
    runtime = runtime_class(kafka.kind)(kafka.bus, tally)
    with pytest.raises(StateShapeError) as raised:
        await asyncio.wait_for(runtime.run(asyncio.Event()), WAIT_S)
    return raised.value, runtime.group


@pytest.mark.guarantee("state-shape")
@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
async def test_a_state_of_an_earlier_shape_is_read_by_its_upcast(
    kind: str, bench_before_start: Bench, marked: bool
) -> None:
    bench = bench_before_start
    for station in STATIONS:
        await store(bench, station, former(station), FORMER if marked else None)
    if isinstance(bench, KafkaBench):
        await bench.start()
    for station in STATIONS[:3]:
        await bench.send(call(station, "Add", 1), call(station, "Add", 1))
        outputs = await bench.outputs(station, 2)
        assert [(output.meter_wh, output.energy_wh) for output in outputs] == [(8, 701), (9, 702)]
    assert await bench.dead(0) == []
    if isinstance(bench, KafkaBench) and marked:
        await stored(bench, FORMER, TODAY)


@pytest.mark.guarantee("state-shape")
async def test_a_state_of_an_unknown_shape_stops_the_process_and_loses_nothing(
    kind: str, bench_before_start: Bench
) -> None:
    bench = bench_before_start
    if isinstance(bench, MemoryBench):
        with pytest.raises(StateShapeError, match="tally"):
            await store(bench, "s1", b"\x90", "0123456789abcdef")
        return
    assert isinstance(bench, KafkaBench)
    for station in STATIONS:
        await store(bench, station, former(station), FORMER)
    await bench.send(*(call(station, "Add", 1) for station in STATIONS))
    counted = metrics.STATE_ERRORS.labels(Tally.name)._value.get()
    error, group = await failure(bench, Blind())
    assert (error.processor, error.topic) == ("tally", STATE)
    on_it = [station for station in STATIONS if partition_of(station.encode(), 2) == error.partition]
    assert sum(error.stored.values()) == len(on_it)
    assert metrics.STATE_ERRORS.labels(Tally.name)._value.get() > counted
    assert await committed(bench, group) == 0
    assert await bench.dead(0) == []
    assert not bench.seen
    await bench.start()
    for station in STATIONS:
        assert [output.energy_wh for output in await bench.outputs(station, 1)] == [701]


@pytest.mark.guarantee("state-shape")
async def test_a_process_that_stops_leaves_its_partitions_to_one_that_can_read_them(
    kind: str, kafka: KafkaBench
) -> None:
    for station in STATIONS:
        await store(kafka, station, former(station), FORMER)
    able = await kafka.start()
    blind = Member(runtime_class(kafka.kind)(kafka.bus, Blind()))
    with pytest.raises(StateShapeError):
        await asyncio.wait_for(blind.task, WAIT_S)
    await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
    for station in STATIONS:
        assert [output.energy_wh for output in await kafka.outputs(station, 1)] == [701]
    await until(lambda: able.runtime.ready, "the member that is left to be ready")


@pytest.mark.guarantee("state-shape")
async def test_what_no_processor_writes_to_a_state_topic_keeps_no_partition_from_starting(
    kind: str, kafka: KafkaBench
) -> None:
    for station in STATIONS:
        await store(kafka, station, former(station), FORMER)
    producer = AIOKafkaProducer(**connection(kafka.bus.settings))
    await producer.start()
    topic = kafka.bus.settings.topic(STATE)
    try:
        for partition in range(2):
            for value, headers in (
                (b"anything", []),
                (None, []),
                (b"", [("due", b"soon"), ("shape", b"\xff")]),
            ):
                await producer.send_and_wait(topic, value, b"\xff\xfe", partition, headers=headers)
    finally:
        await producer.stop()
    passed_over = metrics.DEAD_LETTERS.labels(Tally.name, STATE, "foreign")._value
    before = passed_over.get()
    await kafka.start()
    await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
    for station in STATIONS:
        assert [output.energy_wh for output in await kafka.outputs(station, 1)] == [701]
    assert passed_over.get() >= before + 6


@pytest.mark.guarantee("rolling")
async def test_two_releases_take_turns_while_the_earlier_is_named(kind: str, kafka: KafkaBench) -> None:
    async def add(total: int) -> None:
        await kafka.send(*(call(station, "Add", 100) for station in STATIONS))
        for station in STATIONS:
            outputs = await kafka.outputs(station, total)
            assert [output.meter_wh for output in outputs] == list(range(1, total + 1))
            assert outputs[-1].energy_wh == 100 * total

    def earlier() -> Any:
        return runtime_class(kind)(kafka.bus, FormerTally())  # type: ignore[arg-type]

    def later(release: str) -> Any:
        bus = copy(kafka.bus)
        bus.settings = bus.settings.model_copy(update={"state_release": release})
        return runtime_class(kind)(bus, Tally())

    first = await kafka.start(earlier())
    await add(1)
    second = await kafka.start(later("0.9"))
    await until(lambda: first.runtime.ready and second.runtime.ready, "both members to be ready")
    await add(2)
    await first.stop()
    await add(3)
    await stored(kafka, FORMER)
    third = await kafka.start(earlier())  # back
    await second.stop()
    await add(4)
    await kafka.start(later("0.9"))
    await third.stop()
    await add(5)
    await kafka.start(later(""))  # done: only now there is no way back
    await kafka.members[-2].stop()
    await add(6)
    await stored(kafka, TODAY)
