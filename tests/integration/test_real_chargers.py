"""What real chargers do to a connection: a real edge, real sockets, and frames that break the rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from libs.bus.settings import BusSettings
from libs.events.ids import new_id
from libs.events.ocpp_log import (
    CallOutcome,
    ConnectionOpened,
    FrameRejected,
    OcppCallReceived,
    StationLocated,
)
from libs.events.stations import CapabilitiesLearned
from libs.runtime.clock import now_us
from tests.integration.edge_process import (
    BOOT_16,
    Charger,
    EdgeProcess,
    Log,
    charger,
    edge,
    ending,
    location,
    logged_as_answered,
)
from tests.integration.test_edge_commands import dispatch_to, send_command, sent
from tests.patience import WAIT_S, until

STATUS = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}


class Mute:
    """A charger that does nothing by itself: it answers no ping and no close."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def heartbeat(self, message_id: str) -> None:
        """Send one and wait for its answer."""
        text = orjson.dumps([2, message_id, "Heartbeat", {}])
        self._writer.write(Frame(Opcode.TEXT, text).serialize(mask=True))
        async with asyncio.timeout(WAIT_S):
            await self._reader.readuntil(f'[3,"{message_id}"'.encode())


@asynccontextmanager
async def mute(process: EdgeProcess, station: str) -> AsyncIterator[Mute]:
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(
        f"GET /ocpp/{station} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    try:
        yield Mute(reader, writer)
    finally:
        writer.close()


async def test_a_broken_result_fails_its_call_and_the_socket_stays(process: EdgeProcess, log: Log) -> None:
    """Grizzl-E: the answer to GetConfiguration ends too early."""
    async with charger(process, "truncated") as c:
        await c.call("BootNotification", BOOT_16)
        dispatch = dispatch_to(await location(log, "truncated"), "GetConfiguration", {"key": ["X"]})
        await send_command(log, dispatch)
        _, message_id, action, _ = await c.receive()
        assert action == "GetConfiguration"
        await c.send(f'[3,"{message_id}",{{"configurationKey":[]')
        record = await sent(log, dispatch)
        assert record.outcome is CallOutcome.ERROR
        assert record.round_trip_us < dispatch.call_timeout_ms * 1000
        assert "currentTime" in await c.call("Heartbeat", {})
        (rejected,) = await until(lambda: log.of("ocpp.rejected", FrameRejected, "truncated"))
        # What stations answer may hold a password: no more than what it was is kept.
        assert rejected.frame == f'[3,"{message_id}"'
        assert rejected.frame_bytes == len(rejected.frame) + len(',{"configurationKey":[]')


async def test_spellings_of_an_identity_are_one_station(process: EdgeProcess, log: Log) -> None:
    answered: dict[str, Any] = {}
    for spelling in ("CaseCP-1", "CASECP-1", "casecp-1"):
        async with charger(process, spelling) as c:
            c.answered = answered
            await c.call("StatusNotification", STATUS)
    await logged_as_answered(log, "casecp-1", answered)
    opened = log.of("ocpp.lifecycle", ConnectionOpened, "casecp-1")
    assert len({r.connection_epoch for r in opened}) == 3


async def test_paths_with_extra_slashes_and_folders_lead_to_the_station(
    process: EdgeProcess, log: Log
) -> None:
    """SETEC."""
    for number, path in enumerate(
        ("//ocpp//setec", "/ocpp/setec/", "/ocpp/services/v16//setec", "/ocpp/setec?serial=1")
    ):
        async with connect(
            f"ws://127.0.0.1:{process.port}{path}",
            subprotocols=[Subprotocol("ocpp1.6")],
            open_timeout=WAIT_S,
            proxy=None,
        ) as socket:
            c = Charger(socket)
            await c.call("StatusNotification", STATUS, f"path-{number}")
            await logged_as_answered(log, "setec", c.answered)


async def test_a_charger_that_never_pongs_is_kept_by_its_heartbeats(bus: BusSettings, log: Log) -> None:
    """EN+: silent for longer than one that has ponged before would be allowed."""
    options: dict[str, Any] = {"ping_after_s": 0.2, "silence_timeout_s": 0.6, "heartbeat_interval_s": 5}
    async with edge(bus, **options) as process, mute(process, "pongless") as c:
        for number in range(6):
            await c.heartbeat(f"beat-{number}")
            # More silence than is allowed to those who pong, and far less than two of its intervals.
            await asyncio.sleep(1.0)
        await c.heartbeat("beat-last")
    assert (await ending(log, "pongless")).reason != "silent"
    assert len(log.of("ocpp.lifecycle", ConnectionOpened, "pongless")) == 1


async def test_a_charger_that_answers_no_calls_is_cut_off_to_start_afresh(bus: BusSettings, log: Log) -> None:
    async with edge(bus, command_timeouts=2) as process:
        async with charger(process, "deaf") as c:
            await c.call("BootNotification", BOOT_16)
            located = await location(log, "deaf")
            for _ in range(2):
                dispatch = dispatch_to(located, "ClearCache", {}, call_timeout_ms=300)
                await send_command(log, dispatch)
                assert (await c.receive())[2] == "ClearCache"
                assert (await sent(log, dispatch)).outcome is CallOutcome.TIMEOUT
            assert await c.closed() == 1011
        assert (await ending(log, "deaf")).reason == "no answers"
        async with charger(process, "deaf") as again:
            assert "currentTime" in await again.call("Heartbeat", {})


async def test_a_half_open_socket_does_not_keep_its_charger_out(bus: BusSettings, log: Log) -> None:
    """After a loss of power nobody has closed the older socket, and nobody answers on it."""
    async with edge(bus, ping_after_s=300, silence_timeout_s=600) as process, mute(process, "revived") as old:
        await old.heartbeat("before")
        async with charger(process, "revived") as c:
            assert (await c.call("BootNotification", BOOT_16))["status"] == "Accepted"
            assert (await ending(log, "revived")).reason == "replaced"
            assert "currentTime" in await c.call("Heartbeat", {})
            opened = await until(
                lambda: len(r := log.of("ocpp.lifecycle", ConnectionOpened, "revived")) == 2 and r,
                "both connections",
            )
            newest = max(r.connection_epoch for r in opened)
            await until(
                lambda: (
                    newest
                    in {r.connection_epoch for r in log.of("edge.connections", StationLocated, "revived")}
                ),
                "the newest is located",
            )
            assert (await location(log, "revived")).connection_epoch == newest


async def test_a_status_before_the_boot_is_answered_and_names_the_equipment(
    bus: BusSettings, log: Log
) -> None:
    """What a charger is stays known from its last boot, over connections and processes."""
    now = now_us()
    learned = CapabilitiesLearned(
        event_id=new_id(),
        occurred_at=now,
        recorded_at=now,
        cause_id="test",
        station_id="early",
        version="ocpp1.6",
        vendor="Chago",
        model="Pro",
        firmware="1.2",
    )
    await log.publish("stations.capabilities", "early", learned)
    async with edge(bus) as process, charger(process, "early") as c:
        assert await c.call("StatusNotification", STATUS) == {}
        assert await c.call("StatusNotification", STATUS | {"connectorId": 0}) == {}
        await c.call("BootNotification", BOOT_16)
        assert await c.call("StatusNotification", STATUS) == {}
        await logged_as_answered(log, "early", c.answered)
        told = [
            (r.action, r.vendor, r.model, r.firmware)
            for r in log.of("ocpp.lifecycle", OcppCallReceived, "early")
        ]
        assert told == [
            ("StatusNotification", "Chago", "Pro", "1.2"),
            ("StatusNotification", "Chago", "Pro", "1.2"),
            ("BootNotification", "Voltbus", "T1", ""),
            ("StatusNotification", "Voltbus", "T1", ""),
        ]


async def test_a_flood_of_history_is_taken_in_order_and_harms_nobody(process: EdgeProcess, log: Log) -> None:
    """Hundreds of queued meter values at once, without waiting for answers."""
    count = 600
    async with (
        charger(process, "flooding") as c,
        charger(process, "neighbour") as other,
    ):
        ids = [f"history-{number}" for number in range(count)]

        async def pour() -> None:
            for message_id in ids:
                value = {
                    "timestamp": "2026-01-01T00:00:00Z",
                    "sampledValue": [{"value": message_id.removeprefix("history-")}],
                }
                await c.send([2, message_id, "MeterValues", {"connectorId": 1, "meterValue": [value]}])

        async def drain() -> list[str]:
            return [(await c.receive())[1] for _ in ids]

        pouring, draining = asyncio.create_task(pour()), asyncio.create_task(drain())
        served = 0
        while not draining.done():
            assert "currentTime" in await other.call("Heartbeat", {})
            served += 1
        await pouring
        assert await draining == ids
        assert served > 10
        await until(lambda: len(log.of("ocpp.transactions", OcppCallReceived, "flooding")) == count)
        assert [r.message_id for r in log.of("ocpp.transactions", OcppCallReceived, "flooding")] == ids
