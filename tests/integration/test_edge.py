"""The edge on real sockets and real Kafka: whatever a charger saw answered is in the log, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from libs.bus.settings import BusSettings
from libs.events.ids import new_id
from libs.events.ocpp_log import (
    ConnectionOpened,
    ConnectionRefused,
    FrameRejected,
    OcppCallReceived,
)
from libs.events.registry import BootStatus, StationRegistered, TokenRegistered, TokenStatus
from libs.ocpp.versions import Version
from libs.runtime.clock import now_us
from tests.integration.edge_process import (
    BOOT_2,
    BOOT_16,
    Charger,
    EdgeProcess,
    Log,
    calls,
    charger,
    edge,
    ending,
    leaving,
    logged_as_answered,
    stamp,
)
from tests.patience import WAIT_S, until


def station(station_id: str, **fields: Any) -> StationRegistered:
    now = now_us()
    base: dict[str, Any] = {"event_id": new_id(), "occurred_at": now, "recorded_at": now, "cause_id": "test"}
    return StationRegistered(**(base | {"station_id": station_id} | fields))


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
    process: EdgeProcess, log: Log, version: str, session: Callable[[Charger], Any]
) -> None:
    name = f"Session-{version}"
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
                    open_timeout=WAIT_S,
                    proxy=None,
                ):
                    pass
            assert refused.value.response.status_code == status
        refusals = {
            ("stranger", "unknown_station"),
            ("pending-2", "no_subprotocol"),
            ("elsewhere", "bad_identity"),
        }
        await until(
            lambda: refusals <= {(r.station_id, r.reason) for r in log.of("ocpp.rejected", ConnectionRefused)}
        )
        async with connect(
            f"ws://127.0.0.1:{process.port}/ocpp/QUIET-16", open_timeout=WAIT_S, proxy=None
        ) as socket:
            c = Charger(socket)
            assert (await c.call("Authorize", {"idTag": "BAD"}))["idTagInfo"]["status"] == "Blocked"
            assert (await c.call("Authorize", {"idTag": "who"}))["idTagInfo"]["status"] == "Invalid"
            await log.publish("registry.stations", "quiet-16", None)
            assert await c.closed() == 1008
        async with charger(process, "pending-2", "ocpp2.0.1") as c:
            assert (await c.call("BootNotification", BOOT_2))["status"] == "Pending"
            assert (await c.call("Heartbeat", {}))[2] == "SecurityError"
            await register("pending-2")
            async with asyncio.timeout(WAIT_S):
                while (told := await c.call("BootNotification", BOOT_2))["status"] != "Accepted":
                    pass
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


async def test_an_absurdly_large_frame_closes_the_socket_and_is_noted(process: EdgeProcess, log: Log) -> None:
    async with charger(process, "huge") as c:
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


@pytest.mark.parametrize("version", [str(version) for version in Version])
async def test_a_message_id_used_for_each_heartbeat_is_answered_with_the_time_that_it_is(
    process: EdgeProcess, log: Log, version: str
) -> None:
    """Boots and tokens likewise: their answers hold at their moment."""
    boot = BOOT_16 if version == "ocpp1.6" else BOOT_2
    token = {"idTag": "T"} if version == "ocpp1.6" else {"idToken": {"idToken": "T", "type": "ISO14443"}}
    station_id = f"one-id-{version}"
    async with charger(process, station_id, version) as c:
        for action, payload in (("BootNotification", boot), ("Heartbeat", {}), ("Authorize", token)):
            for _ in range(3):
                await c.call(action, payload, "1")
        await until(lambda: len(calls(log, station_id)) == 9)
        times = [record.recorded_at for record in calls(log, station_id) if record.action == "Heartbeat"]
        assert len(set(times)) == 3


async def test_a_repeated_call_gets_the_stored_answer_and_one_record(process: EdgeProcess, log: Log) -> None:
    start = {"connectorId": 1, "idTag": "TAG", "timestamp": stamp(), "meterStart": 100}
    async with charger(process, "repeat") as c:
        first = await c.call("StartTransaction", start, "same")
        assert await c.call("StartTransaction", start, "same") == first
        third = await c.call("StartTransaction", start, "other")
        assert third["transactionId"] == first["transactionId"]
        await c.call("Heartbeat", {})
    await logged_as_answered(log, "repeat", c.answered)
