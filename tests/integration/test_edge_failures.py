"""Edge processes that die, stop, lose Kafka or their peers: nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from libs.bus.settings import BusSettings
from libs.devstack import Endpoints, Stack
from libs.events.ocpp_log import ConnectionClosed as ClosedRecord
from libs.events.ocpp_log import (
    ConnectionOpened,
)
from tests.integration.bus import bus_settings, make_topics
from tests.integration.edge_process import (
    BOOT_16,
    Charger,
    EdgeProcess,
    Log,
    charger,
    edge,
    ending,
    leaving,
    logged_as_answered,
    open_log,
)
from tests.patience import until

PING = b"\x89" + bytes([0x80 | 125]) + bytes(4 + 125)
DEAF_HANDSHAKE = (
    b"GET /ocpp/deaf HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)
ROUNDS = int(os.environ.get("VOLTBUS_CHAOS_ROUNDS", "1"))


async def chatter(process: EdgeProcess, name: str, answered: dict[str, Any], stop: asyncio.Event) -> None:
    """Call until told to stop or cut off, remembering every answer seen."""
    try:
        async with charger(process, name) as c:
            c.answered = answered
            while not stop.is_set():
                await c.call("Heartbeat", {})
                await c.call(
                    "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
                )
    except (ConnectionClosed, OSError):
        pass


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_kill_9_loses_no_answered_call_and_the_successor_buries_the_dead(
    bus: BusSettings, log: Log, seed: int
) -> None:
    names = [f"victim-{seed}-{n}" for n in range(10)]
    enough = random.Random(seed).randrange(10, 120)
    answered: dict[str, dict[str, Any]] = {name: {} for name in names}
    process = await EdgeProcess(bus, slot=3).start()
    stop = asyncio.Event()
    talkers = [asyncio.create_task(chatter(process, name, answered[name], stop)) for name in names]
    await until(lambda: all(len(seen) > enough for seen in answered.values()))
    process.kill()
    await asyncio.gather(*talkers)
    async with edge(bus, slot=3):
        for name in names:
            await logged_as_answered(log, name, answered[name])
            closed = await ending(log, name)
            assert (closed.code, closed.reason) == (1006, "the edge process was lost")
            assert (await leaving(log, name)).edge_id == "edge-3"
    assert not log.duplicates(names)


async def test_an_orderly_stop_closes_sockets_and_records_their_ends(bus: BusSettings, log: Log) -> None:
    names = [f"drained-{n}" for n in range(10)]
    answered: dict[str, dict[str, Any]] = {name: {} for name in names}
    process = await EdgeProcess(bus).start()
    stop = asyncio.Event()
    talkers = [asyncio.create_task(chatter(process, name, answered[name], stop)) for name in names]
    async with charger(process, "drained-idle") as idle:
        await idle.call("Heartbeat", {})
        await until(lambda: all(len(seen) > 20 for seen in answered.values()))
        process.terminate()
        assert await idle.closed() == 1012
    await asyncio.gather(*talkers)
    await until(lambda: process.status() is not None)
    assert process.status() == 0
    for name in names:
        await logged_as_answered(log, name, answered[name])
        closed = await ending(log, name)
        assert (closed.code, closed.reason) == (1012, "restart")
    assert not log.duplicates(names)


async def call_for_ever(c: Charger) -> None:
    while True:
        await c.call("Heartbeat", {})


async def test_without_kafka_nothing_is_answered_and_all_is_well_when_it_returns(
    stack: Endpoints, private_stack: Callable[..., Stack], namespace: str
) -> None:
    servers = await asyncio.to_thread(private_stack, registry=False, clickhouse=False)
    settings = bus_settings(
        servers.endpoints, namespace, registry_url=stack.registry_url, partitions=3, slots=4
    )
    await make_topics(settings)
    async with edge(settings, publish_timeout_s=2) as process:
        async with charger(process, "cut") as c:
            await c.call("BootNotification", BOOT_16)
            await asyncio.to_thread(servers.brokers[0].kill)
            with pytest.raises(ConnectionClosed):
                await call_for_ever(c)
            assert c.socket.close_code == 1013
        answered = dict(c.answered)
        await until(lambda: not process.is_ready(), "not ready without Kafka")
        with pytest.raises(InvalidStatus) as refused:
            async with charger(process, "cut"):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        await asyncio.to_thread(servers.brokers[0].start)
        await until(process.is_ready, "ready again")
        async with charger(process, "cut") as again:
            await again.call("BootNotification", BOOT_16)
        async with open_log(settings) as log:
            await logged_as_answered(log, "cut", answered | again.answered)
            # What happened while Kafka was away has been told since.
            await until(lambda: len(log.of("ocpp.lifecycle", ClosedRecord, "cut")) >= 2)
            assert log.of("ocpp.lifecycle", ClosedRecord, "cut")[0].reason == "bus"


async def test_a_storm_is_let_in_little_by_little_and_nobody_who_is_in_notices(
    bus: BusSettings, log: Log
) -> None:
    """Who comes too early is told to come again, and is let in then."""
    refusals: list[tuple[int, int]] = []

    async def enter(process: EdgeProcess, name: str) -> dict[str, Any]:
        while True:
            try:
                async with charger(process, name) as c:
                    await c.call("BootNotification", BOOT_16)
                    return c.answered
            except InvalidStatus as refused:
                response = refused.response
                refusals.append((response.status_code, int(response.headers["Retry-After"])))
                await asyncio.sleep(0.2)

    async with edge(bus, entries_per_s=5, retry_after_s=1) as process, charger(process, "within") as within:
        names = [f"storm-{number}" for number in range(20)]
        storm = asyncio.gather(*(enter(process, name) for name in names))
        while not storm.done():
            await within.call("Heartbeat", {})
        for name, answered in zip(names, storm.result(), strict=True):
            await logged_as_answered(log, name, answered)
    assert refusals
    assert all(status == 503 and 1 <= seconds <= 11 for status, seconds in refusals)


async def test_a_peer_that_sends_and_never_reads_keeps_nobody_else_out(bus: BusSettings, log: Log) -> None:
    """Thousands of pings, none of whose answers are read, and a call: its socket ends, the process goes on."""
    options: dict[str, Any] = {"publish_timeout_s": 6, "ping_after_s": 2, "silence_timeout_s": 12}
    loop = asyncio.get_running_loop()
    async with edge(bus, **options) as process, charger(process, "neighbour") as neighbour:
        await neighbour.call("BootNotification", BOOT_16)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, ("127.0.0.1", process.port))
            await loop.sock_sendall(deaf, DEAF_HANDSHAKE)
            await until(lambda: log.of("ocpp.lifecycle", ConnectionOpened, "deaf"))
            heartbeat = b'[2,"1","Heartbeat",{}]'
            calls = b"\x81" + bytes([0x80 | len(heartbeat)]) + bytes(4) + heartbeat
            flood = asyncio.create_task(loop.sock_sendall(deaf, (PING * 1000 + calls) * 200))
            for number in range(60):
                await neighbour.call("Heartbeat", {})
                assert process.is_ready()
                async with charger(process, f"newcomer-{number}") as newcomer:
                    await newcomer.call("BootNotification", BOOT_16)
                if log.of("ocpp.lifecycle", ClosedRecord, "deaf"):
                    break
                await asyncio.sleep(0.2)
            (closed,) = await until(lambda: log.of("ocpp.lifecycle", ClosedRecord, "deaf"))
            flood.cancel()
    assert closed.reason != "bus"


async def test_a_frozen_peer_is_told_from_a_silent_one(bus: BusSettings, log: Log) -> None:
    """A socket whose peer answers neither frames nor pings is closed; one that answers pings stays."""
    options: dict[str, Any] = {"ping_after_s": 1, "silence_timeout_s": 6, "heartbeat_interval_s": 3}
    async with edge(bus, **options) as process:
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.write(
            b"GET /ocpp/frozen HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")
        async with charger(process, "silent") as silent:
            closed = await ending(log, "frozen")
            assert closed.reason == "silent"
            assert "currentTime" in await silent.call("Heartbeat", {})
        writer.close()


async def test_several_processes_share_a_port_and_a_dead_one_is_replaced(bus: BusSettings, log: Log) -> None:
    # They come back as often as it takes.
    async with edge(bus, edge_processes=2, reconnects=0) as process:
        names = [f"shared-{n}" for n in range(12)]

        async def connect_all() -> None:
            for name in names:
                async with charger(process, name) as c:
                    await c.call("Heartbeat", {})

        async def both_serve() -> bool:
            log.records.clear()
            try:
                await connect_all()
            except (OSError, ConnectionClosed, InvalidHandshake):
                return False
            await until(lambda: len(log.of("ocpp.lifecycle", ConnectionOpened)) >= len(names))
            opened = log.of("ocpp.lifecycle", ConnectionOpened)
            return {r.slot for r in opened if r.station_id in names} == {0, 1}

        await until(both_serve, "both serve")
        children = process.children()
        assert len(children) == 2
        process.signal_child(children[0], signal.SIGKILL)
        await until(both_serve, "both serve")
        assert len(process.children()) == 2
