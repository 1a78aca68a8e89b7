"""What the command ledger tells bulk commands."""

from __future__ import annotations

import json

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.bulk import BulkStationProgressed, BulkStationStatus
from libs.events.commands import DispatchCommand
from libs.events.ocpp_log import CallError, CallOutcome, OcppCallSent
from services.commands.domain.ledger.ledger import Ledger
from services.commands.domain.ledger.processor import CommandsProcessor
from tests.unit.commands.test_commands import SECOND, STATION, at, located, request


def test_a_bulk_command_is_told_the_fate_of_its_command_and_of_no_other() -> None:
    runtime: MemoryRuntime[Ledger] = MemoryRuntime(CommandsProcessor())
    runtime.feed("commands.requested", STATION, request("single", 0))
    runtime.feed("commands.requested", STATION, request("one of many", 0, bulk_id="bulk"))
    out = runtime.tick(at(60))
    assert [(e.topic, e.key) for e in out] == [
        ("commands.outcomes", STATION),
        ("commands.outcomes", STATION),
        ("commands.bulk-stations", "bulk"),
    ]
    told = out[-1].record
    assert isinstance(told, BulkStationProgressed)
    assert (told.bulk_id, told.station_id, told.command_id) == ("bulk", STATION, "one of many")
    assert (told.status, told.reason) == (
        BulkStationStatus.TIMED_OUT,
        "the station was not connected in time",
    )


def test_a_bulk_command_is_told_each_fate_as_it_is() -> None:
    found = {}
    for outcome in CallOutcome:
        for result in ("Accepted", "Rejected") if outcome is CallOutcome.RESULT else ("",):
            runtime: MemoryRuntime[Ledger] = MemoryRuntime(CommandsProcessor())
            runtime.feed("edge.connections", STATION, located(1, 0))
            (dispatched, *_) = runtime.feed("commands.requested", STATION, request("c", 1, bulk_id="bulk"))
            assert isinstance(dispatched.record, DispatchCommand)
            call = OcppCallSent(
                event_id="call",
                occurred_at=at(2),
                recorded_at=at(2),
                cause_id=dispatched.record.event_id,
                station_id=STATION,
                connection_epoch=1,
                edge_id="edge",
                version="ocpp1.6",
                command_id="c",
                message_id="m",
                action="Reset",
                payload="{}",
                outcome=outcome,
                result=json.dumps({"status": result}) if result else None,
                error=CallError(code="InternalError", details="{}") if outcome is CallOutcome.ERROR else None,
                sent_at=at(1),
                round_trip_us=SECOND,
            )
            told = runtime.feed("ocpp.commands", STATION, call)[-1].record
            assert isinstance(told, BulkStationProgressed)
            found[outcome.value + result] = told.status.value
    assert found == {
        "RESULTAccepted": "ACCEPTED",
        "RESULTRejected": "REJECTED",
        "ERROR": "FAILED",
        "TIMEOUT": "TIMED_OUT",
        "CONNECTION_LOST": "TIMED_OUT",
        "UNKNOWN": "TIMED_OUT",
    }
