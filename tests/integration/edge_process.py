"""Edge processes under test, chargers that talk to them frame by frame, and the log that they wrote."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from libs.bus import bus as libs_bus
from libs.bus.producer import Producer
from libs.bus.settings import BusSettings
from libs.devstack.endpoints import free_ports
from libs.devstack.process import answers_ok
from libs.events.ids import new_id
from libs.events.ocpp_log import ConnectionClosed as ClosedRecord
from libs.events.ocpp_log import FrameRejected, OcppCallReceived, StationLocated
from libs.events.record import Record
from libs.runtime.clock import now_us
from libs.testing.tail import Tail
from tests.integration.children import environment, python, text_at
from tests.patience import WAIT_S, until

TOPICS = (
    "ocpp.transactions",
    "ocpp.lifecycle",
    "ocpp.commands",
    "ocpp.rejected",
    "edge.connections",
)


class EdgeProcess:
    """One `python -m services.edge`."""

    def __init__(self, bus: BusSettings, slot: int = 0, **settings: object) -> None:
        self._http, port = free_ports(2)
        given = (
            bus.model_dump(include=set(BusSettings.model_fields))
            | {
                "http_port": self._http,
                "edge_port": port,
                "edge_id": f"edge-{slot}",
                "slot": slot,
                "transaction_key": "only for these tests",
                "unknown_stations": "accept",
                "unknown_tokens": "accept",
                "least_security_profile": 0,
                "log_level": "WARNING",
                "drain_s": 5,
            }
            | settings
        )
        self.port = int(str(given["edge_port"]))
        self._environment = environment(given)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        self._process = subprocess.Popen(python("-m", "services.edge"), env=self._environment)

    def is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the edge ended with status {self._process.returncode}"
        return answers_ok(f"http://127.0.0.1:{self._http}/health/ready")

    def metrics(self) -> str:
        return text_at(f"http://127.0.0.1:{self._http}/metrics")

    def children(self) -> list[int]:
        """Processes that this one started."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def signal_child(self, pid: int, signum: signal.Signals) -> None:
        assert pid in self.children()
        os.kill(pid, signum)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def status(self) -> int | None:
        assert self._process is not None
        return self._process.poll()

    async def start(self) -> Self:
        self.launch()
        await until(self.is_ready, "the edge is ready")
        return self

    async def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, WAIT_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise


@asynccontextmanager
async def edge(bus: BusSettings, slot: int = 0, **settings: object) -> AsyncIterator[EdgeProcess]:
    process = EdgeProcess(bus, slot, **settings)
    try:
        yield await process.start()
    finally:
        await process.stop()


class Charger:
    """A raw OCPP-J client: frames out, frames in."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._ids = count(1)
        self._stem = new_id()[:8]
        self.answered: dict[str, Any] = {}

    def next_id(self) -> str:
        return f"{self._stem}-{next(self._ids)}"

    async def send(self, frame: object) -> None:
        await self.socket.send(frame if isinstance(frame, str | bytes) else orjson.dumps(frame).decode())

    async def receive(self, timeout_s: float = WAIT_S) -> list[Any]:
        async with asyncio.timeout(timeout_s):
            frame: list[Any] = orjson.loads(await self.socket.recv())
            return frame

    async def call(self, action: str, payload: dict[str, Any], message_id: str | None = None) -> Any:
        """The answer's payload, or the whole frame of a CALLERROR."""
        message_id = message_id or self.next_id()
        await self.send([2, message_id, action, payload])
        frame = await self.receive()
        assert frame[1] == message_id, frame
        self.answered[message_id] = frame[2] if frame[0] == 3 else frame
        return self.answered[message_id]

    async def closed(self, timeout_s: float = WAIT_S) -> int:
        """Wait for the close, and return its code."""
        async with asyncio.timeout(timeout_s):
            await self.socket.wait_closed()
        return self.socket.close_code or 0


@asynccontextmanager
async def charger(
    edge: EdgeProcess, station: str, version: str = "ocpp1.6", **options: Any
) -> AsyncIterator[Charger]:
    async with connect(
        f"ws://127.0.0.1:{edge.port}/ocpp/{station}",
        subprotocols=[Subprotocol(version)],
        ping_interval=None,
        close_timeout=1,
        proxy=None,
        **{"open_timeout": WAIT_S, **options},
    ) as socket:
        yield Charger(socket)


class Log:
    """Everything in the topics that edges write, as it grows; and the means to write to others."""

    def __init__(self, bus: libs_bus.Bus, producer: Producer) -> None:
        self._bus = bus
        self._producer = producer
        self.records: dict[str, list[Record]] = defaultdict(list)

    async def publish(
        self, topic: str, key: str, record: Record | None, partition: int | None = None
    ) -> None:
        await self._producer.send_and_wait(topic, key, record, partition=partition)

    def of(self, topic: str, kind: type[Any], station: str | None = None) -> list[Any]:
        return [
            record
            for record in self.records[topic]
            if isinstance(record, kind) and station in (None, getattr(record, "station_id", None))
        ]

    def duplicates(self, stations: Collection[str], *, elsewhere_than: str = "") -> list[str]:
        """Ids that more than one record of these stations has, in topics other than `elsewhere_than`."""
        ids = Counter(
            record.event_id
            for topic, records in self.records.items()
            if topic != elsewhere_than
            for record in records
            if getattr(record, "station_id", None) in stations
        )
        return [event_id for event_id, times in ids.items() if times > 1]

    async def follow(self, topic: str) -> None:
        async with Tail(self._bus, topic, start="beginning") as tail:
            async for message in tail:
                if message.record is not None:
                    self.records[topic].append(message.record)


@asynccontextmanager
async def open_log(settings: BusSettings) -> AsyncIterator[Log]:
    async with libs_bus.connect(settings) as bus:
        producer = Producer(bus, "test")
        await producer.start()
        log = Log(bus, producer)
        tasks = [asyncio.create_task(log.follow(topic)) for topic in TOPICS]
        try:
            yield log
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await producer.stop()


def stamp(at_us: int | None = None) -> str:
    at = time.gmtime((at_us or now_us()) / 1e6)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", at)


BOOT_16 = {"chargePointVendor": "Voltbus", "chargePointModel": "T1"}
BOOT_2 = {"reason": "PowerUp", "chargingStation": {"vendorName": "Voltbus", "model": "T2"}}


def calls(log: Log, station_id: str) -> list[OcppCallReceived]:
    return [
        *log.of("ocpp.lifecycle", OcppCallReceived, station_id),
        *log.of("ocpp.transactions", OcppCallReceived, station_id),
    ]


async def logged_as_answered(log: Log, station_id: str, answered: dict[str, Any]) -> None:
    """Every answer that the charger saw is in the log exactly once, as it was given."""
    results = {m: a for m, a in answered.items() if not isinstance(a, list)}
    errors = answered.keys() - results.keys()

    def rejected() -> list[FrameRejected]:
        return log.of("ocpp.rejected", FrameRejected, station_id)

    await until(lambda: results.keys() <= {c.message_id for c in calls(log, station_id)}, station_id)
    await until(lambda: errors <= {r.message_id for r in rejected()}, f"rejected of {station_id}")
    found = calls(log, station_id)
    for message_id, answer in results.items():
        (call,) = [c for c in found if c.message_id == message_id]
        assert orjson.loads(call.answer or "null") == answer
    for message_id, frame in answered.items():
        if isinstance(frame, list):
            (record,) = [r for r in rejected() if r.message_id == message_id]
            assert (record.code, record.answered) == (frame[2], True)


async def location(log: Log, station_id: str) -> StationLocated:
    def newest() -> StationLocated | None:
        found: list[StationLocated] = log.of("edge.connections", StationLocated, station_id)
        return max(found, key=lambda r: r.connection_epoch) if found else None

    found: StationLocated = await until(newest, f"{station_id} is located")
    return found


async def ending(log: Log, station_id: str) -> ClosedRecord:
    """The first recorded end of a connection of the station."""
    await until(lambda: log.of("ocpp.lifecycle", ClosedRecord, station_id), f"end of {station_id}")
    found: ClosedRecord = log.of("ocpp.lifecycle", ClosedRecord, station_id)[0]
    return found


async def leaving(log: Log, station_id: str) -> StationLocated:
    """The first record that the station is not where it was."""

    def left() -> list[StationLocated]:
        return [r for r in log.of("edge.connections", StationLocated, station_id) if not r.connected]

    await until(left, f"{station_id} left")
    return left()[0]
