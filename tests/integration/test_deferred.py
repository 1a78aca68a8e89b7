"""Calls that a processor answers, from the charger's side and in the log."""

from __future__ import annotations

import time
from typing import Any

import orjson

from libs.bus.settings import BusSettings
from libs.events.commands import AnswerCall
from libs.events.ids import derive_id, new_id
from libs.events.ocpp_log import (
    AnswerSource,
    CallError,
    CallOutcome,
    FrameRejected,
    OcppCallAnswered,
    OcppCallReceived,
)
from libs.runtime.clock import now_us
from tests.integration.edge_process import BOOT_2, EdgeProcess, Log, calls, charger, edge, ending, location
from tests.integration.test_edge_commands import dispatch_to, send_command, sent
from tests.patience import until

GET_STATUS = {
    "ocspRequestData": {
        "hashAlgorithm": "SHA256",
        "issuerNameHash": "00",
        "issuerKeyHash": "01",
        "serialNumber": "02",
        "responderURL": "http://ocsp.example.com",
    }
}
GOOD = {"status": "Accepted", "ocspResult": "MAMCAQY="}
DEADLINE_S = 3


async def asked(log: Log, station_id: str, message_id: str) -> OcppCallReceived:
    """The record of a call as soon as it is in the log."""

    def found() -> OcppCallReceived | None:
        return next((r for r in calls(log, station_id) if r.message_id == message_id), None)

    await until(found, f"{message_id} is in the log")
    record = found()
    assert record is not None
    return record


async def answer(log: Log, call: OcppCallReceived, payload: object, **fields: Any) -> None:
    now, slot = now_us(), (await location(log, call.station_id)).slot
    base: dict[str, Any] = {
        "event_id": derive_id(call.event_id, "answer"),
        "occurred_at": now,
        "recorded_at": now,
        "cause_id": call.event_id,
        "station_id": call.station_id,
        "slot": slot,
        "connection_epoch": call.connection_epoch,
        "message_id": call.message_id,
        "action": call.action,
        "answer": None if payload is None else orjson.dumps(payload).decode(),
    }
    await log.publish("commands.dispatch", str(slot), AnswerCall(**(base | fields)), partition=slot)


def decided(log: Log, call: OcppCallReceived) -> list[OcppCallAnswered]:
    found = [*log.of("ocpp.lifecycle", OcppCallAnswered), *log.of("ocpp.transactions", OcppCallAnswered)]
    return [r for r in found if r.cause_id == call.event_id]


async def decision(log: Log, call: OcppCallReceived) -> OcppCallAnswered:
    """The one record of the answer to a call."""
    await until(lambda: decided(log, call), f"{call.message_id} is decided")
    (record,) = decided(log, call)
    return record


def dropped(process: EdgeProcess, reason: str) -> float:
    name = f'voltbus_edge_answers_dropped_total{{reason="{reason}"}}'
    return sum(float(line.split()[-1]) for line in process.metrics().splitlines() if line.startswith(name))


def deferring(seconds: float = DEADLINE_S) -> str:
    return f"GetCertificateStatus:{seconds},DataTransfer.data:{seconds},TransactionEvent.idToken:{seconds}"


async def test_a_processor_answers_and_only_its_first_fitting_word_counts(bus: BusSettings, log: Log) -> None:
    async with (
        edge(bus, slot=1, deferred=deferring(30)) as process,
        charger(process, "asks", "ocpp2.0.1") as c,
    ):
        await c.call("BootNotification", BOOT_2)
        await c.send([2, "q1", "GetCertificateStatus", GET_STATUS])
        call = await asked(log, "asks", "q1")
        assert (call.pending, call.answer, call.error) == (True, None, None)
        await answer(log, call, GOOD, connection_epoch=call.connection_epoch - 1)
        await answer(log, call, GOOD, cause_id=new_id())
        await answer(log, call, {"status": "Sometimes"})
        await answer(log, call, GOOD)
        await answer(log, call, {"status": "Failed"})
        assert await c.receive() == [3, "q1", GOOD]
        record = await decision(log, call)
        assert (record.source, record.answer) == (AnswerSource.PROCESSOR, orjson.dumps(GOOD).decode())
        # A repetition is answered from memory, and is nothing new in the log.
        await c.send([2, "q1", "GetCertificateStatus", GET_STATUS])
        assert await c.receive() == [3, "q1", GOOD]

        await c.send([2, "q2", "GetCertificateStatus", GET_STATUS])
        call = await asked(log, "asks", "q2")
        await answer(log, call, None, error=CallError(code="InternalError", description="no", details="{}"))
        assert await c.receive() == [4, "q2", "InternalError", "no", {}]
        assert (await decision(log, call)).error is not None
        await until(lambda: dropped(process, "late") == 2 and dropped(process, "invalid") == 1)


async def test_a_processor_that_is_down_costs_the_deadline_and_no_more(bus: BusSettings, log: Log) -> None:
    async with (
        edge(bus, slot=2, deferred=deferring()) as process,
        charger(process, "alone", "ocpp2.0.1") as c,
    ):
        await c.call("BootNotification", BOOT_2)
        # What is not deferred, or lacks the field, is answered at once.
        assert await c.call("DataTransfer", {"vendorId": "x"}, "q0") == {"status": "UnknownVendorId"}
        assert not (await asked(log, "alone", "q0")).pending
        begun = time.monotonic()
        assert await c.call("GetCertificateStatus", GET_STATUS, "q1") == {"status": "Failed"}
        assert time.monotonic() - begun >= DEADLINE_S - 0.1
        call = await asked(log, "alone", "q1")
        record = await decision(log, call)
        assert (record.source, record.answer) == (AnswerSource.FALLBACK, '{"status":"Failed"}')
        await answer(log, call, GOOD)
        await until(lambda: dropped(process, "late") == 1)
        assert "currentTime" in await c.call("Heartbeat", {})
        assert len(decided(log, call)) == 1


async def test_while_a_call_waits_commands_go_on_and_the_next_call_waits(bus: BusSettings, log: Log) -> None:
    async with (
        edge(bus, slot=3, deferred=deferring(30)) as process,
        charger(process, "busy", "ocpp2.0.1") as c,
        charger(process, "other", "ocpp2.0.1") as other,
    ):
        await c.call("BootNotification", BOOT_2)
        await other.call("BootNotification", BOOT_2)
        located = await location(log, "busy")
        await c.send([2, "q1", "GetCertificateStatus", GET_STATUS])
        call = await asked(log, "busy", "q1")
        for status in ("Accepted", "Rejected"):
            command = dispatch_to(located, "ClearCache", {})
            await send_command(log, command)
            frame = await c.receive()
            assert frame[2] == "ClearCache"
            await c.send([3, frame[1], {"status": status}])
            record = await sent(log, command)
            assert (record.outcome, record.result) == (CallOutcome.RESULT, f'{{"status":"{status}"}}')
        await c.send([3, "no-call-of-ours", {}])
        await c.send([2, "q2", "Heartbeat", {}])
        assert "currentTime" in await other.call("Heartbeat", {})
        assert [r.message_id for r in calls(log, "busy") if r.message_id in {"q1", "q2"}] == ["q1"]
        await answer(log, call, GOOD)
        assert (await c.receive())[:2] == [3, "q1"]
        assert (await c.receive())[:2] == [3, "q2"]


async def test_an_answer_for_a_connection_that_is_gone_reaches_nobody(bus: BusSettings, log: Log) -> None:
    async with edge(bus, slot=1, edge_id="edge-gone", deferred=deferring(30)) as process:
        async with charger(process, "leaves", "ocpp2.0.1") as c:
            await c.call("BootNotification", BOOT_2)
            await c.send([2, "q1", "GetCertificateStatus", GET_STATUS])
            call = await asked(log, "leaves", "q1")
        # Its end is in the log long before the deadline.
        await ending(log, "leaves")
        await answer(log, call, GOOD)
        await until(lambda: dropped(process, "gone") == 1)
        assert decided(log, call) == []
        async with charger(process, "leaves", "ocpp2.0.1") as c:
            await answer(log, call, GOOD)
            assert "status" in await c.call("BootNotification", BOOT_2)
            await until(lambda: dropped(process, "gone") == 2)


async def test_tokens_of_pending_events_are_judged_by_the_answer(bus: BusSettings, log: Log) -> None:
    async with (
        edge(bus, slot=2, edge_id="edge-tokens", deferred=deferring(30)) as process,
        charger(process, "pays", "ocpp2.0.1") as c,
    ):
        await c.call("BootNotification", BOOT_2)
        event = {
            "eventType": "Started",
            "timestamp": "2026-01-01T00:00:00Z",
            "triggerReason": "Authorized",
            "seqNo": 0,
            "transactionInfo": {"transactionId": "t-1"},
            "idToken": {"idToken": "CARD", "type": "ISO14443"},
        }
        await c.send([2, "q1", "TransactionEvent", event])
        call = await asked(log, "pays", "q1")
        assert call in log.of("ocpp.transactions", OcppCallReceived, "pays")
        verdict = {"idTokenInfo": {"status": "NoCredit"}}
        await answer(log, call, verdict)
        assert await c.receive() == [3, "q1", verdict]
        assert [await decision(log, call)] == log.of("ocpp.transactions", OcppCallAnswered, "pays")


async def test_what_comes_meanwhile_settles_commands_at_once_and_is_recorded_afterwards_in_order(
    bus: BusSettings, log: Log
) -> None:
    async with (
        edge(bus, slot=1, edge_id="edge-meanwhile", deferred=deferring(30)) as process,
        charger(process, "chatty", "ocpp2.0.1") as c,
    ):
        await c.call("BootNotification", BOOT_2)
        located = await location(log, "chatty")
        await c.send([2, "q1", "GetCertificateStatus", GET_STATUS])
        call = await asked(log, "chatty", "q1")
        command = dispatch_to(located, "ClearCache", {})
        await send_command(log, command)
        assert (await c.receive())[2] == "ClearCache"
        # It cannot be read, but it is the answer.
        await c.send(f'[3,"{command.event_id}",{{"status"')
        assert (await sent(log, command)).outcome is CallOutcome.ERROR
        # More of them than are looked at while it waits.
        strays = [f"stray-{number}" for number in range(6)]
        for stray in strays:
            await c.send([3, stray, {}])
        assert not rejected(log, "chatty")
        await answer(log, call, GOOD)
        assert await c.receive() == [3, "q1", GOOD]
        await until(lambda: len(rejected(log, "chatty")) == 1 + len(strays))
        assert [r.message_id for r in rejected(log, "chatty")] == [command.event_id, *strays]
        assert "currentTime" in await c.call("Heartbeat", {})


def rejected(log: Log, station_id: str) -> list[FrameRejected]:
    return log.of("ocpp.rejected", FrameRejected, station_id)
