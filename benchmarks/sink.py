"""Sink: rows per second on one core, from Kafka to ClickHouse.

`python -m benchmarks.sink [--records N]`: servers of its own, `ocpp.transactions` records (a MeterValues call with
its answer) written beforehand. Each contender reads all of them; the contender has one core, the servers the other.
Beside the sink, in the same run: the loop that one would write first (decode a record, insert its row in batches of a
thousand, row-wise), and ClickHouse's own Kafka engine reading Avro with the registry (at least once, nothing
dead-lettered, no tombstones). The engine cannot read our topics: where the schema is a union of the topic's records, it
says "Root schema must be a record". It gets a copy of the topic whose schema is that of the one record.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from clickhouse_driver import Client
from rich.console import Console
from rich.table import Table

from libs.bus.admin import apply_contract, topics_known
from libs.bus.bus import connect
from libs.bus.connection import connection
from libs.bus.producer import Producer
from libs.bus.schemas import SchemaRegistry
from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.clickhouse.migrate import migrate
from libs.devstack import Endpoints, ProcessStack
from libs.events.codec import HEADER_BYTES, MAGIC
from libs.events.contract import load_contract
from libs.events.ids import derive_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import ENVELOPE
from libs.events.topics import OCPP_TRANSACTIONS
from services.sink.settings import SinkSettings

TABLE = "ocpp_transactions"

COPY = "benchmark.calls"
"""The records of `ocpp.transactions` for the Kafka engine."""
ENGINE = "ClickHouse's Kafka engine, from a copy without the union"
PAYLOAD = (
    '{"connectorId":1,"transactionId":1337,"meterValue":[{"timestamp":"2026-11-02T08:15:00Z","sampledValue":['
    '{"value":"%d","measurand":"Energy.Active.Import.Register","unit":"Wh","context":"Sample.Periodic"},'
    '{"value":"10877.4","measurand":"Power.Active.Import","unit":"W"},'
    '{"value":"15.8","measurand":"Current.Import","phase":"L1","unit":"A"}]}]}'
)


@dataclass(frozen=True)
class Result:
    name: str
    rows: int
    seconds: float
    own_cpu: float
    clickhouse_cpu: float


def settings_for(servers: Endpoints, database: str) -> SinkSettings:
    return SinkSettings(
        kafka=servers.bootstrap,
        registry_url=servers.registry_url,
        clickhouse_host=servers.clickhouse_host,
        clickhouse_port=servers.clickhouse_port,
        clickhouse_database=database,
    )


async def make_copy_topic(settings: SinkSettings) -> None:
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    partitions = load_contract().topics[OCPP_TRANSACTIONS].partitions
    await admin.create_topics([NewTopic(COPY, num_partitions=partitions, replication_factor=1)])
    await topics_known(admin, {COPY: partitions})
    await admin.close()


async def write_log(settings: SinkSettings, records: int) -> None:
    await apply_contract(settings)
    await make_copy_topic(settings)
    async with connect(settings) as bus, SchemaRegistry(settings) as registry:
        schema = bus.contract.schemas[OcppCallReceived.__name__]
        copied = await registry.register(f"{COPY}-value", schema)
        prefix = MAGIC + copied.schema_id.to_bytes(4, "big")
        producer = Producer(bus, "benchmark")
        await producer.start()
        copying = AIOKafkaProducer(
            **connection(settings), compression_type=settings.compression, linger_ms=50
        )
        await copying.start()
        for number in range(records):
            record = OcppCallReceived(
                event_id=derive_id("benchmark", str(number)), cause_id=derive_id("benchmark", str(number)),
                occurred_at=1_750_000_000_000_000 + number, recorded_at=1_750_000_000_000_000 + number,
                station_id=f"station-{number % 500}", connection_epoch=1, edge_id="edge-0", version="ocpp1.6",
                message_id=derive_id("message", str(number)), action="MeterValues",
                payload=PAYLOAD % number, answer="{}",
            )  # fmt: skip
            await producer.send(OCPP_TRANSACTIONS, record.station_id, record)
            # Behind the header comes the branch of the union.
            body = bus.codec.encode(OCPP_TRANSACTIONS, record)[HEADER_BYTES + 1 :]
            await copying.send(COPY, prefix + body, record.station_id.encode())
        await copying.stop()
        await producer.stop()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin(pid: int, core: int) -> None:
    if (os.cpu_count() or 1) > 1:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def count(client: ClickHouseClient) -> int:
    try:
        return int(client.rows(f"SELECT count() AS n FROM {TABLE}")[0]["n"])
    except ClickHouseError:
        return 0


def measure(
    name: str,
    settings: SinkSettings,
    records: int,
    clickhouse_pid: int,
    start: Callable[[], subprocess.Popen[bytes]],
) -> Result:
    """Time from the first row to the last; what has been stored until the clock starts does not count."""
    client = ClickHouseClient(settings)
    process = start()
    try:
        while not (first := count(client)):
            time.sleep(0.01)
            if process.poll() is not None:
                raise SystemExit(f"{name} ended with {process.returncode}")
        began, own, server = time.perf_counter(), cpu_seconds(process.pid), cpu_seconds(clickhouse_pid)
        while (stored := count(client)) < records:
            time.sleep(0.05)
            if time.perf_counter() - began > 300:
                raise SystemExit(f"{name}: {stored} of {records} rows after 300 s")
        seconds = time.perf_counter() - began
        return Result(
            name,
            records - first,
            seconds,
            cpu_seconds(process.pid) - own,
            cpu_seconds(clickhouse_pid) - server,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        client.close()


def run_sink(settings: SinkSettings) -> subprocess.Popen[bytes]:
    values = settings.model_dump(exclude_none=True, exclude={"clickhouse_password"})
    environment = {f"VOLTBUS_{name.upper()}": str(value) for name, value in values.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.sink"],
        env=os.environ | environment | {"VOLTBUS_LOG_LEVEL": "WARNING"},
    )
    pin(process.pid, 0)
    return process


def run_loop(settings: SinkSettings) -> subprocess.Popen[bytes]:
    migrate(settings)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks.sink",
            "--loop",
            settings.model_dump_json(exclude={"clickhouse_password"}),
        ]
    )
    pin(process.pid, 0)
    return process


async def simple_loop(settings: SinkSettings) -> None:
    """A consumer, a record object each, rows in batches of a thousand, offsets committed now and then."""
    async with connect(settings) as bus:
        consumer = AIOKafkaConsumer(
            settings.topic(OCPP_TRANSACTIONS), **connection(settings), group_id="benchmark-loop",
            auto_offset_reset="earliest", isolation_level="read_committed",
        )  # fmt: skip
        await consumer.start()
        client = Client(
            settings.clickhouse_host, port=settings.clickhouse_port, database=settings.clickhouse_database,
            compression="lz4",
        )  # fmt: skip
        names = [
            *ENVELOPE,
            "station_id",
            "connection_epoch",
            "edge_id",
            "version",
            "message_id",
            "action",
            "payload",
            "answer",
            "quirks",
            "pending",
        ]
        sql = f"INSERT INTO {TABLE} (_partition, _offset, _key, {', '.join(names)}) VALUES"
        rows: list[tuple[object, ...]] = []
        async for message in consumer:
            record = await bus.decode(message.value)
            fields = msgspec.structs.asdict(record)
            rows.append((message.partition, message.offset, message.key, *(fields[name] for name in names)))
            if len(rows) == 1000:
                client.execute(sql, rows, settings={"async_insert": 0})
                rows.clear()


def kafka_engine(settings: SinkSettings, records: int, clickhouse_pid: int) -> Result:
    """ClickHouse reads the topic itself; its CPU is all there is."""
    migrate(settings)
    client = ClickHouseClient(settings)
    fields = (
        "event_id String, station_id String, occurred_at Int64, recorded_at Int64, cause_id String,"
        " connection_epoch Int64, edge_id String, version String, message_id String, action String,"
        " payload String, answer Nullable(String), quirks Array(String), pending Bool"
    )
    client.execute(
        f"CREATE TABLE log ({fields}) ENGINE = Kafka SETTINGS kafka_broker_list = '{settings.kafka}',"
        f" kafka_topic_list = '{COPY}', kafka_group_name = 'benchmark-engine',"
        " kafka_format = 'AvroConfluent', kafka_max_block_size = 20000,"
        f" format_avro_schema_registry_url = '{settings.registry_url}'"
    )
    began, server = time.perf_counter(), cpu_seconds(clickhouse_pid)
    client.execute(
        f"CREATE MATERIALIZED VIEW log_mv TO {TABLE} AS SELECT '{OCPP_TRANSACTIONS}' AS _topic,"
        " log._partition AS _partition, log._offset AS _offset, log._key AS _key, event_id, station_id,"
        " fromUnixTimestamp64Micro(log.occurred_at, 'UTC') AS occurred_at,"
        " fromUnixTimestamp64Micro(log.recorded_at, 'UTC') AS recorded_at, cause_id,"
        " connection_epoch, edge_id, version, message_id, action, payload, answer, quirks, pending FROM log"
    )
    first, stored = 0, 0
    while stored < records:
        time.sleep(0.05)
        stored = count(client)
        if stored and not first:
            first, began, server = stored, time.perf_counter(), cpu_seconds(clickhouse_pid)
        if time.perf_counter() - began > 120:
            break
    seconds = time.perf_counter() - began
    result = Result(ENGINE, stored - first, seconds, 0.0, cpu_seconds(clickhouse_pid) - server)
    client.execute("DROP TABLE log_mv")
    client.execute("DROP TABLE log")
    client.close()
    return result


def show(results: list[Result]) -> None:
    table = Table(title="Kafka to ClickHouse, one core for the contender")
    for heading in ("contender", "rows", "rows/s", "own CPU µs/row", "ClickHouse CPU µs/row", "together"):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for r in results:
        if not r.rows:
            table.add_row(r.name, "0", *["nothing stored"] * 4)
            continue
        table.add_row(
            r.name, f"{r.rows:,}", f"{r.rows / r.seconds:,.0f}", f"{r.own_cpu / r.rows * 1e6:.1f}",
            f"{r.clickhouse_cpu / r.rows * 1e6:.1f}", f"{(r.own_cpu + r.clickhouse_cpu) / r.rows * 1e6:.1f}",
        )  # fmt: skip
    Console(width=110).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        asyncio.run(simple_loop(SinkSettings.model_validate_json(arguments.loop)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        stack = ProcessStack(Path(folder), long_running=True)
        servers = stack.start(print)
        try:
            print(f"writing {arguments.records:,} records", flush=True)
            asyncio.run(write_log(settings_for(servers, "voltbus"), arguments.records))
            assert stack.clickhouse is not None
            for part in stack.parts:
                pin(part.pid, 1)
            pid = stack.clickhouse.pid
            sink, loop, engine = (settings_for(servers, name) for name in ("sink", "loop", "engine"))
            results = [
                measure("sink", sink, arguments.records, pid, lambda: run_sink(sink)),
                measure("decode and insert row by row", loop, arguments.records // 4 // 1000 * 1000, pid,
                        lambda: run_loop(loop)),
                kafka_engine(engine, arguments.records, pid),
            ]  # fmt: skip
            show(results)
        finally:
            stack.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
