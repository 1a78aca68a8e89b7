"""Command round trip: from the API call to the charger's socket, and back to the API's answer.

`python -m benchmarks.commands [--chargers N] [--commands N]`: a platform of its own; commands are sent one after the
other to idle chargers. Beside it, in the same run, the `ocpp` library's ChargePoint calling the same charger directly:
no API, no log, nothing kept.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx
import orjson
import uvloop
from ocpp.v16 import ChargePoint, call
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from deploy.local.platform import Platform
from deploy.local.settings import on_free_ports
from libs.devstack.endpoints import free_ports

OCPP16 = Subprotocol("ocpp1.6")


class Charger:
    """Boots, then accepts every CALL at once and notes when it came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.received: asyncio.Queue[float] = asyncio.Queue()
        self.booted = asyncio.Event()

    async def run(self, url: str, boot: bool) -> None:
        async with connect(f"{url}/{self.name}", subprotocols=[OCPP16], compression=None) as socket:
            if boot:
                payload = {"chargePointVendor": "Bench", "chargePointModel": "Raw"}
                await socket.send(orjson.dumps([2, "boot", "BootNotification", payload]).decode())
            await self._answer(socket)

    async def _answer(self, socket: ClientConnection) -> None:
        async for text in socket:
            frame = orjson.loads(text)
            if frame[0] == 2:
                self.received.put_nowait(time.perf_counter())
                await socket.send(orjson.dumps([3, frame[1], {"status": "Accepted"}]).decode())
            else:
                self.booted.set()


async def through_platform(platform: Platform, chargers: int, commands: int) -> dict[str, list[float]]:
    fleet = [Charger(f"bench-{number:04d}") for number in range(chargers)]
    tasks = [asyncio.create_task(charger.run(platform.edge_url, boot=True)) for charger in fleet]
    async with asyncio.timeout(30):
        await asyncio.gather(*(charger.booted.wait() for charger in fleet))
        await asyncio.sleep(2)  # the API and the ledger read where they are
    headers = {"Authorization": f"Bearer {platform.secrets.api_key}"}
    there, back = [], []
    async with httpx.AsyncClient(base_url=f"{platform.api_url}/api/v1/", headers=headers, timeout=60) as api:
        for number in range(-20, commands):
            charger = fleet[number % chargers]
            body = {"action": "ClearCache", "payload": {}, "ttl_s": 30, "wait_s": 30}
            begun = time.perf_counter()
            answer = await api.post(f"stations/{charger.name}/commands", json=body)
            ended = time.perf_counter()
            if answer.status_code != 200:
                raise SystemExit(f"{answer.status_code}: {answer.text}")
            received = await charger.received.get()
            if number >= 0:
                there.append(received - begun)
                back.append(ended - begun)
            await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"API call to charger's socket": there, "API call to API's answer": back}


async def direct(commands: int) -> list[float]:
    (port,) = free_ports(1)
    times: list[float] = []
    done = asyncio.Event()

    async def serve_station(socket: ServerConnection) -> None:
        station = ChargePoint("bench", socket)
        reader = asyncio.create_task(station.start())
        for _ in range(commands):
            begun = time.perf_counter()
            await station.call(call.ClearCache())
            times.append(time.perf_counter() - begun)
        reader.cancel()
        done.set()

    async with serve(serve_station, "127.0.0.1", port, subprotocols=[OCPP16], compression=None):
        charger = asyncio.create_task(Charger("bench").run(f"ws://127.0.0.1:{port}", boot=False))
        await done.wait()
        charger.cancel()
        await asyncio.gather(charger, return_exceptions=True)
    return times


def table(rows: dict[str, list[float]]) -> Table:
    shown = Table(title="Command round trip, ms")
    for title in ("path", "commands", "p50", "p95", "p99"):
        shown.add_column(title, justify="left" if title == "path" else "right")
    for name, times in rows.items():
        ordered = sorted(times)
        quantiles = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.95, 0.99))
        shown.add_row(name, str(len(times)), *(f"{value:.1f}" for value in quantiles))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chargers", type=int, default=20)
    parser.add_argument("--commands", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(on_free_ports(Path(folder)), long_running=True)
        platform.start(lambda line: print(line, file=sys.stderr))
        try:
            rows = uvloop.run(through_platform(platform, given.chargers, given.commands))
        finally:
            platform.stop()
    rows["`ocpp` ChargePoint to charger and back, in memory"] = uvloop.run(direct(given.commands))
    Console(width=110).print(table(rows))


if __name__ == "__main__":
    main()
