"""The edge on real sockets and real Kafka: whatever a charger saw answered is in the log, once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from libs.bus.admin import apply_contract
from libs.bus.settings import BusSettings
from libs.events.commands import DispatchCommand
from libs.events.ids import new_id
from libs.events.ocpp_log import (
    CallOutcome,
    ConnectionOpened,
    ConnectionRefused,
    DispatchRefused,
    FrameRejected,
    OcppCallReceived,
    OcppCallSent,
    RefusalReason,
    StationLocated,
)
from libs.events.ocpp_log import ConnectionClosed as ClosedRecord
from libs.events.registry import BootStatus, StationRegistered, TokenRegistered, TokenStatus
from libs.runtime.clock import now_us
from libs.testing.localstack import Endpoints, Stack
from tests.integration.edge_process import (
    BOOT_2,
    BOOT_16,
    Charger,
    EdgeProcess,
    Log,
    charger,
    edge,
    open_log,
    stamp,
    until,
)


def bus_settings(endpoints: Endpoints, namespace: str) -> BusSettings:
    return BusSettings(
        kafka=endpoints.bootstrap,
        registry_url=endpoints.registry_url,
        namespace=namespace,
        partitions=3,
        slots=4,
    )


@pytest.fixture(scope="module")
def bus(stack: Endpoints) -> BusSettings:
    settings = bus_settings(stack, f"edge{new_id()[:6]}")
    asyncio.run(apply_contract(settings))
    return settings


@pytest.fixture
async def log(bus: BusSettings) -> AsyncIterator[Log]:
    async with open_log(bus) as log:
        yield log


def station(station_id: str, **fields: Any) -> StationRegistered:
    now = now_us()
    base: dict[str, Any] = {"event_id": new_id(), "occurred_at": now, "recorded_at": now, "cause_id": "test"}
    return StationRegistered(**(base | {"station_id": station_id} | fields))


def calls(log: Log, station_id: str) -> list[OcppCallReceived]:
    return [
        *log.of("ocpp.lifecycle", OcppCallReceived, station_id),
        *log.of("ocpp.transactions", OcppCallReceived, station_id),
    ]


async def logged_as_answered(log: Log, station_id: str, answered: dict[str, Any]) -> None:
    """Every answer that the charger saw is in the log exactly once, as it was given."""
    results = {m: a for m, a in answered.items() if not isinstance(a, list)}
    await until(lambda: results.keys() <= {c.message_id for c in calls(log, station_id)}, what=station_id)
    found = calls(log, station_id)
    for message_id, answer in results.items():
        (call,) = [c for c in found if c.message_id == message_id]
        assert orjson.loads(call.answer or "null") == answer
    for message_id, frame in answered.items():
        if isinstance(frame, list):
            (rejected,) = [
                r for r in log.of("ocpp.rejected", FrameRejected, station_id) if r.message_id == message_id
            ]
            assert (rejected.code, rejected.answered) == (frame[2], True)


def dispatch_to(located: StationLocated, action: str, payload: object, **fields: Any) -> DispatchCommand:
    now, command_id = now_us(), new_id()
    base: dict[str, Any] = {
        "event_id": new_id(),
        "occurred_at": now,
        "recorded_at": now,
        "cause_id": command_id,
        "station_id": located.station_id,
        "command_id": command_id,
        "slot": located.slot,
        "connection_epoch": located.connection_epoch,
        "attempt": 1,
        "action": action,
        "payload": payload if isinstance(payload, str) else orjson.dumps(payload).decode(),
        "send_by": now + 10_000_000,
        "call_timeout_ms": 5_000,
    }
    return DispatchCommand(**(base | fields))


async def send_command(log: Log, dispatch: DispatchCommand) -> None:
    await log.publish("commands.dispatch", str(dispatch.slot), dispatch, partition=dispatch.slot)


async def location(log: Log, station_id: str) -> StationLocated:
    def newest() -> StationLocated | None:
        found: list[StationLocated] = log.of("edge.connections", StationLocated, station_id)
        return max(found, key=lambda r: r.connection_epoch) if found else None

    found: StationLocated = await until(newest, what=f"{station_id} is located")
    return found


async def refusals(log: Log, dispatch: DispatchCommand) -> list[DispatchRefused]:
    def found() -> list[DispatchRefused]:
        return [r for r in log.of("ocpp.commands", DispatchRefused) if r.cause_id == dispatch.event_id]

    await until(found, what=f"refusal of {dispatch.action}")
    return found()


async def sent(log: Log, dispatch: DispatchCommand) -> OcppCallSent:
    def found() -> list[OcppCallSent]:
        return [r for r in log.of("ocpp.commands", OcppCallSent) if r.cause_id == dispatch.event_id]

    await until(found, what=f"end of {dispatch.action}")
    (record,) = found()
    return record


async def ending(log: Log, station_id: str) -> ClosedRecord:
    """The first recorded end of a connection of the station."""
    await until(lambda: log.of("ocpp.lifecycle", ClosedRecord, station_id), what=f"end of {station_id}")
    found: ClosedRecord = log.of("ocpp.lifecycle", ClosedRecord, station_id)[0]
    return found


async def leaving(log: Log, station_id: str) -> StationLocated:
    """The first record that the station is not where it was."""

    def left() -> list[StationLocated]:
        return [r for r in log.of("edge.connections", StationLocated, station_id) if not r.connected]

    await until(left, what=f"{station_id} left")
    return left()[0]


async def session_16(c: Charger) -> None:
    await c.call("BootNotification", BOOT_16)
    await c.call("StatusNotification", {"connectorId": 0, "errorCode": "NoError", "status": "Available"})
    await c.call("Heartbeat", {})
    await c.call("Authorize", {"idTag": "TAG"})
    start = {"connectorId": 1, "idTag": "TAG", "timestamp": stamp(), "meterStart": 100}
    transaction_id = (await c.call("StartTransaction", start))["transactionId"]
    values = [{"timestamp": stamp(), "sampledValue": [{"value": "150"}]}]
    meter = {"connectorId": 1, "transactionId": transaction_id, "meterValue": values}
    await c.call("MeterValues", meter)
    stop = {"transactionId": transaction_id, "timestamp": stamp(), "meterStop": 200, "idTag": "TAG"}
    await c.call("StopTransaction", stop)
    await c.call("DataTransfer", {"vendorId": "nobody"})


async def session_2(c: Charger) -> None:
    await c.call("BootNotification", BOOT_2)
    await c.call(
        "StatusNotification",
        {"timestamp": stamp(), "connectorStatus": "Available", "evseId": 1, "connectorId": 1},
    )
    token = {"idToken": "TAG", "type": "ISO14443"}
    await c.call("Authorize", {"idToken": token})
    transaction = {"transactionId": new_id()}
    for seq, (kind, trigger) in enumerate(
        [("Started", "Authorized"), ("Updated", "MeterValuePeriodic"), ("Ended", "EVDeparted")]
    ):
        event = {
            "eventType": kind,
            "timestamp": stamp(),
            "triggerReason": trigger,
            "seqNo": seq,
            "transactionInfo": transaction,
        }
        await c.call("TransactionEvent", event | ({"idToken": token} if kind == "Started" else {}))
    values = [{"timestamp": stamp(), "sampledValue": [{"value": 1.5}]}]
    await c.call("MeterValues", {"evseId": 1, "meterValue": values})


@pytest.mark.parametrize(
    ("version", "session"), [("ocpp1.6", session_16), ("ocpp2.0.1", session_2), ("ocpp2.1", session_2)]
)
async def test_every_answered_call_is_in_the_log_once_with_its_answer(
    bus: BusSettings, log: Log, version: str, session: Callable[[Charger], Any]
) -> None:
    name = f"Session-{version}"
    async with edge(bus) as process:
        async with charger(process, name, version) as c:
            await session(c)
        await logged_as_answered(log, name.lower(), c.answered)
        (opened,) = log.of("ocpp.lifecycle", ConnectionOpened, name.lower())
        closed = await ending(log, name.lower())
        assert (closed.cause_id, closed.connection_epoch) == (opened.event_id, opened.connection_epoch)
        assert closed.code == 1000
        await leaving(log, name.lower())
    topics = {
        c.action: t for t in ("ocpp.lifecycle", "ocpp.transactions") for c in log.of(t, OcppCallReceived)
    }
    assert topics["BootNotification"] == "ocpp.lifecycle"
    assert topics["MeterValues"] == "ocpp.transactions"
    assert not log.duplicates([name.lower()])


async def test_the_registry_decides_and_its_changes_take_effect_at_once(bus: BusSettings, log: Log) -> None:
    async def register(name: str, **fields: Any) -> None:
        await log.publish("registry.stations", name, station(name, **fields))

    await register("pending-2", boot_status=BootStatus.PENDING, heartbeat_interval_s=77)
    await register("quiet-16", allow_no_subprotocol=True)
    blocked = TokenRegistered(
        event_id=new_id(),
        occurred_at=1,
        recorded_at=1,
        cause_id="test",
        id_token="bad",
        status=TokenStatus.BLOCKED,
    )
    await log.publish("registry.tokens", "bad", blocked)
    policies: dict[str, Any] = {"unknown_stations": "reject", "unknown_tokens": "reject"}
    async with edge(bus, **policies) as process:
        for path, subprotocols, status in [
            ("ocpp/stranger", ["ocpp1.6"], 401),
            ("ocpp/pending-2", ["mqtt"], 400),
            ("ocpp/pending-2", None, 400),
            ("elsewhere", ["ocpp1.6"], 404),
        ]:
            with pytest.raises(InvalidStatus) as refused:
                async with connect(
                    f"ws://127.0.0.1:{process.port}/{path}",
                    subprotocols=[Subprotocol(s) for s in subprotocols or ()] or None,
                    proxy=None,
                ):
                    pass
            assert refused.value.response.status_code == status
        records = await until(lambda: len(r := log.of("ocpp.rejected", ConnectionRefused)) >= 3 and r)
        assert {(r.station_id, r.reason) for r in records} >= {
            ("stranger", "unknown_station"),
            ("pending-2", "no_subprotocol"),
            ("elsewhere", "bad_identity"),
        }
        async with connect(f"ws://127.0.0.1:{process.port}/ocpp/QUIET-16", proxy=None) as socket:
            c = Charger(socket)
            assert (await c.call("Authorize", {"idTag": "BAD"}))["idTagInfo"]["status"] == "Blocked"
            assert (await c.call("Authorize", {"idTag": "who"}))["idTagInfo"]["status"] == "Invalid"
            await log.publish("registry.stations", "quiet-16", None)
            assert await c.closed() == 1008
        async with charger(process, "pending-2", "ocpp2.0.1") as c:
            assert (await c.call("BootNotification", BOOT_2))["status"] == "Pending"
            assert (await c.call("Heartbeat", {}))[2] == "SecurityError"
            await register("pending-2")
            for _ in range(200):
                told = await c.call("BootNotification", BOOT_2)
                if told["status"] == "Accepted":
                    break
            assert (told["status"], told["interval"]) == ("Accepted", 300)
            assert "currentTime" in await c.call("Heartbeat", {})
        await logged_as_answered(log, "pending-2", c.answered)


BAD_FRAMES: list[tuple[object, str, str, str]] = [
    # frame, message id of the answer, code in 1.6, code in 2.0.1
    ('[2,"m1","Heartbeat",{', "m1", "FormationViolation", "FormatViolation"),
    ("no json at all", "-1", "FormationViolation", "FormatViolation"),
    (b"\xff\xfe[2", "-1", "FormationViolation", "FormatViolation"),
    ({"an": "object"}, "-1", "FormationViolation", "RpcFrameworkError"),
    ([2, 5, "Heartbeat", {}], "-1", "FormationViolation", "RpcFrameworkError"),
    ([2, "m2", "Heartbeat"], "m2", "FormationViolation", "FormatViolation"),
    ([2, "m3", "Heartbeat", []], "m3", "FormationViolation", "FormatViolation"),
    ([2, "m4", "Teleport", {}], "m4", "NotImplemented", "NotImplemented"),
    ([2, "m5", "Reset", {}], "m5", "NotSupported", "NotSupported"),
    (
        [2, "m6", "StatusNotification", {}],
        "m6",
        "OccurenceConstraintViolation",
        "OccurrenceConstraintViolation",
    ),
    ([2, "m7", "BootNotification", {"reason": {"deep": 1}}], "m7", "", ""),
    (
        '[2,"m8","DataTransfer",{"vendorId":"' + "x" * 300_000 + '"}]',
        "m8",
        "FormationViolation",
        "FormatViolation",
    ),
    (
        '[2,"m9","DataTransfer",{"data":' + "[" * 500 + "]" * 500 + "}]",
        "m9",
        "FormationViolation",
        "FormatViolation",
    ),
]


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1"])
async def test_bad_frames_get_a_clear_error_and_the_socket_stays(
    bus: BusSettings, log: Log, version: str
) -> None:
    name = f"garbage-{version}"
    async with edge(bus, garbage_limit=100) as process, charger(process, name, version) as c:
        for frame, message_id, code_16, code_2 in BAD_FRAMES:
            await c.send(frame)
            answer = await c.receive()
            assert answer[:2] == [4, message_id], frame
            expected = code_16 if version == "ocpp1.6" else code_2
            assert expected in ("", answer[2]), frame
            assert isinstance(answer[4], dict)
        # Answers to nothing are only noted; an unknown message type is not answered in 1.6.
        await c.send([3, "nobody-asked", {}])
        assert "currentTime" in await c.call("Heartbeat", {})
        rejected = await until(
            lambda: len(r := log.of("ocpp.rejected", FrameRejected, name)) == len(BAD_FRAMES) + 1 and r
        )
        assert [r.answered for r in rejected] == [True] * len(BAD_FRAMES) + [False]
        assert all(len(r.frame) <= 4096 for r in rejected)
        assert max(r.frame_bytes for r in rejected) > 300_000


async def test_an_absurdly_large_frame_closes_the_socket_and_is_noted(bus: BusSettings, log: Log) -> None:
    async with edge(bus) as process, charger(process, "huge") as c:
        await c.call("Heartbeat", {})
        await c.send('[2,"m","DataTransfer",{"vendorId":"' + "x" * (2 << 20) + '"}]')
        assert await c.closed() == 1009
        rejected = (await until(lambda: log.of("ocpp.rejected", FrameRejected, "huge")))[0]
        assert not rejected.answered


async def test_a_flood_of_garbage_is_answered_but_not_written_down(bus: BusSettings, log: Log) -> None:
    async with edge(bus, garbage_limit=5) as process:
        async with charger(process, "flood") as c:
            for _ in range(200):
                await c.send("garbage")
                assert (await c.receive())[0] == 4
            await c.call("Heartbeat", {})
        await ending(log, "flood")
        rejected = await until(lambda: len(r := log.of("ocpp.rejected", FrameRejected, "flood")) == 6 and r)
        assert "195 unusable frames" in rejected[-1].reason


async def test_a_repeated_call_gets_the_stored_answer_and_one_record(bus: BusSettings, log: Log) -> None:
    start = {"connectorId": 1, "idTag": "TAG", "timestamp": stamp(), "meterStart": 100}
    async with edge(bus) as process:
        async with charger(process, "repeat") as c:
            first = await c.call("StartTransaction", start, "same")
            assert await c.call("StartTransaction", start, "same") == first
            third = await c.call("StartTransaction", start, "other")
            assert third["transactionId"] == first["transactionId"]
            await c.call("Heartbeat", {})
        await logged_as_answered(log, "repeat", c.answered)


async def test_a_command_goes_out_and_its_end_comes_back(bus: BusSettings, log: Log) -> None:
    async with edge(bus, slot=1) as process, charger(process, "obedient") as c:
        await c.call("BootNotification", BOOT_16)
        located = await location(log, "obedient")
        assert located.slot == 1

        accepted = dispatch_to(located, "Reset", {"type": "Soft"})
        await send_command(log, accepted)
        frame = await c.receive()
        assert frame == [2, accepted.event_id, "Reset", {"type": "Soft"}]
        # The two directions cross.
        assert "currentTime" in await c.call("Heartbeat", {})
        await c.send([3, frame[1], {"status": "Accepted"}])
        record = await sent(log, accepted)
        assert (record.outcome, record.result) == (CallOutcome.RESULT, '{"status":"Accepted"}')
        assert record.command_id == accepted.command_id
        assert record.round_trip_us > 0

        failing = dispatch_to(located, "ClearCache", {})
        await send_command(log, failing)
        frame = await c.receive()
        await c.send([4, frame[1], "InternalError", "no", {}])
        record = await sent(log, failing)
        assert record.outcome is CallOutcome.ERROR
        assert record.error is not None
        assert record.error.code == "InternalError"

        ignored = dispatch_to(located, "ClearCache", {}, call_timeout_ms=200)
        await send_command(log, ignored)
        late = await c.receive()
        assert (await sent(log, ignored)).outcome is CallOutcome.TIMEOUT
        await c.send([3, late[1], {"status": "Accepted"}])

        repeated = dispatch_to(located, "ClearCache", {}, event_id=accepted.event_id)
        await send_command(log, repeated)
        lost = dispatch_to(located, "ClearCache", {})
        await send_command(log, lost)
        # The repeated one is never sent again: what comes next is the new one.
        assert (await c.receive())[1] == lost.event_id
        await c.socket.close()
        assert (await sent(log, lost)).outcome is CallOutcome.CONNECTION_LOST


async def test_commands_that_must_not_be_sent_are_refused(bus: BusSettings, log: Log) -> None:
    async with edge(bus, slot=2) as process:
        async with charger(process, "picky") as c:
            await c.call("Heartbeat", {})
            located = await location(log, "picky")
            for reason, dispatch in [
                (RefusalReason.INVALID, dispatch_to(located, "Reset", {"type": "Lukewarm"})),
                (RefusalReason.INVALID, dispatch_to(located, "GetVariables", {})),
                (RefusalReason.INVALID, dispatch_to(located, "Heartbeat", {})),
                (RefusalReason.INVALID, dispatch_to(located, "Reset", "{no json")),
                (RefusalReason.INVALID, dispatch_to(located, "Reset", [1])),
                (RefusalReason.TOO_LATE, dispatch_to(located, "ClearCache", {}, send_by=now_us() - 1)),
            ]:
                await send_command(log, dispatch)
                (refused,) = await refusals(log, dispatch)
                assert (refused.reason, refused.command_id) == (reason, dispatch.command_id)
            # Of another process that shares the slot, or of nobody: silence.
            foreign = dispatch_to(located, "ClearCache", {}, connection_epoch=located.connection_epoch - 5)
            await send_command(log, foreign)
            assert "currentTime" in await c.call("Heartbeat", {})
        await ending(log, "picky")
        gone = dispatch_to(located, "ClearCache", {})
        await send_command(log, gone)
        assert [r.reason for r in await refusals(log, gone)] == [RefusalReason.NOT_HERE]
        assert not [r for r in log.of("ocpp.commands", DispatchRefused) if r.cause_id == foreign.event_id]


async def test_the_newest_connection_wins_in_one_process_and_across_two(bus: BusSettings, log: Log) -> None:
    async with edge(bus, slot=0) as a, edge(bus, slot=1) as b, AsyncExitStack() as stack:
        first = await stack.enter_async_context(charger(a, "Twice"))
        await first.call("Heartbeat", {})
        second = await stack.enter_async_context(charger(a, "TWICE"))
        await second.call("Heartbeat", {})
        assert await first.closed() == 1008
        third = await stack.enter_async_context(charger(b, "twice"))
        await third.call("Heartbeat", {})
        assert await second.closed() == 1008
        assert "currentTime" in await third.call("Heartbeat", {})
        epochs = [r.connection_epoch for r in log.of("ocpp.lifecycle", ConnectionOpened, "twice")]
        assert epochs == sorted(set(epochs))
        assert len(epochs) == 3
        newest = log.of("edge.connections", StationLocated, "twice")[-1]
        assert (newest.edge_id, newest.connected) == ("edge-1", True)
        # A stale record that comes after the newest is put right by its holder.
        stale = next(r for r in log.of("edge.connections", StationLocated, "twice") if r.edge_id == "edge-0")
        await log.publish("edge.connections", "twice", stale)
        await until(
            lambda: (
                log.of("edge.connections", StationLocated, "twice")[-1].connection_epoch == epochs[-1]
                and len(log.of("edge.connections", StationLocated, "twice")) >= 5
            )
        )
        assert "currentTime" in await third.call("Heartbeat", {})


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


async def test_kill_9_loses_no_answered_call_and_the_successor_buries_the_dead(
    bus: BusSettings, log: Log
) -> None:
    names = [f"victim-{n}" for n in range(10)]
    answered: dict[str, dict[str, Any]] = {name: {} for name in names}
    process = await EdgeProcess(bus, slot=3).start()
    stop = asyncio.Event()
    talkers = [asyncio.create_task(chatter(process, name, answered[name], stop)) for name in names]
    await until(lambda: all(len(seen) > 50 for seen in answered.values()))
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
    private_stack: Callable[..., Stack], namespace: str
) -> None:
    servers = await asyncio.to_thread(private_stack, clickhouse=False)
    settings = bus_settings(servers.endpoints, namespace)
    await apply_contract(settings)
    async with edge(settings, publish_timeout_s=2) as process:
        async with charger(process, "cut") as c:
            await c.call("BootNotification", BOOT_16)
            await asyncio.to_thread(servers.brokers[0].kill)
            with pytest.raises(ConnectionClosed):
                await call_for_ever(c)
            assert c.socket.close_code == 1013
        answered = dict(c.answered)
        await until(lambda: not process.is_ready(), what="not ready without Kafka")
        with pytest.raises(InvalidStatus) as refused:
            async with charger(process, "cut"):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        await asyncio.to_thread(servers.brokers[0].start)
        await until(process.is_ready, 60, "ready again")
        async with charger(process, "cut") as again:
            await again.call("BootNotification", BOOT_16)
        async with open_log(settings) as log:
            await logged_as_answered(log, "cut", answered | again.answered)
            # What happened while Kafka was away has been told since.
            await until(lambda: len(log.of("ocpp.lifecycle", ClosedRecord, "cut")) >= 2)
            assert log.of("ocpp.lifecycle", ClosedRecord, "cut")[0].reason == "bus"


async def test_a_frozen_peer_is_told_from_a_silent_one(bus: BusSettings, log: Log) -> None:
    """A socket whose peer answers neither frames nor pings is closed; one that answers pings stays."""
    options: dict[str, Any] = {"ping_after_s": 0.5, "silence_timeout_s": 1.5, "heartbeat_interval_s": 1}
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
    async with edge(bus, edge_processes=2) as process:
        names = [f"shared-{n}" for n in range(12)]

        async def connect_all() -> None:
            for name in names:
                async with charger(process, name) as c:
                    await c.call("Heartbeat", {})

        async def both_serve() -> bool:
            log.records.clear()
            try:
                await connect_all()
            except (OSError, ConnectionClosed, InvalidStatus):
                return False
            await until(lambda: len(log.of("ocpp.lifecycle", ConnectionOpened)) >= len(names))
            opened = log.of("ocpp.lifecycle", ConnectionOpened)
            return {r.slot for r in opened if r.station_id in names} == {0, 1}

        async def until_both_serve() -> None:
            async with asyncio.timeout(40):
                while not await both_serve():
                    pass

        await until_both_serve()
        children = process.children()
        assert len(children) == 2
        process.signal_child(children[0], signal.SIGKILL)
        await until_both_serve()
        assert len(process.children()) == 2
