"""The processor runtimes on one core: `python -m benchmarks.processors`.

The same processor (a JSON payload parsed, a count and a sum per charger, one record out per record in, Avro both
ways, state in its topic) works off the same backlog with either runtime, in a process of its own; then the
transactional runtime answers single messages on a quiet bus. Uses the stack that `VOLTBUS_TEST_STACK` names, or
starts one.
"""

import asyncio
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from libs.bus import metrics
from libs.bus.admin import apply_contract, delete_topics
from libs.bus.bus import Bus, connect, contract_topics
from libs.bus.message import Emit, Message
from libs.bus.processor import Processor, Step, Tables, Tick
from libs.bus.producer import Producer
from libs.bus.runtime_faust import FaustRuntime
from libs.bus.runtime_transactional import TransactionalRuntime
from libs.bus.schemas import SCHEMAS_TOPIC
from libs.bus.settings import BusSettings
from libs.devstack import Endpoints, open_stack
from libs.events.contract import Contract, load_contract
from libs.events.ids import derive_id, new_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.sessions import SessionUpdated
from libs.events.topics import OCPP_TRANSACTIONS, SESSIONS_EVENTS
from libs.runtime.clock import now_us
from libs.testing.tail import Tail

INPUT, OUTPUT, STATE = OCPP_TRANSACTIONS, SESSIONS_EVENTS, "state.sessions"
STATIONS = 2_000
EVENTS = {"transactional": 200_000, "faust": 20_000}
ROUND_TRIPS = 300
CONTRACT = Contract(
    {name: load_contract().topics[name] for name in (INPUT, OUTPUT, STATE)}, load_contract().schemas
)


class EnergyState(msgspec.Struct, frozen=True):
    count: int = 0
    energy_wh: int = 0


class Energy(Processor[EnergyState]):
    name = "energy"
    inputs = (INPUT,)
    outputs = (OUTPUT,)
    state = EnergyState

    @property
    def state_topic(self) -> str:
        return STATE

    def step(self, state: EnergyState | None, event: Message | Tick, tables: Tables) -> Step[EnergyState]:
        assert isinstance(event, Message)
        record = event.record
        assert isinstance(record, OcppCallReceived)
        sample = msgspec.json.decode(record.payload)["meterValue"][0]["sampledValue"][0]
        before = state or EnergyState()
        after = EnergyState(before.count + 1, before.energy_wh + int(sample["value"]))
        out = SessionUpdated(
            event_id=derive_id(record.event_id, "energy"), occurred_at=record.occurred_at,
            recorded_at=record.recorded_at, cause_id=record.event_id, station_id=event.key, session_id="s",
            evse_id=1, transaction_id="1", energy_wh=after.energy_wh, meter_wh=after.count,
        )  # fmt: skip
        return Step(after, (Emit(OUTPUT, event.key, out),))


def meter_values(station: str) -> OcppCallReceived:
    payload = {
        "connectorId": 1,
        "transactionId": 4711,
        "meterValue": [
            {
                "timestamp": "2026-03-01T12:00:00Z",
                "sampledValue": [
                    {"value": "7", "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
                    {"value": "16.0", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
                ],
            }
        ],
    }
    event_id, at = new_id(), now_us()
    return OcppCallReceived(
        event_id=event_id, occurred_at=at, recorded_at=at, cause_id=event_id, station_id=station,
        connection_epoch=1, edge_id="edge-0", version="1.6", message_id=event_id, action="MeterValues",
        payload=json.dumps(payload), answer="{}",
    )  # fmt: skip


def runtime(kind: str, bus: Bus) -> TransactionalRuntime[EnergyState] | FaustRuntime[EnergyState]:
    return (TransactionalRuntime if kind == "transactional" else FaustRuntime)(bus, Energy())


async def member(kind: str, settings: BusSettings) -> None:
    """A process that works off the backlog; prints seconds and CPU seconds from the first event to the last."""
    done = metrics.PROCESSED.labels(Energy.name)._value
    stop = asyncio.Event()
    async with connect(settings, CONTRACT) as bus:
        running = asyncio.create_task(runtime(kind, bus).run(stop))
        while not done.get():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        start, cpu, first = time.perf_counter(), time.process_time(), done.get()
        while done.get() < EVENTS[kind]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(json.dumps({"events": EVENTS[kind] - first, "seconds": seconds, "cpu": cpu}), flush=True)
        stop.set()
        await running


async def fill(settings: BusSettings, count: int) -> None:
    async with connect(settings, CONTRACT) as bus:
        producer = Producer(bus, "benchmark")
        await producer.start()
        futures = []
        for number in range(count):
            station = f"station-{number % STATIONS}"
            futures.append(await producer.send(INPUT, station, meter_values(station)))
        await asyncio.gather(*futures)
        await producer.stop()


async def throughput(kind: str, endpoints: Endpoints) -> dict[str, float]:
    settings = fresh(endpoints, 4)
    await apply_contract(settings, CONTRACT)
    await fill(settings, EVENTS[kind])
    command = [sys.executable, "-m", "benchmarks.processors", kind, settings.model_dump_json()]
    result = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=300)
    await drop(settings)
    line: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return line


async def latency(endpoints: Endpoints) -> list[float]:
    """Milliseconds from a message's acknowledgement to its output as a read-committed consumer gets it."""
    settings = fresh(endpoints, 4)
    await apply_contract(settings, CONTRACT)
    stop = asyncio.Event()
    found: list[float] = []
    async with connect(settings, CONTRACT) as bus:
        processing = runtime("transactional", bus)
        running = asyncio.create_task(processing.run(stop))
        producer = Producer(bus, "benchmark")
        await producer.start()
        while not processing.ready:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        async with Tail(bus, OUTPUT) as tail:
            messages = aiter(tail)
            for number in range(ROUND_TRIPS):
                station = f"station-{number % STATIONS}"
                waiting = asyncio.ensure_future(anext(messages))
                await producer.send_and_wait(INPUT, station, meter_values(station))
                start = time.perf_counter()
                await waiting
                found.append((time.perf_counter() - start) * 1000)
                await asyncio.sleep(0.02)
        stop.set()
        await running
        await producer.stop()
    await drop(settings)
    return found[20:]


def fresh(endpoints: Endpoints, partitions: int) -> BusSettings:
    return BusSettings(
        kafka=endpoints.bootstrap, registry_url=endpoints.registry_url,
        namespace=f"bench{secrets.token_hex(3)}", partitions=partitions,
    )  # fmt: skip


async def drop(settings: BusSettings) -> None:
    await delete_topics(settings, [name for name, _ in contract_topics(CONTRACT)] + [STATE, SCHEMAS_TOPIC])


@contextmanager
def servers() -> Iterator[Endpoints]:
    if running := os.environ.get("VOLTBUS_TEST_STACK"):
        yield Endpoints.load(Path(running))
        return
    with tempfile.TemporaryDirectory() as folder:
        stack = open_stack(Path(folder), clickhouse=False, long_running=True)
        try:
            yield stack.start(print)
        finally:
            stack.stop()


async def main(endpoints: Endpoints) -> None:
    rates = {kind: await throughput(kind, endpoints) for kind in EVENTS}
    print(f"{'runtime':<16}{'events':>10}{'events/s':>12}{'CPU µs/event':>15}")
    per_second = {kind: line["events"] / line["seconds"] for kind, line in rates.items()}
    cpu = {kind: line["cpu"] / line["events"] * 1e6 for kind, line in rates.items()}
    for kind, line in rates.items():
        print(f"{kind:<16}{line['events']:>10,.0f}{per_second[kind]:>12,.0f}{cpu[kind]:>15.1f}")
    print(f"ratio {per_second['transactional'] / per_second['faust']:.1f} in events/s, ", end="")
    print(f"{cpu['faust'] / cpu['transactional']:.1f} in CPU")
    times = sorted(await latency(endpoints))
    p95 = times[int(len(times) * 0.95)]
    print(f"added latency on a quiet bus: p50 {statistics.median(times):.1f} ms, p95 {p95:.1f} ms")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        uvloop.run(member(sys.argv[1], BusSettings.model_validate_json(sys.argv[2])))
    else:
        with servers() as reached:
            uvloop.run(main(reached))
