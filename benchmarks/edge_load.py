"""Chargers in a closed loop: raw OCPP 1.6J over sockets, as cheap as Python allows. Prints JSON.

`python -m benchmarks.edge_load PORT CHARGERS SECONDS`: each charger boots, then repeats a session mix (heartbeat,
status, start, four meter values, stop), sending its next call when the last is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import cast

import orjson
import uvloop

HANDSHAKE = (
    "GET /ocpp/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)
SAMPLES = [
    {
        "value": "{wh}",
        "measurand": "Energy.Active.Import.Register",
        "unit": "Wh",
        "context": "Sample.Periodic",
    },
    {"value": "11040", "measurand": "Power.Active.Import", "unit": "W"},
    {"value": "16.0", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
]


def frame(text: bytes) -> bytes:
    """A masked text frame; the mask is zero, which is legal and costs no XOR here."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0x80 | 126]) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


class Load:
    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.errors = 0
        self.counting = False
        self.stopped = False
        self.booted = 0


class Charger(asyncio.Protocol):
    def __init__(self, load: Load, name: str) -> None:
        self._load = load
        self._name = name
        self._buffer = b""
        self._upgraded = False
        self._sent_at = 0.0
        self._calls = self._script()
        self._answer: list[object] = []
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(HANDSHAKE.format(name=self._name).encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            if b"\r\n\r\n" not in self._buffer:
                return
            head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
            if not head.startswith(b"HTTP/1.1 101"):
                self._load.errors += 1
                return
            self._upgraded = True
            self._next()
        while len(self._buffer) > 2:
            size, start = self._buffer[1], 2
            if size == 126:
                size, start = int.from_bytes(self._buffer[2:4], "big"), 4
            if len(self._buffer) < start + size:
                return
            opcode, body = self._buffer[0] & 15, self._buffer[start : start + size]
            self._buffer = self._buffer[start + size :]
            if opcode == 1:
                self._on_answer(body)
            elif opcode == 8:
                self._load.errors += not self._load.stopped
                return

    def _on_answer(self, body: bytes) -> None:
        load = self._load
        if load.counting:
            load.latencies.append(time.perf_counter() - self._sent_at)
        if body[1:2] != b"3":
            load.errors += 1
        self._answer = [body]
        if not load.stopped:
            self._next()

    def _next(self) -> None:
        text = next(self._calls)
        self._sent_at = time.perf_counter()
        self._transport.write(frame(text))

    def _call(self, action: str, payload: str) -> bytes:
        self._number += 1
        return f'[2,"{self._name}-{self._number}","{action}",{payload}]'.encode()

    def _script(self) -> Iterator[bytes]:
        yield self._call("BootNotification", '{"chargePointVendor":"Bench","chargePointModel":"Raw"}')
        self._load.booted += 1
        status = '{"connectorId":1,"errorCode":"NoError","status":"%s"}'
        wh = 0
        while True:
            yield self._call("Heartbeat", "{}")
            yield self._call("StatusNotification", status % "Preparing")
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            start = f'{{"connectorId":1,"idTag":"TAG","timestamp":"{at}","meterStart":{wh}}}'
            yield self._call("StartTransaction", start)
            answer = orjson.loads(self._answer[0])  # type: ignore[arg-type]
            transaction = answer[2]["transactionId"]
            for _ in range(4):
                wh += 500
                values = orjson.dumps([{"timestamp": at, "sampledValue": SAMPLES}]).decode()
                values = values.replace("{wh}", str(wh))
                yield self._call(
                    "MeterValues", f'{{"connectorId":1,"transactionId":{transaction},"meterValue":{values}}}'
                )
            stop = f'{{"transactionId":{transaction},"timestamp":"{at}","meterStop":{wh},"idTag":"TAG"}}'
            yield self._call("StopTransaction", stop)


async def run(port: int, chargers: int, seconds: float) -> dict[str, float]:
    loop, load = asyncio.get_running_loop(), Load()
    transports = []
    for number in range(chargers):
        name = f"bench-{port}-{number}"
        transport, _ = await loop.create_connection(lambda name=name: Charger(load, name), "127.0.0.1", port)  # type: ignore[misc]
        transports.append(transport)
    async with asyncio.timeout(60):
        while load.booted < chargers:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    print("booted", flush=True)
    await asyncio.sleep(1)
    load.counting = True
    print("begin", flush=True)
    begun = time.perf_counter()
    await asyncio.sleep(seconds)
    load.counting = False
    took = time.perf_counter() - begun
    print("end", flush=True)
    load.stopped = True
    await asyncio.sleep(0.5)
    for transport in transports:
        transport.close()
    spent = sorted(load.latencies)
    return {
        "calls": len(spent),
        "errors": load.errors,
        "calls_per_s": len(spent) / took,
        "p50_ms": spent[len(spent) // 2] * 1000,
        "p95_ms": spent[len(spent) * 95 // 100] * 1000,
        "p99_ms": spent[len(spent) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))))
