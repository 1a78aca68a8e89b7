"""Hundreds of chargers that lose their connections, or their edge, and all come back at once."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from libs.bus.settings import BusSettings
from libs.events.ocpp_log import ConnectionClosed as ClosedRecord
from libs.events.ocpp_log import ConnectionOpened, OcppCallReceived, StationLocated
from tests.integration.edge_process import BOOT_16, Charger, EdgeProcess, Log, charger, edge, stamp
from tests.patience import until

CHARGERS = 300
PER_SECOND = 50
HANDSHAKE = (
    "GET /ocpp/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)


class Crowd:
    """Chargers that run a transaction each, over as many connections as it takes."""

    def __init__(self, process: EdgeProcess, stem: str) -> None:
        self.process = process
        self.names = [f"{stem}-{number}" for number in range(CHARGERS)]
        self.answered: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        self.started: dict[str, int] = {}
        self.stopped = 0
        self.refused: list[tuple[int, int]] = []
        self.sockets: dict[str, Charger] = {}
        self.over = asyncio.Event()

    async def live(self, name: str) -> None:
        """Connect, and again when that ends, until all is over."""
        while not self.over.is_set():
            try:
                async with charger(self.process, name) as c:
                    c.answered = self.answered[name]
                    self.sockets[name] = c
                    await self._serve(name, c)
                    over = asyncio.create_task(self.over.wait())
                    lost = asyncio.create_task(c.socket.wait_closed())
                    await asyncio.wait({over, lost}, return_when=asyncio.FIRST_COMPLETED)
                    over.cancel()
            except InvalidStatus as refusal:
                response = refusal.response
                self.refused.append((response.status_code, int(response.headers["Retry-After"])))
                # Sooner than told: those who do not keep to it must be served, too.
                await asyncio.sleep(0.3)
            except (ConnectionClosed, InvalidHandshake, TimeoutError, OSError):
                await asyncio.sleep(0.1)

    async def _serve(self, name: str, c: Charger) -> None:
        """A transaction is started on the first connection and stopped on a later one."""
        await c.call("BootNotification", BOOT_16)
        if name not in self.started:
            call = {"connectorId": 1, "idTag": "T", "timestamp": stamp(), "meterStart": 0}
            answer = await c.call("StartTransaction", call)
            self.started[name] = answer["transactionId"]
            return
        call = {"transactionId": self.started[name], "timestamp": stamp(), "meterStop": 7}
        await c.call("StopTransaction", call)
        self.stopped += 1

    def cut(self) -> None:
        """Every connection is reset, as by a network that forgets them."""
        for c in self.sockets.values():
            found = c.socket.transport.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.socket.transport.abort()


@pytest.mark.parametrize("lost", ["connections", "edge"])
async def test_all_who_come_back_at_once_are_served_and_nothing_answered_is_lost(
    bus: BusSettings, log: Log, lost: str
) -> None:
    async with edge(bus, entries_per_s=PER_SECOND, retry_after_s=1) as process:
        crowd = Crowd(process, f"storm-{lost}")
        async with asyncio.TaskGroup() as tasks:
            for name in crowd.names:
                tasks.create_task(crowd.live(name))
            await until(lambda: len(crowd.started) == CHARGERS, "all have a transaction")
            if lost == "edge":
                process.kill()
                await process.start()
            else:
                crowd.cut()
            await until(lambda: crowd.stopped == CHARGERS, "all are served again")
            # Each is where the log says that it is, by its last connection.
            await until(lambda: all(at_home(log, name) for name in crowd.names), "all are located")
            crowd.over.set()
        assert crowd.refused
        assert all(status == 503 and seconds >= 1 for status, seconds in crowd.refused)

        def seen() -> Counter[str]:
            calls = [
                *log.of("ocpp.lifecycle", OcppCallReceived),
                *log.of("ocpp.transactions", OcppCallReceived),
            ]
            return Counter(call.message_id for call in calls)

        answered = {message_id for each in crowd.answered.values() for message_id in each}
        await until(lambda: answered <= seen().keys(), "all that was answered is in the log")
        assert {message_id for message_id, times in seen().items() if times > 1} == set()
        # Where a station is may be said again: what is said of the lost process can overtake it.
        assert log.duplicates(crowd.names, elsewhere_than="edge.connections") == []
        await until(lambda: all(ended(log, name) for name in crowd.names), "every connection has ended")


def at_home(log: Log, name: str) -> bool:
    """The newest location is that of the newest connection, and connected."""
    located = log.of("edge.connections", StationLocated, name)
    opened = log.of("ocpp.lifecycle", ConnectionOpened, name)
    if not located or len(opened) < 2:
        return False
    newest: StationLocated = max(located, key=lambda record: record.connection_epoch)
    return newest.connected and newest.connection_epoch == max(record.connection_epoch for record in opened)


def ended(log: Log, name: str) -> bool:
    """Each connection that was opened has its one end."""
    opened = Counter(r.connection_epoch for r in log.of("ocpp.lifecycle", ConnectionOpened, name))
    closed = Counter(r.connection_epoch for r in log.of("ocpp.lifecycle", ClosedRecord, name))
    return opened == closed and set(opened.values()) == {1}


async def test_handshakes_that_are_given_up_leave_nothing_behind(bus: BusSettings, log: Log) -> None:
    """A charger that asks and is gone before it is heard is not taken for one that came."""
    names = [f"hasty-{number}" for number in range(CHARGERS)]
    async with edge(bus) as process, charger(process, "patient") as within:
        await within.call("BootNotification", BOOT_16)
        for name in names:
            _, writer = await asyncio.open_connection("127.0.0.1", process.port)
            found = writer.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.write(HANDSHAKE.format(name=name).encode())
            writer.transport.abort()
        await within.call("Heartbeat", {})
        async with charger(process, names[0]) as late:
            assert "currentTime" in await late.call("BootNotification", BOOT_16)
        await until(
            lambda: 'voltbus_edge_connections{version="ocpp1.6"} 1.0' in process.metrics(),
            "only the patient one is connected",
        )
        assert "currentTime" in await within.call("Heartbeat", {})
        # Those that were heard before they went have come and gone.
        await until(
            lambda: all(ended(log, n) or not log.of("ocpp.lifecycle", ConnectionOpened, n) for n in names),
            "every connection has ended",
        )
