"""Records of an OCPP version that only a newer release knows: its edges run beside the older processors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from libs.bus.message import Message
from libs.bus.processor import Processor
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.ids import derive_id
from libs.events.ocpp_log import CallOutcome, OcppCallReceived, OcppCallSent
from libs.events.record import Record
from libs.ocpp.routing import ROUTES
from libs.ocpp.versions import Version
from tests.contract.test_processors import PROCESSORS
from tests.unit.ocpp.minimal import minimal

NEWER = "ocpp9.9"
NOW = 1_795_348_800_000_000


def envelope(name: str) -> dict[str, Any]:
    event_id = derive_id(NEWER, name)
    times = {"occurred_at": NOW, "recorded_at": NOW}
    return {"event_id": event_id, "cause_id": event_id, "station_id": "cp1", "connection_epoch": 1, **times}


def received(version: Version) -> list[tuple[str, Record]]:
    """What an edge of a newer release records of calls that look like those of today."""
    return [
        (
            route.topic,
            OcppCallReceived(
                **envelope(f"{version}:{action}"),
                edge_id="edge-0",
                version=NEWER,
                message_id="m",
                action=action,
                payload=json.dumps(minimal(version, action, "request")),
                answer="{}" if route.is_send else json.dumps(minimal(version, action, "response")),
                quirks=("number_for_string",),
            ),
        )
        for action, route in ROUTES[version].items()
        if route.to_csms
    ]


def sent(version: Version) -> list[tuple[str, Record]]:
    return [
        (
            "ocpp.commands",
            OcppCallSent(
                **envelope(f"{version}:{action}:sent"),
                edge_id="edge-0",
                command_id=f"c-{action}",
                version=NEWER,
                message_id="m",
                action=action,
                payload=json.dumps(minimal(version, action, "request")),
                outcome=CallOutcome.RESULT,
                result=json.dumps(minimal(version, action, "response")),
                sent_at=NOW,
                round_trip_us=1,
            ),
        )
        for action, route in ROUTES[version].items()
        if route.to_station and not route.is_send
    ]


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: processor.name)
def test_no_processor_makes_a_dead_letter_of_them(processor: Processor[Any]) -> None:
    runtime: MemoryRuntime[Any] = MemoryRuntime(processor)
    for version in Version:
        for number, (topic, record) in enumerate([*received(version), *sent(version)]):
            if topic in processor.inputs:
                runtime.handle(Message(topic, 0, number, "cp1", record, NOW))
    assert runtime.dead == []
