"""What each kind of failure leads to: waiting, passing over, a dead letter, or a partition that stands still."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from libs.bus import faust_member, metrics, partition_task
from libs.bus.admin import apply_contract
from libs.bus.connection import connection
from libs.bus.dead_letters import replay_dead_letters
from libs.bus.message import Message
from libs.bus.partitioner import partition_of
from libs.bus.processor import Step, Tables, Tick
from libs.bus.schemas import SchemaRegistry
from libs.bus.settings import BusSettings
from libs.events.codec import MAGIC
from libs.events.contract import Contract
from libs.events.ocpp_log import OcppCallReceived
from libs.runtime.clock import SECOND
from libs.runtime.http import serve_http
from tests.integration.runtimes.bench import KafkaBench, Member, kafka_bench, runtime_class
from tests.integration.runtimes.tally import CONTRACT, STATE, TRANSACTIONS, Tally, TallyState, call
from tests.patience import WAIT_S, until

HERE = "s1"
ELSEWHERE = next(
    f"e{number}"
    for number in range(99)
    if partition_of(f"e{number}".encode(), 2) != partition_of(HERE.encode(), 2)
)
NUMBER = partition_of(HERE.encode(), 2)


def stopped(reason: str) -> float:
    return float(metrics.STOPPED_PARTITIONS.labels(Tally.name, NUMBER, reason)._value.get())


def counted(topic: str, reason: str) -> float:
    return float(metrics.DEAD_LETTERS.labels(Tally.name, topic, reason)._value.get())


async def start(kafka: KafkaBench, processor: Tally) -> Member:
    member = Member(runtime_class(kafka.kind)(kafka.bus, processor))
    kafka.members.append(member)
    await member.ready()
    return member


class Mended(Tally):
    """Takes a Fail for an Add of one."""

    def step(self, state: TallyState | None, event: Message | Tick, tables: Tables) -> Step[TallyState]:
        if (
            isinstance(event, Message)
            and isinstance(event.record, OcppCallReceived)
            and event.record.action == "Fail"
        ):
            record = msgspec.structs.replace(event.record, action="Add", payload="1")
            event = msgspec.structs.replace(event, record=record)
        return super().step(state, event, tables)


@pytest.fixture
async def strict(kind: str, settings: BusSettings) -> AsyncIterator[KafkaBench]:
    """A bench whose partitions stop at the third failure."""
    async with kafka_bench(kind, settings.model_copy(update={"dead_letter_limit": 2})) as bench:
        yield bench


@pytest.mark.guarantee("failure-limit")
async def test_more_failures_than_the_limit_stop_the_partition_and_no_other(strict: KafkaBench) -> None:
    member = await start(strict, Tally())
    poison = [call(HERE, "Fail") for _ in range(4)]
    await strict.send(call(HERE, "Add", 1), *poison, call(HERE, "Add", 1))
    await until(lambda: stopped("failures") == 1, "the partition to stop")
    await strict.send(call(ELSEWHERE, "Add", 1), call(ELSEWHERE, "Add", 1))
    await strict.outputs(ELSEWHERE, 2)
    await until(lambda: not member.runtime.ready, "the member to say that it is not ready")
    assert await strict.dead(2) == [each.event_id for each in poison[:2]]
    assert len(await strict.outputs(HERE, 1)) == 1
    await member.stop()
    assert stopped("failures") == 0

    # Nothing of what came behind is lost: whoever can handle it goes on there.
    await start(strict, Mended())
    outputs = await strict.outputs(HERE, 4)
    assert [output.meter_wh for output in outputs] == [1, 2, 3, 4]
    assert len(await strict.dead(2)) == 2


@pytest.mark.guarantee("failure-limit")
async def test_dead_letters_that_fail_again_when_they_are_replayed_do_not_count(strict: KafkaBench) -> None:
    member = await start(strict, Tally())
    await strict.send(call(HERE, "Fail"), call(HERE, "Fail"))
    await strict.dead(2)
    assert await replay_dead_letters(strict.bus, TRANSACTIONS) == 2
    await strict.dead(4)
    await strict.send(call(HERE, "Add", 1))
    await strict.outputs(HERE, 1)
    assert member.runtime.ready


async def last_state(kafka: KafkaBench, key: str) -> ConsumerRecord:
    """The last record of `key` in the state topic, once there is one."""
    place = TopicPartition(kafka.bus.settings.topic(STATE), NUMBER)
    consumer = AIOKafkaConsumer(
        **connection(kafka.bus.settings),
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        consumer.assign([place])
        async with asyncio.timeout(WAIT_S):
            async for record in consumer:
                if record.key == key.encode():
                    return record
    finally:
        await consumer.stop()
    raise AssertionError("unreachable: the consumer never ends")


@pytest.mark.guarantee("state-errors")
async def test_a_state_that_cannot_be_read_stops_its_partition_and_no_other(kafka: KafkaBench) -> None:
    first = await kafka.start()
    await kafka.send(call(HERE, "Add", 5), call(ELSEWHERE, "Add", 5))
    for station in (HERE, ELSEWHERE):
        await kafka.outputs(station, 1)
    good = await last_state(kafka, HERE)
    await first.stop()

    settings = kafka.bus.settings
    raw = AIOKafkaProducer(**connection(settings))
    await raw.start()
    try:

        async def put(value: bytes) -> None:
            await raw.send_and_wait(
                settings.topic(STATE), value, HERE.encode(), NUMBER, headers=list(good.headers)
            )

        await put(b"\xc1no state")
        before = counted(TRANSACTIONS, "failed")
        second = Member(runtime_class(kafka.kind)(kafka.bus, Tally()))
        kafka.members.append(second)
        await kafka.send(call(HERE, "Add", 1), call(ELSEWHERE, "Add", 1))
        await until(lambda: stopped("state") == 1, "the partition to stop")
        assert [output.energy_wh for output in await kafka.outputs(ELSEWHERE, 2)] == [5, 6]
        assert not second.runtime.ready
        assert len(await kafka.outputs(HERE, 1)) == 1
        assert await kafka.dead(0) == []
        assert counted(TRANSACTIONS, "failed") == before
        await second.stop()

        await put(good.value)
    finally:
        await raw.stop()
    await kafka.start()
    assert [output.energy_wh for output in await kafka.outputs(HERE, 2)] == [5, 6]


class LateTick(Tally):
    """Fails at its first ticks."""

    failures = 2

    def step(self, state: TallyState | None, event: Message | Tick, tables: Tables) -> Step[TallyState]:
        if isinstance(event, Tick) and self.failures:
            self.failures -= 1
            raise ValueError("cannot tick")
        return super().step(state, event, tables)


@pytest.mark.guarantee("timers")
async def test_a_tick_that_failed_is_tried_again(kafka: KafkaBench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (partition_task, faust_member):
        monkeypatch.setattr(module, "TICK_RETRY_US", SECOND // 10)
    before = counted("tick", "failed")
    await start(kafka, LateTick())
    await kafka.send(call("s1", "Wait", 0))
    assert [output.charging_state for output in await kafka.outputs("s1", 2)] == ["Wait", "tick"]
    assert counted("tick", "failed") == before + 2


class NoDue(Tally):
    """Does not know when a state wants a tick after a Wait of more than 0."""

    def due(self, state: TallyState) -> int | None:
        if state.deadline is not None:
            raise ValueError("cannot tell")
        return None


@pytest.mark.guarantee("dead-letters")
async def test_a_message_that_makes_a_state_without_a_time_is_put_aside(kafka: KafkaBench) -> None:
    await start(kafka, NoDue())
    poison = call("s1", "Wait", SECOND)
    await kafka.send(call("s1", "Add", 1), poison, call("s1", "Add", 1))
    assert await kafka.dead(1) == [poison.event_id]
    await until(lambda: len([o for o in kafka.seen["s1"] if o.charging_state == "Add"]) == 2, "both Adds")
    assert {output.charging_state for output in kafka.seen["s1"]} == {"Add"}


def grown(name: str, field: dict[str, object]) -> Contract:
    """The contract with one more field in record `name`."""
    schema = copy.deepcopy(CONTRACT.schemas[name])
    schema["fields"].append(field)
    return msgspec.structs.replace(CONTRACT, schemas={**CONTRACT.schemas, name: schema})


NOTE: dict[str, object] = {"name": "note", "type": ["null", "string"], "default": None}


def written_as(schema_id: int, kafka: KafkaBench, action: str) -> bytes:
    """A call as a version writes it whose OcppCallReceived has a note at its end."""
    ours = kafka.bus.codec.encode(TRANSACTIONS, call(HERE, action, 1))
    return MAGIC + schema_id.to_bytes(4, "big") + ours[5:] + b"\0"


@pytest.mark.guarantee("unknown-kinds")
async def test_a_record_of_a_kind_that_only_a_newer_version_knows_is_passed_over(kafka: KafkaBench) -> None:
    await kafka.start()
    topic = CONTRACT.topics[TRANSACTIONS]
    newer = msgspec.structs.replace(
        CONTRACT,
        schemas={
            **CONTRACT.schemas,
            "OcppCallPaused": {**CONTRACT.schemas["OcppCallReceived"], "name": "OcppCallPaused"},
        },
        topics={
            **CONTRACT.topics,
            TRANSACTIONS: msgspec.structs.replace(topic, schemas=(*topic.schemas, "OcppCallPaused")),
        },
    )
    # Applied while the older version runs.
    schema_id = (await apply_contract(kafka.bus.settings, newer)).schema_ids[TRANSACTIONS]
    passed = metrics.UNKNOWN_KINDS.labels(Tally.name, TRANSACTIONS)
    before = passed._value.get()
    ours = kafka.bus.codec.encode(TRANSACTIONS, call(HERE, "Add", 1))
    branch = bytes([2 * len(topic.schemas)])
    await kafka.send_raw(TRANSACTIONS, HERE, MAGIC + schema_id.to_bytes(4, "big") + branch + ours[6:])
    await kafka.send(call(HERE, "Add", 1))
    assert [output.meter_wh for output in await kafka.outputs(HERE, 1)] == [1]
    assert passed._value.get() == before + 1
    assert await kafka.dead(0) == []


@asynccontextmanager
async def faulty_registry(url: str, answers: dict[str, int]) -> AsyncIterator[str]:
    """The registry at `url` behind a proxy that answers with the status `answers["status"]`, if that is not 200."""

    async def answer(request: Request) -> Response:
        if answers["status"] != 200:
            return Response(status_code=answers["status"])
        async with httpx.AsyncClient() as client:
            found = await client.get(f"{url}{request.url.path}")
        return JSONResponse(json.loads(found.text), found.status_code)

    async with serve_http(Starlette(routes=[Route("/{rest:path}", answer)]), "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.guarantee("infrastructure")
@pytest.mark.parametrize("status", [403, 503])
async def test_a_schema_that_the_registry_does_not_tell_now_is_waited_for(
    kind: str, settings: BusSettings, status: int
) -> None:
    newer = grown("OcppCallReceived", NOTE).value_schema(TRANSACTIONS)
    async with SchemaRegistry(settings) as registry:
        # By another team: it is not on the bus.
        schema_id = (await registry.register(f"{settings.topic(TRANSACTIONS)}-value", newer)).schema_id
    waiting = metrics.WAITING_PARTITIONS.labels(Tally.name, NUMBER)
    answers = {"status": status}
    async with (
        faulty_registry(settings.registry_url, answers) as url,
        kafka_bench(kind, settings.model_copy(update={"registry_url": url})) as kafka,
    ):
        member = await kafka.start()
        await kafka.send(call(HERE, "Add", 1))
        await kafka.send_raw(TRANSACTIONS, HERE, written_as(schema_id, kafka, "Add"))
        await kafka.send(call(HERE, "Add", 1))
        await until(lambda: waiting._value.get() == 1, "the partition to wait")
        assert [output.meter_wh for output in await kafka.outputs(HERE, 1)] == [1]
        assert not member.runtime.ready
        answers["status"] = 200
        assert [output.meter_wh for output in await kafka.outputs(HERE, 3)] == [1, 2, 3]
        await until(lambda: member.runtime.ready, "the partition to go on")
        assert waiting._value.get() == 0
        assert await kafka.dead(0) == []
