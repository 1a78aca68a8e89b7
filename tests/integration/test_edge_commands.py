"""Commands on their way to a socket, and which socket that is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import orjson

from libs.bus.settings import BusSettings
from libs.events.commands import DispatchCommand
from libs.events.ids import new_id
from libs.events.ocpp_log import (
    CallOutcome,
    ConnectionOpened,
    DispatchRefused,
    FrameRejected,
    OcppCallSent,
    RefusalReason,
    StationLocated,
)
from libs.ocpp.errors import UNUSABLE_ANSWER
from libs.runtime.clock import now_us
from tests.integration.edge_process import BOOT_2, BOOT_16, Log, charger, edge, ending, location
from tests.patience import until


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
        "send_by": now + 60_000_000,
        "call_timeout_ms": 30_000,
    }
    return DispatchCommand(**(base | fields))


async def send_command(log: Log, dispatch: DispatchCommand) -> None:
    await log.publish("commands.dispatch", str(dispatch.slot), dispatch, partition=dispatch.slot)


async def refusals(log: Log, dispatch: DispatchCommand) -> list[DispatchRefused]:
    def found() -> list[DispatchRefused]:
        return [r for r in log.of("ocpp.commands", DispatchRefused) if r.cause_id == dispatch.event_id]

    await until(found, f"refusal of {dispatch.action}")
    return found()


async def sent(log: Log, dispatch: DispatchCommand) -> OcppCallSent:
    def found() -> list[OcppCallSent]:
        return [r for r in log.of("ocpp.commands", OcppCallSent) if r.cause_id == dispatch.event_id]

    await until(found, f"end of {dispatch.action}")
    (record,) = found()
    return record


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
        opened = await until(
            lambda: len(r := log.of("ocpp.lifecycle", ConnectionOpened, "twice")) == 3 and r,
            "three connections",
        )
        epochs = [r.connection_epoch for r in opened]
        assert epochs == sorted(set(epochs))

        def located() -> list[StationLocated]:
            return log.of("edge.connections", StationLocated, "twice")

        await until(lambda: any(r.connection_epoch == epochs[-1] for r in located()), "it is located")
        newest = await location(log, "twice")
        assert (newest.edge_id, newest.connected) == ("edge-1", True)
        # A stale record that comes after the newest is put right by its holder.
        stale = next(r for r in located() if r.edge_id == "edge-0")
        await log.publish("edge.connections", "twice", stale)
        await until(
            lambda: located().count(stale) == 2 and located()[-1].connection_epoch == epochs[-1],
            "it is put right",
        )
        assert "currentTime" in await third.call("Heartbeat", {})


async def test_a_password_that_a_station_tells_is_in_no_record(bus: BusSettings, log: Log) -> None:
    """Late, broken, in an odd form, or complained of: nothing of the answer that holds it is kept."""
    secret = "tells-everything-03"
    variable = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    async with (
        edge(bus, slot=3) as process,
        charger(process, "old-blab") as old,
        charger(process, "new-blab", "ocpp2.1") as new,
    ):
        await old.call("BootNotification", BOOT_16)
        await new.call("BootNotification", BOOT_2)
        located = await location(log, "old-blab")
        asked = dispatch_to(located, "GetConfiguration", {})
        await send_command(log, asked)
        await old.receive()
        key = {"key": "AuthorizationKey", "readonly": False, "value": secret}
        await old.send([3, asked.event_id, {"configurationKey": key}])
        record = await sent(log, asked)
        assert (record.outcome, record.result) == (
            CallOutcome.RESULT,
            orjson.dumps({"configurationKey": key | {"value": "***"}}).decode(),
        )
        late = [3, asked.event_id, {"configurationKey": [key]}]
        await old.send(late)
        await old.send([3, "no-call-of-ours", {"configurationKey": [key]}])
        await old.send(orjson.dumps(late).decode()[:-2])

        asked = dispatch_to(await location(log, "new-blab"), "GetVariables", {"getVariableData": [variable]})
        await send_command(log, asked)
        await new.receive()
        item = variable | {"attributeValue": secret, "attributeStatus": ["Accepted"]}
        await new.send([3, asked.event_id, {"getVariableResult": [[item]]}])
        record = await sent(log, asked)
        assert record.error is not None
        assert "the result is unusable" in record.error.description
        # It is not the station that reported an error.
        assert record.error.details == UNUSABLE_ANSWER
        assert secret not in orjson.dumps(await new.receive()).decode()

        def rejected() -> list[FrameRejected]:
            return log.of("ocpp.rejected", FrameRejected, "old-blab")

        await until(lambda: len(rejected()) == 3)
        assert [r.frame for r in rejected()] == [
            f'[3,"{late[1]}"',
            '[3,"no-call-of-ours"',
            f'[3,"{late[1]}"',
        ]
        assert rejected()[0].frame_bytes == len(orjson.dumps(late))
        await until(lambda: any(r.station_id == "new-blab" for r in log.of("ocpp.commands", OcppCallSent)))
    assert not [r for records in log.records.values() for r in records if secret in repr(r)]
