"""`make up` on a disk that runs full says so and stops; with room again it goes on with all that was answered."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from deploy.local.platform import ROOT, Platform
from deploy.local.reconcile import find_answered_calls
from deploy.local.settings import LocalSettings, on_free_ports
from libs.bus.bus import connect as connect_bus
from libs.bus.tail import read_all
from libs.events.ocpp_log import OcppCallReceived
from tests.integration.children import python
from tests.integration.edge_process import Charger
from tests.patience import WAIT_S, until

MB = 1 << 20
STATIONS = [f"full-{number}" for number in range(4)]
Answered = list[tuple[str, str]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 GB; who may not mount one is not asked."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)]
    try:
        subprocess.run(mounting, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounts nothing here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


class Up:
    """`make up` in a process of its own; `said` is what it wrote."""

    def __init__(self, settings: LocalSettings, log: Path) -> None:
        self._log = log
        given = settings.model_dump(include=set(LocalSettings.model_fields)).items()
        self.process = subprocess.Popen(
            python("-m", "deploy.local", "up"),
            cwd=ROOT,
            env=os.environ | {f"VOLTBUS_{name.upper()}": str(value) for name, value in given},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )

    @property
    def said(self) -> str:
        return self._log.read_text()

    async def ready(self) -> None:
        await until(lambda: "Ctrl-C stops it" in self.said or self.process.poll() is not None, "it is up")
        assert self.process.poll() is None, self.said

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(240)


async def talk(settings: LocalSettings, station: str, answered: Answered) -> None:
    """Send call after call, and take note of each that is answered, until nobody answers."""
    url = f"ws://127.0.0.1:{settings.edge_port}/ocpp/{station}"
    payload = {"vendorId": "v", "data": "x" * 2000}
    try:
        async with connect(url, subprotocols=[Subprotocol("ocpp1.6")], proxy=None, close_timeout=1) as socket:
            charger = Charger(socket)
            while True:
                await charger.call("DataTransfer", payload)
                answered.append((station, list(charger.answered)[-1]))
    except (WebSocketException, OSError, TimeoutError):
        return


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * MB)
    return ballast


async def in_kafka(platform: Platform) -> Counter[tuple[str, str]]:
    """How often each call stands in the log."""
    found: Counter[tuple[str, str]] = Counter()
    async with connect_bus(platform.bus) as bus:
        for topic in ("ocpp.lifecycle", "ocpp.transactions"):
            async for message in read_all(bus, topic):
                if isinstance(message.record, OcppCallReceived):
                    found[message.record.station_id, message.record.message_id] += 1
    return found


@pytest.mark.slow
async def test_a_full_disk_stops_it_in_order_and_loses_nothing_that_was_answered(
    small_disk: Path, tmp_path: Path
) -> None:
    settings = on_free_ports(small_disk / "data", least_free_mb=64)
    answered: Answered = []
    up = Up(settings, tmp_path / "first.log")
    try:
        await up.ready()
        talks = [asyncio.create_task(talk(settings, station, answered)) for station in STATIONS]
        await until(lambda: len(answered) > 400, "calls")
        ballast = await asyncio.to_thread(fill, small_disk)
        await until(lambda: up.process.poll() is not None, "it ends by itself")
    finally:
        up.process.kill()
        up.process.wait()
    await asyncio.gather(*talks)
    assert up.process.returncode == 1
    assert f"the file system of {settings.data} is full" in up.said
    assert "Traceback" not in up.said

    again = Up(settings, tmp_path / "again.log")
    assert await asyncio.to_thread(again.process.wait, WAIT_S) == 1
    assert "Make room, then start again" in again.said

    ballast.unlink()
    up = Up(settings, tmp_path / "second.log")
    try:
        await up.ready()
        platform = Platform(settings)
        kafka = await in_kafka(platform)
        assert {call for call in answered if kafka[call] != 1} == set()
        clickhouse = await find_answered_calls(answered, platform.clickhouse, WAIT_S)
        assert clickhouse.agrees, clickhouse
        assert up.end() == 0
    finally:
        up.process.kill()
        up.process.wait()
