"""The sessions processor on one core: `python -m benchmarks.sessions [throughput|restore] [--events N] [--tenth N]`.

`throughput`: a backlog of charging sessions (`session_traffic`), priced by a tariff with time of use and tax, is worked
off three times, by one process each: by the service's own runtime, every step exactly once; by the same processor in
a Faust agent with a Table, as one writes it (at least once); and by the same processor on the platform's runtime on
Faust, which counts nothing twice. `restore`: see `session_restore`. Uses the stack that `VOLTBUS_TEST_STACK` names, or
starts one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import faust
import msgspec
import uvloop

from benchmarks import session_restore
from benchmarks.processors import fresh, servers
from benchmarks.session_traffic import registry, traffic
from libs.bus import metrics
from libs.bus.admin import apply_contract, delete_topics
from libs.bus.bus import Bus, connect, contract_topics
from libs.bus.message import Message
from libs.bus.processor import advance
from libs.bus.producer import Producer
from libs.bus.runtime_faust import FaustRuntime
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.bus.schemas import SCHEMAS_TOPIC
from libs.bus.settings import BusSettings
from libs.bus.tables import TableSet
from libs.devstack import Endpoints
from libs.events.contract import Contract, load_contract
from libs.runtime.clock import now_us
from libs.runtime.service import tune_gc
from services.sessions.domain.processor import SessionsProcessor
from services.sessions.domain.station import StationSessions

STATIONS = 2_000
PARTITIONS = 4
CONTENDERS = {
    "transactional": "transactional runtime, exactly once",
    "agent": "Faust agent with a Table, at least once",
    "faust": "our runtime on Faust, at least once, nothing counted twice",
}
SLOWER = 8
"""How many times fewer events those on Faust get."""
_TOPICS = {
    *SessionsProcessor.inputs, *SessionsProcessor.outputs, *SessionsProcessor.tables, "state.sessions"
}  # fmt: skip
CONTRACT = Contract({name: load_contract().topics[name] for name in _TOPICS}, load_contract().schemas)
INPUT = SessionsProcessor.inputs[0]


class Agent:
    """The same fold as one writes it with Faust: an agent on the topic, a Table of states, records sent one by one."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._processor = SessionsProcessor()
        self._tables = TableSet(bus, "agent", self._processor.tables)
        self.done = 0

    async def run(self, stop: asyncio.Event) -> None:
        settings = self._bus.settings
        app = faust.App(
            settings.group("sessions-agent"), broker=f"kafka://{settings.kafka}", store="memory://",
            value_serializer="raw", web_enabled=False, topic_allow_declare=False, topic_disable_leader=True,
            topic_partitions=PARTITIONS, consumer_auto_offset_reset="earliest", datadir=tempfile.mkdtemp(),
        )  # fmt: skip
        names = (*self._processor.inputs, *self._processor.outputs, self._processor.state_topic)
        raw = {
            name: app.topic(settings.topic(name), key_type=bytes, value_type=bytes, key_serializer="raw")
            for name in names
        }
        states = app.Table(
            "sessions", key_type=bytes, value_type=bytes, changelog_topic=raw[self._processor.state_topic]
        )

        async def fold(stream: Any) -> None:
            async for event in stream.events():
                await self._fold(event, states, raw)
                self.done += 1

        app.agent(raw[INPUT])(fold)
        async with self._tables:
            app.finalize()
            await app.start()
            await stop.wait()
            await app.stop()

    async def _fold(self, event: Any, states: Any, raw: dict[str, Any]) -> None:
        message, key = event.message, event.message.key
        record = await self._bus.decode(message.value)
        known = states.get(key)
        before = None if known is None else msgspec.msgpack.decode(known, type=StationSessions)
        place = INPUT, message.partition, message.offset, key.decode()
        folded = Message(*place, record, round(message.timestamp * 1e6))
        if self._processor.key(folded) is None:
            return
        step = advance(self._processor, before, folded, self._tables)
        for emit in step.out:
            assert emit.record is not None
            value = self._bus.codec.encode(emit.topic, emit.record)
            await raw[emit.topic].send(key=emit.key.encode(), value=value)
        if step.state is not before:
            states[key] = msgspec.msgpack.encode(step.state)


async def member(kind: str, events: int, settings: BusSettings) -> None:
    """A process that works off the backlog; prints seconds and CPU seconds from the first event to the last."""
    stop = asyncio.Event()
    tune_gc()
    async with connect(settings, CONTRACT) as bus:
        counter = metrics.PROCESSED.labels(SessionsProcessor.name)._value
        agent = Agent(bus)
        if kind == "agent":
            running = asyncio.create_task(agent.run(stop))
        else:
            make = TransactionalRuntime if kind == "transactional" else FaustRuntime
            running = asyncio.create_task(make(bus, SessionsProcessor()).run(stop))

        def done() -> int:
            return agent.done if kind == "agent" else int(counter.get())

        while not done() and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        start, cpu, first = time.perf_counter(), time.process_time(), done()
        while done() < events and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(json.dumps({"events": done() - first, "seconds": seconds, "cpu": cpu}), flush=True)
        stop.set()
        await running


async def fill(settings: BusSettings, events: int) -> None:
    async with connect(settings, CONTRACT) as bus:
        producer = Producer(bus, "benchmark")
        await producer.start()
        waiting = [await producer.send(topic, key, record) for topic, key, record in registry(STATIONS)]
        waiting += [
            await producer.send(INPUT, record.station_id, record)
            for record in traffic(STATIONS, events, now_us())
        ]
        await asyncio.gather(*waiting)
        await producer.stop()


async def drop(settings: BusSettings) -> None:
    await delete_topics(
        settings, [name for name, _ in contract_topics(CONTRACT)] + ["state.sessions", SCHEMAS_TOPIC]
    )


async def one(endpoints: Endpoints, kind: str, events: int) -> dict[str, float]:
    settings = fresh(endpoints, PARTITIONS)
    await apply_contract(settings, CONTRACT)
    await fill(settings, events)
    command = [sys.executable, "-m", "benchmarks.sessions", "--member", kind, "--events", str(events)]
    result = await asyncio.to_thread(
        subprocess.run, command, env=os.environ | {"BENCHMARK_BUS": settings.model_dump_json()},
        check=True, stdout=subprocess.PIPE, timeout=600,
    )  # fmt: skip
    await drop(settings)
    line: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return line


async def throughput(endpoints: Endpoints, events: int) -> None:
    found = {
        kind: await one(endpoints, kind, events if kind == "transactional" else events // SLOWER)
        for kind in CONTENDERS
    }
    best = found["transactional"]
    print("| the same fold on | events | events/s | CPU per event | CPU beside ours |\n|---|--:|--:|--:|--:|")
    for kind, line in found.items():
        each = line["cpu"] / line["events"] * 1e6
        times = each / (best["cpu"] / best["events"] * 1e6)
        print(
            f"| {CONTENDERS[kind]} | {line['events']:,.0f} | {line['events'] / line['seconds']:,.0f} "
            f"| {each:.0f} µs | {times:.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], "throughput", "restore"], default=[])
    parser.add_argument("--events", type=int, default=220_000)
    parser.add_argument("--tenth", type=int, default=100_000, help="open sessions to restore")
    parser.add_argument("--member", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.member:
        settings = BusSettings.model_validate_json(os.environ["BENCHMARK_BUS"])
        part = session_restore.member(settings) if given.member == "restore" else None
        uvloop.run(part or member(given.member, given.events, settings))
        return
    with servers() as endpoints:
        if "throughput" in given.parts or not given.parts:
            uvloop.run(throughput(endpoints, given.events))
        if "restore" in given.parts or not given.parts:
            uvloop.run(session_restore.restore(endpoints, given.tenth))


if __name__ == "__main__":
    main()
