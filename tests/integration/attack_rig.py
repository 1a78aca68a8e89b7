"""What the tests of attacks share."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus

from libs.bus.runtime_memory import MemoryRuntime
from libs.bus.settings import BusSettings
from libs.events.ocpp_log import (
    OcppCallReceived,
)
from libs.events.record import Record
from libs.events.topics import OCPP_TRANSACTIONS
from services.sessions.domain.processor import SessionsProcessor
from tests.integration.children import python
from tests.integration.edge_process import (
    EdgeProcess,
    Log,
    stamp,
)
from tests.unit.sessions.given import registry


def calls(log: Log, station: str, action: str | None = None) -> list[OcppCallReceived]:
    found = [*log.of("ocpp.transactions", OcppCallReceived, station)]
    found += log.of("ocpp.lifecycle", OcppCallReceived, station)
    return [call for call in found if action in (None, call.action)]


def billed(log: Log, *stations: str) -> list[Record]:
    """What billing makes of what has been read of what the edge recorded of these stations."""
    runtime = MemoryRuntime(SessionsProcessor(), registry())
    for call in log.records["ocpp.transactions"]:
        if isinstance(call, OcppCallReceived) and call.station_id in stations:
            runtime.feed(OCPP_TRANSACTIONS, call.station_id, call)
    assert not runtime.dead
    return [emit.record for emit in runtime.emitted if emit.record is not None]


def start(connector: int = 1, tag: str = "TAG", meter: int = 100, at: str | None = None) -> dict[str, Any]:
    return {"connectorId": connector, "idTag": tag, "timestamp": at or stamp(), "meterStart": meter}


async def status_of(opening: Any) -> tuple[int, Headers]:
    """HTTP status and headers of a handshake."""
    try:
        async with opening:
            return 101, Headers()
    except InvalidStatus as error:
        return error.response.status_code, error.response.headers


def internal_errors(process: EdgeProcess) -> float:
    found = re.search(r"^voltbus_edge_internal_errors_total (\S+)$", process.metrics(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def most_memory(process: EdgeProcess) -> int:
    """The most that the process ever had resident, in KiB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1])


SCRIPT = "<script>alert(1)</script>"
FORMULA = '=cmd|" /C calc"!A0'
FORGED = 'x"}\n{"event":"forged","level":"info"}\r\n\x1b[2J'


class Overheard(EdgeProcess):
    """An edge whose log is kept."""

    def __init__(self, bus: BusSettings, path: Path, **settings: object) -> None:
        super().__init__(bus, **settings)  # type: ignore[arg-type]
        self._path = path

    def launch(self) -> None:
        with self._path.open("wb") as out:
            self._process = subprocess.Popen(
                python("-m", "services.edge"), env=self._environment, stdout=out, stderr=out
            )

    @property
    def said(self) -> str:
        return self._path.read_text()


@asynccontextmanager
async def overheard(bus: BusSettings, path: Path, **settings: object) -> AsyncIterator[Overheard]:
    process = Overheard(bus, path, **settings)
    try:
        await process.start()
        yield process
    finally:
        await process.stop()
