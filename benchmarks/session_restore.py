"""How long the sessions processor takes until it is ready again, and how much memory it then has.

A station has one session under way and had ten that are over, of which its state keeps what it keeps in service. Such
states, made by the fold itself, are written to `state.sessions` for as many stations as there are to be sessions under
way: each twice, as a log looks of which the cleaner left the last half alone. Then the processor is started on it, in
one process on one core, with the twelve partitions of the contract.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from benchmarks.edge_rig import resident_bytes
from benchmarks.processors import fresh
from benchmarks.session_traffic import MESSAGES, METER_VALUES, registry, station_name, traffic
from libs.bus import metrics
from libs.bus.admin import apply_contract, delete_topics
from libs.bus.bus import connect, contract_topics
from libs.bus.connection import connection
from libs.bus.encoding import EncodedRecord
from libs.bus.record_writer import RecordWriter
from libs.bus.runtime_memory import MemoryRuntime
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.bus.schemas import SCHEMAS_TOPIC
from libs.bus.settings import BusSettings
from libs.bus.state_codec import StateCodec
from libs.bus.states import changelog_record
from libs.devstack import Endpoints
from libs.events.contract import Contract, load_contract
from libs.runtime.clock import now_us
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.station import StationSessions

PAST = 10
"""Sessions of a station that are over, for each that is under way."""
TEMPLATES = 200
"""Stations whose sessions are really folded; the others repeat them, too far apart for compression to notice."""
STATE = "state.sessions"
PARTITIONS = 12
WRITTEN_AT_ONCE = 5_000
_TOPICS = {*SessionsProcessor.inputs, *SessionsProcessor.outputs, *SessionsProcessor.tables, STATE}
CONTRACT = Contract({name: load_contract().topics[name] for name in _TOPICS}, load_contract().schemas)


def templates() -> list[StationSessions]:
    """States of stations in the middle of their eleventh session."""
    processor = SessionsProcessor()
    runtime = MemoryRuntime(processor)
    for topic, key, record in registry(TEMPLATES):
        runtime.tables[topic][key] = record
    steps = PAST * MESSAGES + METER_VALUES // 2 + 1
    for exchange in traffic(TEMPLATES, TEMPLATES * steps, now_us()):
        runtime.feed(processor.inputs[0], exchange.station_id, exchange)
    states = [runtime.state_of(station_name(number)) for number in range(TEMPLATES)]
    return [state for state in states if state is not None]


async def fill(settings: BusSettings, stations: int) -> dict[str, float]:
    """Write the states; returns what of them is in it."""
    made = templates()
    shape = StateCodec(SessionsProcessor()).shape
    kept = sum(len(state.closed) for state in made) / len(made)
    size = 0
    producer = AIOKafkaProducer(
        **connection(settings), acks="all", max_batch_size=1 << 20, max_request_size=4 << 20,
        compression_type=settings.compression,
    )  # fmt: skip
    await producer.start()
    writer = RecordWriter(producer)
    for begin in (*range(0, stations, WRITTEN_AT_ONCE), *range(0, stations, WRITTEN_AT_ONCE)):
        records: list[EncodedRecord] = []
        for number in range(begin, min(begin + WRITTEN_AT_ONCE, stations)):
            name = f"restored-{number:07}"
            state = msgspec.structs.replace(made[number % len(made)], station_id=name)
            value = msgspec.msgpack.encode(state)
            size += len(value)
            records.append(
                changelog_record(settings.topic(STATE), name, value, None, due=state.due_at, shape=shape)
            )
        await asyncio.gather(*await writer.send(records))
    await producer.stop()
    return {"closed": kept, "bytes": size / stations / 2}


async def member(settings: BusSettings) -> None:
    """Starts the processor; prints seconds, CPU seconds and memory from its beginning until it is ready."""
    async with connect(settings, CONTRACT) as bus:
        runtime = TransactionalRuntime(bus, SessionsProcessor())
        stop = asyncio.Event()
        empty, start, cpu = resident_bytes(os.getpid()), time.perf_counter(), time.process_time()
        running = asyncio.create_task(runtime.run(stop))
        while not runtime.ready and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        found = {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "empty": empty,
            "resident": resident_bytes(os.getpid()),
            "peak": _peak_bytes(),
            "keys": sum(
                metrics.STATE_KEYS.labels(SessionsProcessor.name, n)._value.get() for n in range(PARTITIONS)
            ),
        }
        stop.set()
        await running
        print(json.dumps(found), flush=True)


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def restore(endpoints: Endpoints, stations: int) -> None:
    settings = fresh(endpoints, PARTITIONS)
    await apply_contract(settings, CONTRACT)
    print(f"writing {stations:,} states twice", flush=True)
    written = await fill(settings, stations)
    command = [sys.executable, "-m", "benchmarks.sessions", "--member", "restore"]
    result = await asyncio.to_thread(
        subprocess.run, command, env=os.environ | {"BENCHMARK_BUS": settings.model_dump_json()},
        check=True, stdout=subprocess.PIPE, timeout=900,
    )  # fmt: skip
    topics = [name for name, _ in contract_topics(CONTRACT)] + [STATE, SCHEMAS_TOPIC]
    await delete_topics(settings, topics)
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["keys"] == stations, found
    grown, scale = found["resident"] - found["empty"], 1_000_000 / stations
    print("| | sessions under way | closed | of these kept | until ready | CPU | memory | at most |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, times in (("measured", 1.0), ("extrapolated", scale)):
        count = stations * times
        print(
            f"| {name} | {count:,.0f} | {count * PAST:,.0f} | {count * written['closed']:,.0f} "
            f"| {found['seconds'] * times:,.1f} s | {found['cpu'] * times:,.1f} s "
            f"| {(found['empty'] + grown * times) / 2**20:,.0f} MiB "
            f"| {(found['empty'] + (found['peak'] - found['empty']) * times) / 2**20:,.0f} MiB |"
        )
    print(
        f"a state has {written['bytes']:,.0f} bytes; the process has {found['empty'] / 2**20:.0f} MiB without"
    )
