"""The sink on real Kafka, registry and ClickHouse: every record is a row, once."""

import asyncio
import itertools
import json
import random
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from libs.bus.admin import apply_contract, delete_topics, wanted_topics
from libs.bus.bus import Bus, connect, contract_topics
from libs.bus.connection import connection
from libs.bus.producer import Producer
from libs.bus.raw_consumer import LogShorterError
from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.clickhouse.maintenance import forget_topic, rebuild
from libs.clickhouse.table_mapping import Column, layouts, table_name
from libs.devstack import Endpoints
from libs.events.catalogue import RECORDS
from libs.events.contract import DEAD_LETTER, ROOT, load_contract
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.sessions import SessionEnded, SessionStarted, SessionUpdated
from libs.runtime.service import Health
from services.sink.app import run
from services.sink.settings import SinkSettings
from tests.conftest import StackFactory
from tests.integration.bus import drop_topics
from tests.integration.sink_process import Database, SinkProcess, new_platform, sink_task
from tests.patience import until

LAYOUTS = layouts(load_contract())
UNSTORED = {topic.name for topic in load_contract().topics.values() if topic.schemas and not topic.stored}
START = 1_750_000_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
async def settings(stack: Endpoints, namespace: str) -> AsyncIterator[SinkSettings]:
    made = await new_platform(stack, namespace, sink_interval_ms=100, sink_flush_rows=500)
    yield made
    await Database(made).drop()
    await drop_topics(made)


def examples() -> list[tuple[str, Record]]:
    """Every example of the contract with its topic."""
    home = {name: topic.name for topic in load_contract().topics.values() for name in topic.schemas}
    home[DEAD_LETTER] = "ocpp.transactions.dead"
    found: list[tuple[str, Record]] = []
    for path in sorted((ROOT / "examples").glob("*/*.json")):
        data = json.loads(path.read_text())
        if path.parent.name == DEAD_LETTER:
            data |= {"key": data["key"].encode(), "value": b"\xff" + data["value"].encode()}
            data["headers"] = [header | {"value": header["value"].encode()} for header in data["headers"]]
        found.append((home[path.parent.name], msgspec.convert(data, RECORDS[path.parent.name])))
    return found


def stored_value(record: Record, column: Column, renamed: dict[str, str]) -> Any:
    fields = msgspec.to_builtins(record, builtin_types=(bytes,))
    for field, name in renamed.items():
        fields[name] = fields.pop(field)
    value = fields.get(column.field)
    if column.many and column.part is not None:
        return [item[column.part] for item in value or ()]
    if column.part is not None:
        return None if value is None else value[column.part]
    return [] if value is None and column.many else value


def plain(value: Any) -> Any:
    """A value from ClickHouse as records have it: microseconds; bytes as text where they are text."""
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


async def test_every_kind_of_record_arrives_as_it_was_written(settings: SinkSettings) -> None:
    database = Database(settings)
    written = examples()
    async with connect(settings) as bus, sink_task(settings):
        producer = Producer(bus, "test")
        await producer.start()
        for topic, record in written:
            await producer.send_and_wait(topic, "the key", record)
        await producer.send_and_wait("registry.tokens", "04AABB", None)
        await producer.stop()
        await all_stored(bus, database)
        for topic, record in written:
            if topic in UNSTORED:
                assert table_name(topic) not in LAYOUTS
                continue
            layout = LAYOUTS[table_name(topic)]
            found = await database.rows(
                f"SELECT * FROM {layout.table} FINAL"
                f" WHERE event_id = '{record.event_id}' AND _topic = '{topic}'"
            )
            if len(found) != 1:
                there = f"SELECT _partition, _offset, _type, event_id FROM {layout.table} WHERE _topic = '{topic}'"
                raise AssertionError((len(found), record, await database.rows(there)))
            (row,) = found
            assert (row["_type"], row["_key"], row["_deleted"]) == (type(record).__name__, "the key", False)
            for column in layout.columns:
                expected = stored_value(record, column, dict(layout.renamed.get(type(record).__name__, {})))
                if column.as_json:
                    expected = ["" if v is None else msgspec.json.encode(v).decode() for v in expected]
                assert plain(row[column.name]) == plain(expected), column.name
        (gone,) = await database.rows("SELECT id_token FROM registry_tokens WHERE _deleted")
        assert gone == {"id_token": "04AABB"}


async def test_what_cannot_be_read_goes_to_dead_letters_and_disturbs_nobody(settings: SinkSettings) -> None:
    database = Database(settings)
    poison = [b"not avro", b"\0\0\0\0\0", b"\0\x7f\xff\xff\xff...", b""]
    async with connect(settings) as bus, sink_task(settings):
        good = bus.codec.encode("ocpp.transactions", call(1))
        raw = AIOKafkaProducer(**connection(settings))
        await raw.start()
        topic = settings.topic("ocpp.transactions")
        for value in [good, *poison, good[:-4], good]:
            await raw.send_and_wait(topic, value, b"cp\xff", partition=1, headers=[("h", b"\xfe")])
        await raw.send_and_wait(settings.topic("load.plans.dead"), b"no dead letter", b"x")
        await raw.send_and_wait(settings.topic("load.plans"), bus.codec.encode("load.plans", plan()), b"s")
        await raw.stop()
        await all_stored(bus, database)
        letters = await database.rows(
            "SELECT * FROM dead_letters WHERE _type != 'undecodable' ORDER BY _offset"
        )
        assert [(letter["source_partition"], letter["source_offset"]) for letter in letters] == [
            (1, offset) for offset in range(1, 6)
        ]
        assert {(x["_topic"], x["source_topic"], x["processor"]) for x in letters} == {
            ("ocpp.transactions.dead", "ocpp.transactions", "sink")
        }
        assert [letter["value"] or "" for letter in letters[:2]] == ["not avro", "\0\0\0\0\0"]
        assert letters[0]["key"] == b"cp\xff"
        assert await database.value("SELECT count() FROM ocpp_transactions WHERE _type = 'undecodable'") == 5
        assert await database.value("SELECT count() FROM dead_letters WHERE _type = 'undecodable'") == 1
        assert await database.value("SELECT count() FROM load_plans") == 1
    async with connect(settings) as bus, sink_task(settings):
        # A restart finds its place behind the bad records: no second dead letter.
        await send(bus, "ocpp.transactions", [call(2)])
        await all_stored(bus, database)
        assert await database.value("SELECT count() FROM dead_letters") == 6


async def test_only_what_was_committed_is_stored(settings: SinkSettings) -> None:
    database = Database(settings)
    async with connect(settings) as bus, sink_task(settings):
        producer = AIOKafkaProducer(**connection(settings), transactional_id=settings.group("test"))
        await producer.start()
        topic = settings.topic("ocpp.transactions")
        for number, kept in enumerate([True, False, True]):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, bus.codec.encode("ocpp.transactions", call(number)), b"cp0")
            await (producer.commit_transaction() if kept else producer.abort_transaction())
        await producer.stop()
        await until(lambda: is_value(database, "SELECT count() FROM ocpp_transactions", 2), "two rows")
        assert await database.rows("SELECT message_id FROM ocpp_transactions ORDER BY _offset") == [
            {"message_id": "0"}, {"message_id": "2"},
        ]  # fmt: skip


@pytest.mark.parametrize("rounds", [2, pytest.param(6, marks=pytest.mark.slow)])
async def test_killed_anywhere_alone_or_among_others_every_record_is_a_row_once(
    settings: SinkSettings, rounds: int
) -> None:
    """The sink is killed with -9 again and again while records arrive, with and without a second one."""
    dice = random.Random(5)
    database = Database(settings)
    records = Traffic(sessions=60)
    async with connect(settings) as bus:
        sinks = [SinkProcess(settings), SinkProcess(settings)]
        await sinks[0].start()
        try:
            for number in range(rounds):
                size = dice.randrange(2000, 4000)
                stored = await database.value("SELECT count() FROM ocpp_transactions") or 0
                writing = asyncio.create_task(records.write(bus, size))
                goal = stored + dice.randrange(1, size // 2)
                await until_rows(database, goal, writing)
                await sinks[0].end(signal.SIGKILL)
                if number % 2:
                    await sinks[1].start()
                await sinks[0].start()
                await writing
                if number % 2:
                    await until(sinks[1].is_ready, "second sink ready")
                    await sinks[1].end(signal.SIGKILL)
            await all_stored(bus, database)
            await records.check(database)
        finally:
            for sink in sinks:
                if sink.running:
                    await sink.end(signal.SIGKILL)


@pytest.mark.parametrize("rounds", [2, pytest.param(5, marks=pytest.mark.slow)])
async def test_a_clickhouse_that_dies_again_and_again_loses_and_doubles_nothing(
    stack: Endpoints, private_stack: StackFactory, namespace: str, rounds: int
) -> None:
    servers = private_stack(registry=False)
    assert servers.clickhouse is not None
    settings = await new_platform(
        replace(servers.endpoints, registry_url=stack.registry_url),
        namespace,
        sink_interval_ms=50,
        sink_flush_rows=300,
    )
    dice = random.Random(8)
    database = Database(settings)
    records = Traffic(sessions=40)
    sink = SinkProcess(settings)
    async with connect(settings) as bus:
        await sink.start()
        await until(sink.is_ready, "ready")
        try:
            for number in range(rounds):
                size = dice.randrange(1500, 3000)
                stored = await database.value("SELECT count() FROM ocpp_transactions") or 0
                writing = asyncio.create_task(records.write(bus, size))
                goal = stored + dice.randrange(1, size // 2)
                await until_rows(database, goal, writing)
                await asyncio.to_thread(servers.clickhouse.kill)
                await writing
                await until(lambda: opposite(sink.is_ready()), "not ready without ClickHouse")
                assert await sink.is_live()
                if number % 2:  # at first the sink lives on
                    await sink.end(signal.SIGKILL)
                    await sink.start()
                await asyncio.to_thread(servers.clickhouse.start)
                await all_stored(bus, database)
                await until(sink.is_ready, "ready again")
            await records.check(database)
        finally:
            await sink.end(signal.SIGKILL)


async def test_derived_tables_can_be_filled_again(settings: SinkSettings) -> None:
    database = Database(settings)
    records = Traffic(sessions=5)
    async with connect(settings) as bus:
        async with sink_task(settings):
            await records.write(bus, 100)
            await all_stored(bus, database)
        before = await database.rows("SELECT * FROM sessions ORDER BY session_id")
        client = ClickHouseClient(settings)
        await asyncio.to_thread(rebuild, client, ("sessions_latest", "sessions_by_start"))
        assert await database.rows("SELECT * FROM sessions ORDER BY session_id") == before
        assert len(before) == 5


async def test_the_queries_of_the_analysts_guide_run(settings: SinkSettings) -> None:
    queries = re.findall(r"```sql\n(.*?)```", (ROOT.parent / "docs" / "analysts.md").read_text(), re.DOTALL)
    assert len(queries) > 10
    async with connect(settings) as bus, sink_task(settings):
        for topic, record in examples():
            await send(bus, topic, [record])
        await all_stored(bus, Database(settings))
        for query in queries:
            await Database(settings).rows(query)


async def test_a_topic_made_anew_stops_the_sink_until_its_rows_are_forgotten(settings: SinkSettings) -> None:
    database = Database(settings)
    async with connect(settings) as bus, sink_task(settings):
        await send(bus, "load.plans", [plan()])
        await all_stored(bus, database)
    await delete_topics(settings, ["load.plans"])
    await until(lambda: made_again(settings), "topic made again")
    with pytest.raises(LogShorterError, match=r"load\.plans"):
        await run(settings, Health(), asyncio.Event())
    await asyncio.to_thread(forget_topic, ClickHouseClient(settings), "load.plans")
    async with connect(settings) as bus, sink_task(settings):
        await send(bus, "load.plans", [plan()])
        await all_stored(bus, database)
        assert await database.value("SELECT count() FROM load_plans") == 1


class Traffic:
    """Sessions of a few stations, written in portions; knows what must have been stored."""

    def __init__(self, sessions: int) -> None:
        self._sessions = sessions
        self._number = itertools.count()
        self._energy: dict[str, int] = {}
        self.calls = 0

    async def write(self, bus: Bus, calls: int) -> None:
        """Calls of chargers, and with each tenth the news of a session."""
        news: list[Record] = []
        exchanges: list[Record] = []
        for _ in range(calls):
            number = next(self._number)
            exchanges.append(call(number))
            if number % 10 == 0:
                news.append(self._news(number // 10))
        self.calls += calls
        await asyncio.gather(send(bus, "ocpp.transactions", exchanges), send(bus, "sessions.events", news))

    def _news(self, number: int) -> Record:
        index = number % self._sessions
        turn = number // self._sessions
        session = f"session-{index}"
        base: dict[str, Any] = {
            "event_id": derive_id(session, str(turn)), "occurred_at": START + number,
            "recorded_at": START + number, "cause_id": "c", "station_id": f"cp{index % 7}",
            "session_id": session, "evse_id": 1, "transaction_id": str(index), "site_id": f"site{index % 2}",
        }  # fmt: skip
        if turn == 0:
            self._energy[session] = 0
            return SessionStarted(**base, version="ocpp1.6", started_at=START + index, meter_start_wh=0)
        if turn < 5:
            self._energy[session] = turn * 1000 + index
            return SessionUpdated(**base, energy_wh=turn * 1000 + index)
        self._energy[session] = 9000 + index
        return SessionEnded(
            **base,
            started_at=START + index,
            ended_at=START + number,
            energy_wh=9000 + index,
            meter_start_wh=0,
        )

    async def check(self, database: Database) -> None:
        """Rows, not only visible ones, are as many as the records; derived tables agree with the log."""
        assert await database.rows(
            "SELECT count() AS n, uniqExact(message_id) AS u FROM ocpp_transactions FINAL"
        ) == [{"n": self.calls, "u": self.calls}]
        assert await database.value("SELECT count() FROM raw_messages") == self.calls
        energies = await database.rows("SELECT session_id, energy_wh, started_at FROM sessions")
        assert {row["session_id"]: row["energy_wh"] for row in energies} == self._energy
        assert all(plain(row["started_at"]) >= START for row in energies)
        assert await database.value("SELECT sum(energy_wh) FROM energy_by_site_day") == sum(
            self._energy.values()
        )
        newest = await database.rows("SELECT session_id FROM recent_sessions(before = now64(6), rows = 3)")
        count = len(self._energy)
        assert [row["session_id"] for row in newest] == [f"session-{count - 1 - i}" for i in range(3)]


def call(number: int) -> OcppCallReceived:
    return OcppCallReceived(
        event_id=derive_id("call", str(number)), occurred_at=START + number, recorded_at=START + number,
        cause_id="c", station_id=f"cp{number % 7}", connection_epoch=1, edge_id="edge-0", version="ocpp1.6",
        message_id=str(number), action="MeterValues", payload='{"connectorId":1}', answer="{}",
    )  # fmt: skip


def plan() -> Record:
    return next(record for topic, record in examples() if topic == "load.plans")


async def send(bus: Bus, topic: str, records: list[Any]) -> None:
    producer = Producer(bus, "test")
    await producer.start()
    futures = [await producer.send(topic, getattr(r, "station_id", "key"), r) for r in records]
    await asyncio.gather(*futures)
    await producer.stop()


async def log_counts(bus: Bus) -> dict[tuple[str, int], int]:
    """Committed records of every partition that the sink reads, counted by reading them all."""
    consumer = AIOKafkaConsumer(
        **connection(bus.settings), auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        names = {bus.settings.topic(name) for name, _ in contract_topics(bus.contract)}
        names -= {bus.settings.topic(name) for name in UNSTORED}
        topics = [topic for topic in wanted_topics(bus.settings, bus.contract) if topic.name in names]
        partitions = [TopicPartition(t.name, p) for t in topics for p in range(t.num_partitions)]
        consumer.assign(partitions)
        ends = {tp: end for tp, end in (await consumer.end_offsets(partitions)).items() if end}
        counts: dict[tuple[str, int], int] = {}
        while [tp for tp, end in ends.items() if await consumer.position(tp) < end]:
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                place = (bus.settings.logical(tp.topic), tp.partition)
                counts[place] = counts.get(place, 0) + len(records)
        return counts
    finally:
        await consumer.stop()


async def all_stored(bus: Bus, database: Database) -> None:
    """Wait until every partition of the log has as many rows, and no offset twice."""
    places = "SELECT _topic AS t, _partition AS p, count() AS n, uniqExact(_offset) AS u FROM {} FINAL GROUP BY t, p"
    union = " UNION ALL ".join(places.format(table) for table in LAYOUTS)

    async def agree() -> bool:
        try:
            rows = await database.rows(union)
        except ClickHouseError:
            return False
        assert [row for row in rows if row["n"] != row["u"]] == []
        return {(row["t"], row["p"]): row["n"] for row in rows} == await log_counts(bus)

    # Each look reads the whole log and asks every table.
    await until(agree, "rows of every partition as in the log")


async def until_rows(database: Database, goal: int, writing: asyncio.Task[None]) -> None:
    async def reached() -> bool:
        if writing.done():
            writing.result()
        return await at_least(database, "SELECT count() FROM ocpp_transactions", goal)

    await until(reached, f"{goal} rows")


async def is_value(database: Database, sql: str, wanted: int) -> bool:
    return bool(await database.value(sql) == wanted)


async def at_least(database: Database, sql: str, wanted: int) -> bool:
    return bool((await database.value(sql) or 0) >= wanted)


async def opposite(fact: Any) -> bool:
    return not await fact


async def made_again(settings: SinkSettings) -> bool:
    """Kafka deletes in the background: the contract is applied once the name is free."""
    return "load.plans" in {settings.logical(name) for name in (await apply_contract(settings)).created}


async def test_what_compresses_well_does_not_get_past_the_bound_of_memory(
    stack: Endpoints, namespace: str
) -> None:
    """Two hundred megabytes of one letter are less than two in Kafka, and are read in one fetch."""
    bounds = {"sink_buffer_bytes": 16 << 20, "sink_interval_ms": 500}
    settings = await new_platform(stack, namespace, **bounds)
    database, process = Database(settings), SinkProcess(settings)
    topic, records = "ocpp.transactions", 800
    async with connect(settings) as bus:
        producer = AIOKafkaProducer(
            **connection(settings), compression_type="lz4", max_batch_size=1 << 20, max_request_size=4 << 20
        )
        await producer.start()
        call = next(record for _, record in examples() if isinstance(record, OcppCallReceived))
        value = bus.codec.encode(topic, msgspec.structs.replace(call, payload="x" * 250_000))
        try:
            await process.start()
            await until(process.is_ready, "the sink is ready")
            before = process.most_memory_kib()
            futures = [await producer.send(settings.topic(topic), value, b"cp1") for _ in range(records)]
            await asyncio.gather(*futures)

            async def stored() -> bool:
                return bool(await database.value(f"SELECT count() FROM {table_name(topic)}") == records)

            await until(stored, "all is stored")
            assert process.most_memory_kib() - before < 150 << 10
        finally:
            await producer.stop()
            await process.end()
            await database.drop()
            await drop_topics(settings)
