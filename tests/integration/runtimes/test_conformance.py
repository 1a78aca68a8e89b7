"""What `libs.bus.guarantees` promises, case by case, with every runtime that promises it."""

import ast
import asyncio
import itertools
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from libs.bus import metrics
from libs.bus.connection import connection
from libs.bus.errors import ContractMismatchError
from libs.bus.guarantees import GUARANTEES
from libs.bus.log_range import LogRange
from libs.bus.partitioner import partition_of
from libs.bus.processor import Processor, Step
from libs.runtime.clock import SECOND, now_us
from tests.integration.runtimes.bench import Bench, KafkaBench, Member, runtime_class
from tests.integration.runtimes.tally import (
    DISPATCH,
    LIFECYCLE,
    STATE,
    TRANSACTIONS,
    Tally,
    call,
    opened,
    registered,
)
from tests.patience import WAIT_S, until

STATIONS = [f"s{number}" for number in range(6)]


def dead_letters(topic: str, reason: str) -> float:
    return float(metrics.DEAD_LETTERS.labels(Tally.name, topic, reason)._value.get())


@pytest.mark.guarantee("key-order")
@pytest.mark.guarantee("outputs-once")
async def test_every_message_takes_effect_in_the_order_of_its_key(bench: Bench) -> None:
    for number in range(30):
        await bench.send(*(call(station, "Add", number) for station in STATIONS))
    for station in STATIONS:
        outputs = await bench.outputs(station, 30)
        assert [output.meter_wh for output in outputs] == list(range(1, 31))
        assert [output.energy_wh for output in outputs] == list(itertools.accumulate(range(30)))
        assert len({output.event_id for output in outputs}) == 30


@pytest.mark.guarantee("key-order")
async def test_topics_share_the_state_of_a_key(bench: Bench) -> None:
    await bench.send(call("s1", "Add", 5), opened("s1"))
    await bench.outputs("s1", 2)
    await bench.send(call("s1", "Add", 5), opened("s1"))
    outputs = await bench.outputs("s1", 4)
    assert max(output.energy_wh for output in outputs) == 10
    assert max(output.evse_id for output in outputs) == 2


@pytest.mark.guarantee("time-order")
async def test_inputs_are_merged_by_time_when_catching_up(kafka: KafkaBench) -> None:
    for _ in range(20):
        await kafka.send(call("s1", "Add", 1))
        await asyncio.sleep(0.003)  # timestamps have a resolution of a millisecond
        await kafka.send(opened("s1"))
        await asyncio.sleep(0.003)
    await kafka.start()
    outputs = await kafka.outputs("s1", 40)
    assert [output.charging_state for output in outputs] == ["Add", "opened"] * 20


@pytest.mark.guarantee("time-order")
async def test_what_is_equally_old_comes_in_the_order_of_the_inputs_here_and_in_replays(
    kafka: KafkaBench,
) -> None:
    at = now_us() // 1_000 * 1_000
    for later in range(0, 20_000, 1_000):
        await kafka.send(*(opened("s1", recorded_at=at + later + number) for number in range(2)))
        await kafka.send(*(call("s1", "Add", 1, recorded_at=at + later + number) for number in range(2)))
    await kafka.start()
    outputs = await kafka.outputs("s1", 80)
    handed = [LIFECYCLE if output.charging_state == "opened" else TRANSACTIONS for output in outputs]
    assert handed == [TRANSACTIONS, TRANSACTIONS, LIFECYCLE, LIFECYCLE] * 20
    replay = LogRange(kafka.bus, Tally.inputs, partition_of(b"s1", 2), since=0, until=now_us())
    async with replay:
        assert [message.topic async for message in replay] == handed


@pytest.mark.guarantee("unwanted")
async def test_what_is_not_wanted_is_passed_over_unread(bench: Bench) -> None:
    before = dead_letters(TRANSACTIONS, "failed")
    await bench.send(call("s1", "Add", 1), call("s1", "Unwanted"), call("s1", "Add", 1))
    assert [output.meter_wh for output in await bench.outputs("s1", 2)] == [1, 2]
    assert await bench.dead(0) == []
    assert dead_letters(TRANSACTIONS, "failed") == before


@pytest.mark.guarantee("restart")
async def test_state_survives_a_restart(kafka: KafkaBench) -> None:
    first = await kafka.start()
    await kafka.send(*(call(station, "Add", 7) for station in STATIONS))
    for station in STATIONS:
        await kafka.outputs(station, 1)
    await first.stop()
    await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
    await kafka.start()
    for station in STATIONS:
        outputs = await kafka.outputs(station, 2)
        assert [(output.meter_wh, output.energy_wh) for output in outputs] == [(1, 7), (2, 8)]


@pytest.mark.guarantee("dead-letters")
@pytest.mark.parametrize("action", ["Fail", "FailInKey", "Swell", "Stray", "Misfit"])
async def test_a_poison_message_is_put_aside_alone(bench: Bench, action: str) -> None:
    if isinstance(bench, KafkaBench):
        before = dead_letters(TRANSACTIONS, "failed")
    poison = call("s1", action)
    await bench.send(call("s1", "Add", 1), poison, call("s1", "Add", 1), call("s2", "Add", 1))
    assert [output.meter_wh for output in await bench.outputs("s1", 2)] == [1, 2]
    await bench.outputs("s2", 1)
    assert await bench.dead(1) == [poison.event_id]
    if isinstance(bench, KafkaBench):
        assert dead_letters(TRANSACTIONS, "failed") == before + 1


@pytest.mark.guarantee("dead-letters")
async def test_the_largest_message_can_be_put_aside(bench: Bench) -> None:
    poison = call("s1", "Fail", "x" * (4_100_000))
    await bench.send(poison, call("s1", "Add", 1))
    await bench.outputs("s1", 1)
    assert await bench.dead(1) == [poison.event_id]


@pytest.mark.guarantee("unreadable")
@pytest.mark.parametrize(
    "value",
    [b"{}", b"", b"\0\0\0\0", b"\0\x7f\xff\xff\xff\0", b"\0\0\0\0\1\xff\xff\xff"],
    ids=["no-avro", "empty", "short", "unknown-schema", "broken-body"],
)
async def test_a_value_that_cannot_be_read_is_put_aside(kafka: KafkaBench, value: bytes) -> None:
    await kafka.start()
    before = dead_letters(TRANSACTIONS, "undecodable")
    await kafka.send_raw(TRANSACTIONS, "s1", value)
    await kafka.send(call("s1", "Add", 1))
    assert [output.meter_wh for output in await kafka.outputs("s1", 1)] == [1]
    assert await kafka.dead(1) == [""]
    assert dead_letters(TRANSACTIONS, "undecodable") == before + 1


@pytest.mark.guarantee("timers")
async def test_a_tick_comes_when_it_is_due(bench: Bench) -> None:
    started = now_us()
    await bench.send(call("s1", "Wait", 200_000))
    waiting, tick = await bench.outputs("s1", 2)
    assert (waiting.charging_state, tick.charging_state) == ("Wait", "tick")
    assert waiting.recorded_at + 200_000 == tick.recorded_at
    assert now_us() - started < 20 * SECOND


@pytest.mark.guarantee("timers")
@pytest.mark.parametrize("busy", [TRANSACTIONS, LIFECYCLE])
async def test_a_tick_comes_while_messages_keep_coming(kafka: KafkaBench, busy: str) -> None:
    await kafka.start()
    beside = next(
        each for each in map(str, range(100)) if partition_of(each.encode(), 2) == partition_of(b"s1", 2)
    )

    async def send_for_long() -> None:
        while True:
            record = call(beside, "Add", 1) if busy == TRANSACTIONS else opened(beside)
            await kafka.producer.send(busy, beside, record)
            await asyncio.sleep(0.003)

    sending = asyncio.create_task(send_for_long())
    try:
        await kafka.send(call("s1", "Wait", SECOND))
        waiting, tick = await kafka.outputs("s1", 2)
        assert (waiting.charging_state, tick.charging_state) == ("Wait", "tick")
        assert not sending.done()
    finally:
        sending.cancel()


@pytest.mark.guarantee("timers")
async def test_a_deadline_comes_before_what_was_recorded_after_it(bench: Bench) -> None:
    at = now_us()
    await bench.send(
        call("s1", "Wait", 300 * SECOND, recorded_at=at),
        call("s1", "Add", 1, recorded_at=at + 299 * SECOND),
        call("s1", "Add", 1, recorded_at=at + 300 * SECOND),
    )
    outputs = await bench.outputs("s1", 4)
    assert [output.charging_state for output in outputs] == ["Wait", "Add", "tick", "Add"]


@pytest.mark.guarantee("restart")
async def test_a_state_topic_may_end_without_a_record(kafka: KafkaBench) -> None:
    first = await kafka.start()
    await kafka.send(*(call(station, "Add", 7) for station in STATIONS))
    for station in STATIONS:
        await kafka.outputs(station, 1)
    await first.stop()
    settings = kafka.bus.settings
    writer = AIOKafkaProducer(**connection(settings), transactional_id=settings.group("writer"))
    await writer.start()
    try:
        for partition in range(2):
            await writer.begin_transaction()
            await writer.send_and_wait(settings.topic(STATE), None, b"nobody", partition)
            await writer.commit_transaction()
    finally:
        await writer.stop()
    await kafka.start()
    await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
    for station in STATIONS:
        assert [output.energy_wh for output in await kafka.outputs(station, 2)] == [7, 8]


@pytest.mark.guarantee("timers")
@pytest.mark.guarantee("restart")
async def test_timers_are_restored(kafka: KafkaBench) -> None:
    first = await kafka.start()
    await kafka.send(call("s1", "Wait", 3 * SECOND))
    await kafka.outputs("s1", 1)
    await first.stop()
    await kafka.start()
    assert (await kafka.outputs("s1", 2))[1].charging_state == "tick"


@pytest.mark.guarantee("timers")
async def test_a_timer_does_not_overtake_messages_that_wait_to_be_read(kafka: KafkaBench) -> None:
    first = await kafka.start()
    waiting = call("s1", "Wait", 8 * SECOND)  # longer than it takes to stop
    await kafka.send(waiting)
    await kafka.outputs("s1", 1)
    await first.stop()
    at = now_us()
    await kafka.send(*(call("s1", "Add", 1, recorded_at=at) for _ in range(2_000)), opened("s1"))
    left_us = waiting.recorded_at + 9 * SECOND - now_us()
    await asyncio.sleep(max(0, left_us / SECOND))  # the deadline passes while nobody reads
    await kafka.start()
    outputs = await kafka.outputs("s1", 2_003)
    assert [output.charging_state for output in outputs[1:]].index("tick") >= 2_000


@pytest.mark.guarantee("forgetting")
async def test_no_state_forgets_the_key(bench: Bench) -> None:
    await bench.send(call("s1", "Add", 5), call("s1", "Forget"), call("s1", "Add", 1))
    outputs = await bench.outputs("s1", 3)
    assert outputs[2].energy_wh == 1
    await bench.send(call("s1", "Forget"))
    await bench.outputs("s1", 4)
    if isinstance(bench, KafkaBench):
        await until_forgotten(bench, "s1")


async def until_forgotten(bench: KafkaBench, key: str) -> None:
    topic = bench.bus.settings.topic(STATE)
    consumer = AIOKafkaConsumer(topic, **connection(bench.bus.settings), auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(WAIT_S):
            async for record in consumer:
                if record.key == key.encode() and record.value is None:
                    return
    finally:
        await consumer.stop()


@pytest.mark.guarantee("forgetting")
@pytest.mark.guarantee("restart")
async def test_what_was_forgotten_stays_forgotten(kafka: KafkaBench) -> None:
    first = await kafka.start()
    await kafka.send(call("s1", "Add", 5), call("s1", "Forget"))
    await kafka.outputs("s1", 2)
    await first.stop()
    await kafka.start()
    await kafka.send(call("s1", "Add", 1))
    assert (await kafka.outputs("s1", 3))[2].energy_wh == 1


@pytest.mark.guarantee("tables-first")
async def test_tables_are_caught_up_before_the_first_message(kafka: KafkaBench) -> None:
    await kafka.send(*(registered(f"r{number}") for number in range(500)))
    await kafka.send(call("s1", "LookUp", "r499"), call("s1", "LookUp", "r500"))
    await kafka.start()
    outputs = await kafka.outputs("s1", 2)
    assert [output.charging_state for output in outputs] == ["known", "unknown"]


@pytest.mark.guarantee("sharing")
async def test_members_share_the_partitions_and_hand_over(kafka: KafkaBench) -> None:
    async def add(total: int) -> None:
        await kafka.send(*(call(station, "Add", 1) for station in STATIONS))
        for station in STATIONS:
            outputs = await kafka.outputs(station, total)
            assert [output.meter_wh for output in outputs] == list(range(1, total + 1))

    first = await kafka.start()
    await add(1)
    second = await kafka.start()
    await until(lambda: first.runtime.ready and second.runtime.ready, "both members to be ready")
    await add(2)
    await first.stop()
    await add(3)
    third = await kafka.start()
    await until(lambda: third.runtime.ready and second.runtime.ready, "both members to be ready")
    await add(4)
    await second.stop()
    await add(5)


@pytest.mark.guarantee("co-partitioning")
async def test_inputs_that_are_not_partitioned_alike_are_refused(kafka: KafkaBench) -> None:
    class Joined(Tally):
        name = "joined"
        inputs = (TRANSACTIONS, DISPATCH)

    await kafka.send(call("s1", "Add", 1))
    stop = asyncio.Event()
    with pytest.raises(ContractMismatchError, match="unequal partition counts"):
        await asyncio.wait_for(runtime_class(kafka.kind)(kafka.bus, Joined()).run(stop), WAIT_S)
    assert not kafka.seen


@pytest.mark.guarantee("outputs-once")
async def test_aborted_records_are_not_seen(kafka: KafkaBench) -> None:
    await see_only_committed(kafka)


@pytest.mark.guarantee("state-once")
async def test_inputs_are_read_committed(kafka: KafkaBench) -> None:
    await see_only_committed(kafka)


async def see_only_committed(kafka: KafkaBench) -> None:
    await kafka.start()
    settings = kafka.bus.settings
    writer = AIOKafkaProducer(**connection(settings), transactional_id=settings.group("writer"))
    await writer.start()
    try:
        for number in range(4):
            await writer.begin_transaction()
            record = call("s1", "Add", number)
            await writer.send_and_wait(
                settings.topic(TRANSACTIONS), kafka.bus.codec.encode(TRANSACTIONS, record), b"s1"
            )
            await (writer.abort_transaction() if number % 2 else writer.commit_transaction())
    finally:
        await writer.stop()
    await kafka.send(call("s1", "Wait", 0))
    outputs = await kafka.outputs("s1", 4)
    # The tick shows that a log that ends with a transaction marker counts as read to its end.
    assert [output.charging_state for output in outputs] == ["Add", "Add", "Wait", "tick"]
    assert outputs[-1].energy_wh == 2


class Pass(Processor[msgspec.Struct]):
    """Without state: passes connections on."""

    name = "pass"
    inputs = (LIFECYCLE,)
    outputs = Tally.outputs

    def step(self, state, event, tables):  # type: ignore[no-untyped-def]
        return Step(None, Tally().step(None, event, tables).out)


@pytest.mark.guarantee("nothing-lost")
async def test_a_processor_without_state_runs_too(kafka: KafkaBench) -> None:
    runtime = runtime_class(kafka.kind)(kafka.bus, Pass())  # type: ignore[arg-type]
    member = Member(runtime)
    kafka.members.append(member)
    await member.ready()
    await kafka.send(*(opened("s1") for _ in range(20)))
    assert len(await kafka.outputs("s1", 20)) == 20


def test_every_guarantee_is_tested() -> None:
    modules = [ast.parse(path.read_text()) for path in Path(__file__).parent.glob("test_*.py")]
    tests = [
        node
        for module in modules
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    marks = {ast.unparse(each) for test in tests for each in test.decorator_list}
    assert {f"pytest.mark.guarantee({name!r})" for name in GUARANTEES} <= marks
