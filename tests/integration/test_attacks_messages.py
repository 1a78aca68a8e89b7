"""Attacks on a charging network, each with what it comes to nothing by: what stations say."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from websockets.exceptions import ConnectionClosed

from libs.bus.settings import BusSettings
from libs.events.ocpp_log import (
    CallOutcome,
    FrameRejected,
    OcppCallSent,
)
from libs.events.sessions import CdrIssued, SessionEnded, SessionStarted
from libs.ocpp.routing import ROUTES
from libs.ocpp.versions import Version
from libs.runtime.clock import SECOND, now_us
from tests.integration.attack_rig import (
    FORGED,
    FORMULA,
    SCRIPT,
    billed,
    calls,
    internal_errors,
    most_memory,
    overheard,
    start,
)
from tests.integration.edge_process import (
    BOOT_2,
    BOOT_16,
    Log,
    charger,
    edge,
    location,
    logged_as_answered,
    stamp,
)
from tests.integration.test_edge_commands import dispatch_to, send_command, sent
from tests.patience import until

# --- what somebody says


async def test_stopping_another_chargers_transaction(bus: BusSettings, log: Log) -> None:
    """It is confirmed, for a station must not retry for ever, and has no effect on whose transaction it is."""
    async with edge(bus) as process:
        async with charger(process, "owner") as owner, charger(process, "thief") as thief:
            number = (await owner.call("StartTransaction", start()))["transactionId"]
            stop = {"transactionId": number, "timestamp": stamp(), "meterStop": 101}
            assert "idTagInfo" not in await thief.call("StopTransaction", stop)
            meter = {"timestamp": stamp(), "sampledValue": [{"value": "5000000"}]}
            values = {"connectorId": 1, "transactionId": number, "meterValue": [meter]}
            assert await thief.call("MeterValues", values) == {}
            await owner.call("StopTransaction", stop | {"meterStop": 10_100})
        await until(lambda: calls(log, "owner", "StopTransaction") and calls(log, "thief", "MeterValues"))
        records = billed(log, "owner", "thief")
        (ended,) = [r for r in records if isinstance(r, SessionEnded) and r.station_id == "owner"]
        assert (ended.energy_wh, ended.review) == (10_000, ())
        assert not [
            r for r in records if isinstance(r, CdrIssued) and r.amount_minor and r.station_id == "thief"
        ]
        # Ids are not to be guessed: those of neighbours in everything are far apart.
        async with charger(process, "owner") as owner:
            ids = [(await owner.call("StartTransaction", start(meter=n)))["transactionId"] for n in range(8)]
        assert min(abs(a - b) for a in ids for b in ids if a != b) > 1000


async def test_extreme_dates(bus: BusSettings, log: Log) -> None:
    dates = [
        "1970-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "222222017-01-01T00:00:00Z",
        "2026-02-30T25:61:61Z",
        "-1",
        "9" * 400,
        "2026-01-01T00:00:00+99:99",
    ]
    async with edge(bus, garbage_limit=1000) as process:
        async with charger(process, "dated") as station:
            for number, date in enumerate(dates):
                answer = await station.call("StartTransaction", start(meter=number, at=date))
                assert isinstance(answer, list) or answer["transactionId"] > 0
            assert "currentTime" in await station.call("Heartbeat", {})
        assert internal_errors(process) == 0
    await logged_as_answered(log, "dated", station.answered)
    started = calls(log, "dated", "StartTransaction")
    assert started
    for call in started:
        assert abs(call.occurred_at - call.recorded_at) < 60 * SECOND
        assert call.quirks
    assert all(r.started_at > 0 for r in billed(log, "dated") if isinstance(r, SessionStarted))


async def test_oversize_nested_and_deflate_bomb_frames(bus: BusSettings, log: Log) -> None:
    """None costs more than its size; the first two are answered, what is absurd ends the connection."""
    async with edge(bus, garbage_limit=100) as process:
        async with charger(process, "bomber", "ocpp2.0.1") as station:
            await station.call("BootNotification", BOOT_2)
        before = most_memory(process)
        async with charger(process, "bomber", "ocpp2.0.1") as station:
            for frame in (
                '[2,"m1","DataTransfer",{"vendorId":"' + "x" * 300_000 + '"}]',
                '[2,"m1","DataTransfer",{"data":' + "[" * 100_000 + "]" * 100_000 + "}]",
                "[" * 200_000,
                '[2,"m1","DataTransfer",{"data":' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}]",
            ):
                await station.send(frame)
                assert (await station.receive())[0] == 4
            assert "currentTime" in await station.call("Heartbeat", {})

        async def explodes(pieces: list[str]) -> None:
            async with charger(process, "bomber", "ocpp2.0.1", max_size=None) as station:
                assert station.socket.protocol.extensions
                with suppress(ConnectionClosed):
                    await station.socket.send(pieces if len(pieces) > 1 else pieces[0])
                assert await station.closed() == 1009

        await explodes(["x" * (50 << 20)])
        await explodes(["x" * (1 << 19)] * 100)
        assert most_memory(process) - before < 40 * 1024
        async with charger(process, "bomber", "ocpp2.0.1") as station:
            assert "currentTime" in await station.call("Heartbeat", {})
        assert internal_errors(process) == 0


async def test_malformed_fields(bus: BusSettings, log: Log) -> None:
    """Whatever stands in any field of any action, the process lives, and others are served."""
    odd: list[Any] = [None, True, -1, 2**70, 1e308, "", "\x00", "\ud83d\ude00" * 100, [], [[]], {}, {"a": {}}]
    fields = ["timestamp", "idTag", "connectorId", "meterValue", "transactionId", "meterStart", "vendorId",
              "evse", "idToken", "transactionInfo", "eventType", "seqNo", "customData", "chargingStation",
              "certificate", "requestId", "status"]  # fmt: skip
    async with edge(bus, garbage_limit=5) as process, charger(process, "bystander") as bystander:
        for version in (Version.V16, Version.V201, Version.V21):
            async with charger(process, f"malformed-{version}", version) as station:
                for action, route in ROUTES[version].items():
                    if not route.to_csms or route.is_send:
                        continue
                    for number, value in enumerate(odd):
                        payload = dict.fromkeys(fields, value)
                        await station.send(json.dumps([2, f"{action[:20]}-{number}", action, payload]))
                        assert (await station.receive())[0] in (3, 4)
        assert "currentTime" in await bystander.call("Heartbeat", {})
        assert internal_errors(process) == 0


async def test_replayed_calls(bus: BusSettings, log: Log) -> None:
    """The same message is answered as before and counts once, on the same connection or another."""
    async with edge(bus) as process:
        begin = start()
        async with charger(process, "replay") as station:
            first = await station.call("StartTransaction", begin, "same")
            assert await station.call("StartTransaction", begin, "same") == first
            stop = {"transactionId": first["transactionId"], "timestamp": stamp(), "meterStop": 1_100}
            await station.call("StopTransaction", stop)
        async with charger(process, "replay") as station:
            assert await station.call("StartTransaction", begin, "same") == first
            for _ in range(3):
                assert await station.call("StopTransaction", stop) is not None
        await until(lambda: len(calls(log, "replay", "StopTransaction")) == 4)
        records = billed(log, "replay")
        assert len([r for r in records if isinstance(r, SessionStarted)]) == 1
        (bill,) = [r for r in records if isinstance(r, CdrIssued)]
        assert bill.energy_wh == 1_000


async def test_forged_callresults(bus: BusSettings, log: Log) -> None:
    """An answer counts only from the station that was asked, to the message that it was asked by."""
    async with (
        edge(bus) as process,
        charger(process, "asked") as station,
        charger(process, "forger") as forger,
    ):
        await station.call("BootNotification", BOOT_16)
        await forger.call("BootNotification", BOOT_16)
        dispatch = dispatch_to(await location(log, "asked"), "Reset", {"type": "Hard"})
        await send_command(log, dispatch)
        frame = await station.receive()
        await forger.send([3, frame[1], {"status": "Accepted"}])
        await forger.call("Heartbeat", {})
        await station.send([3, "another-id", {"status": "Accepted"}])
        await station.call("Heartbeat", {})
        assert not log.of("ocpp.commands", OcppCallSent)
        await station.send([3, frame[1], {"status": "Rejected"}])
        record = await sent(log, dispatch)
        assert (record.outcome, record.result) == (CallOutcome.RESULT, '{"status":"Rejected"}')
        await station.send([3, frame[1], {"status": "Accepted"}])
        # What is sent behind them all is answered for once more: those before it were for nothing.
        last = dispatch_to(await location(log, "asked"), "ClearCache", {})
        await send_command(log, last)
        await station.send([3, (await station.receive())[1], {"status": "Accepted"}])
        await sent(log, last)
        assert [r.cause_id for r in log.of("ocpp.commands", OcppCallSent, "asked")] == [
            dispatch.event_id,
            last.event_id,
        ]
        await until(
            lambda: (
                [len(log.of("ocpp.rejected", FrameRejected, name)) for name in ("asked", "forger")] == [2, 1]
            )
        )
        for name in ("asked", "forger"):
            assert not any(r.answered for r in log.of("ocpp.rejected", FrameRejected, name))


async def test_falsified_meter_values(bus: BusSettings, log: Log) -> None:
    """A register that cannot be true is not billed without a word: somebody is asked to look."""
    async with edge(bus) as process:
        for name, begun, ended in [("backward", 50_000, 40_000), ("absurd", 0, 9_000_000)]:
            async with charger(process, name) as station:
                number = (await station.call("StartTransaction", start(meter=begun)))["transactionId"]
                stop = {"transactionId": number, "timestamp": stamp(), "meterStop": ended}
                await station.call("StopTransaction", stop)
        async with charger(process, "dips") as station:
            begun_at = now_us() - 8 * 60 * SECOND
            call = start(meter=1_000, at=stamp(begun_at))
            number = (await station.call("StartTransaction", call))["transactionId"]
            for minutes, value in ((2, "5000"), (4, "200"), (6, "6000")):
                at = stamp(begun_at + minutes * 60 * SECOND)
                meter = {"timestamp": at, "sampledValue": [{"value": value}]}
                await station.call(
                    "MeterValues", {"connectorId": 1, "transactionId": number, "meterValue": [meter]}
                )
            await station.call(
                "StopTransaction", {"transactionId": number, "timestamp": stamp(), "meterStop": 6_000}
            )
        await until(
            lambda: all(calls(log, name, "StopTransaction") for name in ("backward", "absurd", "dips"))
        )
    for name, doubt in [
        ("backward", "meter_rollback"),
        ("absurd", "implausible_energy"),
        ("dips", "meter_rollback"),
    ]:
        bill = [r for r in billed(log, name) if isinstance(r, CdrIssued)][-1]
        assert doubt in bill.review
        assert bill.energy_wh >= 0


async def test_script_csv_and_log_injection(bus: BusSettings, log: Log, tmp_path: Path) -> None:
    """What a station calls itself is kept as data, and nothing that it says begins a line of a log."""
    async with overheard(bus, tmp_path / "log", log_level="DEBUG", garbage_limit=100) as process:
        async with charger(process, "injector") as station:
            boot = {"chargePointVendor": FORMULA, "chargePointModel": SCRIPT[:20], "firmwareVersion": FORGED}
            answer = await station.call("BootNotification", boot)
            assert answer["status"] == "Accepted"
            await station.call("Authorize", {"idTag": FORGED[:20]})
            await station.call("StartTransaction", start(tag=FORMULA))
            await station.send([2, FORGED, FORGED, {FORGED: FORGED}])
            await station.receive()
            await station.send([3, FORGED, {}])
            await station.call("Heartbeat", {})
        for path in (
            "/ocpp/%0a%7B%22event%22:%22forged%22%7D",
            "/ocpp/x%0d%0aSet-Cookie:a",
            f"/ocpp/{FORGED}",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = await reader.read()
            assert b"Set-Cookie" not in answer
            assert b"forged" not in answer
            writer.close()
        (boot_call,) = await until(lambda: calls(log, "injector", "BootNotification"))
        assert orjson.loads(boot_call.payload)["chargePointVendor"] == FORMULA
    lines = process.said.splitlines()
    assert any("station_connected" in line for line in lines)
    for line in lines:
        record = orjson.loads(line)
        assert record["event"] != "forged"
    assert "\x1b" not in process.said
