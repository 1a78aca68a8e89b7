"""Provisioning on real Kafka: what stations tell is learned once, and decides what the ledger sends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.devstack import Endpoints
from libs.events.commands import CommandConcluded, CommandDialect, DispatchCommand, Fate, RequestCommand
from libs.events.ids import derive_id
from libs.events.ocpp_log import CallError, CallOutcome, OcppCallReceived, OcppCallSent, StationLocated
from libs.events.registry import StationRegistered
from libs.events.stations import CapabilitiesLearned
from libs.ocpp.semantics.commands import Command, SetLimit
from libs.ocpp.semantics.dialect import to_request
from libs.runtime.clock import SECOND, now_us
from tests.integration.processor_rig import KILLS, Rig, by_id, copy_log, kill_repeatedly, open_rig, running
from tests.integration.service_process import ServiceProcess

LIMIT = SetLimit(evse_id=1, transaction_id="7", limit_milliamp=16_000, profile_id=5, stack_level=0, phases=1)
STATIONS = 20


@pytest.fixture
async def rig(stack: Endpoints, namespace: str) -> AsyncIterator[Rig]:
    async with open_rig(stack, namespace) as rig:
        yield rig


def envelope(event_id: str, station_id: str) -> dict[str, Any]:
    now = now_us()
    return {
        "event_id": event_id,
        "occurred_at": now,
        "recorded_at": now,
        "cause_id": event_id,
        "station_id": station_id,
    }


def boot(station_id: str, firmware: str, status: str = "Accepted") -> OcppCallReceived:
    return OcppCallReceived(
        **envelope(derive_id(station_id, f"boot:{firmware}:{status}"), station_id),
        connection_epoch=1,
        edge_id="edge-0",
        version="ocpp1.6",
        message_id="m",
        action="BootNotification",
        payload=json.dumps(
            {"chargePointVendor": "Volt", "chargePointModel": "Two", "firmwareVersion": firmware}
        ),
        answer=json.dumps({"status": status, "interval": 60, "currentTime": "2026-01-01T00:00:00Z"}),
    )


def answered(dispatch: DispatchCommand, result: dict[str, Any] | None) -> OcppCallSent:
    """What an edge says of a dispatch; without a result the station does not implement it."""
    # Later than what led to it, in Kafka's milliseconds too.
    now = now_us() + 10_000
    fields = envelope(derive_id(dispatch.event_id, "sent"), dispatch.station_id)
    return OcppCallSent(
        **fields | {"cause_id": dispatch.event_id, "occurred_at": now, "recorded_at": now},
        connection_epoch=dispatch.connection_epoch,
        edge_id="edge-0",
        command_id=dispatch.command_id,
        version="ocpp1.6",
        message_id="m",
        action=dispatch.action,
        payload=dispatch.payload,
        outcome=CallOutcome.RESULT if result is not None else CallOutcome.ERROR,
        result=None if result is None else json.dumps(result),
        error=None if result is not None else CallError(code="NotImplemented", details="{}"),
        sent_at=now,
        round_trip_us=1,
    )


def located(station_id: str) -> StationLocated:
    return StationLocated(
        **envelope(derive_id(station_id, "located"), station_id),
        edge_id="edge-0",
        slot=0,
        connection_epoch=1,
        version="ocpp1.6",
        connected=True,
    )


def wanted(station_id: str, name: str, command: Command) -> RequestCommand:
    action, payload = to_request(command)
    return RequestCommand(
        **envelope(name, station_id),
        action=action,
        payload=payload,
        dialect=CommandDialect.VOLTBUS,
        requested_by="test",
        expires_at=now_us() + 120 * SECOND,
    )


async def test_what_a_station_said_when_it_booted_decides_what_it_is_sent(rig: Rig) -> None:
    provisioning = ServiceProcess("provisioning", rig.bus.settings, on_boot="limits")
    rig.follow("stations.capabilities", "commands.outcomes", "commands.dispatch", "commands.requested")
    certified = StationRegistered(**envelope("r", "certified"), certification=True)
    await rig.publish("registry.stations", "certified", certified)
    provisioning.start()
    try:
        with running("commands", rig) as commands:
            await rig.ready(provisioning)
            await rig.ready(commands)
            for station in ("cp1", "certified"):
                await rig.publish("edge.connections", station, located(station))
            for booting in (
                boot("certified", "1.0"),
                boot("rejected", "1.0", "Rejected"),
                boot("cp1", "1.0"),
            ):
                await rig.publish("ocpp.lifecycle", booting.station_id, booting)

            await rig.until(lambda: rig.messages["commands.dispatch"], "a question for the limits")
            (sizes,) = rig.records("commands.dispatch", DispatchCommand)
            assert (sizes.station_id, sizes.payload) == ("cp1", '{"key":["GetConfigurationMaxKeys"]}')
            await rig.publish("ocpp.commands", "cp1", answered(sizes, {"configurationKey": []}))
            await rig.until(lambda: len(rig.messages["commands.dispatch"]) == 2, "the rest of the question")
            asked = rig.records("commands.dispatch", DispatchCommand)[1]
            assert (asked.station_id, asked.action) == ("cp1", "GetConfiguration")
            told = {
                "SupportedFeatureProfiles": "Core,SmartCharging",
                "ChargingScheduleAllowedChargingRateUnit": "Power",
            }
            keys = [{"key": name, "readonly": True, "value": value} for name, value in told.items()]
            await rig.publish("ocpp.commands", "cp1", answered(asked, {"configurationKey": keys}))

            def known() -> list[CapabilitiesLearned]:
                learned = rig.records("stations.capabilities", CapabilitiesLearned)
                return [each for each in learned if each.station_id == "cp1"]

            await rig.until(lambda: len(known()) >= 2, "what it can do")
            assert known()[-1].features == ("Core", "SmartCharging")
            await rig.publish("commands.requested", "cp1", wanted("cp1", "limit-1", LIMIT))
            await rig.until(lambda: len(rig.messages["commands.dispatch"]) == 3, "the limit")
            limit = rig.records("commands.dispatch", DispatchCommand)[2]
            schedule = json.loads(limit.payload)["csChargingProfiles"]["chargingSchedule"]
            assert (schedule["chargingRateUnit"], schedule["chargingSchedulePeriod"][0]["limit"]) == (
                "W",
                3680.0,
            )
            await rig.publish("ocpp.commands", "cp1", answered(limit, None))
            await rig.until(lambda: len(known()) >= 3, "what it cannot do")
            assert known()[-1].lacking == ("SetChargingProfile",)
            await rig.publish("commands.requested", "cp1", wanted("cp1", "limit-2", LIMIT))

            def fates() -> dict[str, CommandConcluded]:
                return {c.command_id: c for c in rig.records("commands.outcomes", CommandConcluded)}

            await rig.until(lambda: "limit-2" in fates(), "the fates")
            first, second = fates()["limit-1"], fates()["limit-2"]
            assert (first.fate, first.degraded) == (Fate.FAILED, "limit_in_watts")
            assert (second.fate, second.reason, second.attempts) == (
                Fate.FAILED,
                "unsupported: SetChargingProfile",
                0,
            )
    finally:
        assert provisioning.stop() == 0
    await rig.whole("commands.requested")
    onboarding = [
        each
        for each in rig.records("commands.requested", RequestCommand)
        if each.requested_by == "onboarding"
    ]
    assert [each.station_id for each in onboarding] == ["cp1"]


@pytest.mark.chaos
async def test_killed_again_and_again_it_learns_everything_once(
    rig: Rig, stack: Endpoints, namespace: str
) -> None:
    stations = [f"cp{number}" for number in range(STATIONS)]
    topics = ("ocpp.lifecycle", "ocpp.commands")
    rig.follow("stations.capabilities", *topics)

    def learned(of: Rig) -> dict[str, CapabilitiesLearned]:
        return {each.station_id: each for each in of.records("stations.capabilities", CapabilitiesLearned)}

    def complete() -> bool:
        final = learned(rig)
        return all(s in final and final[s].firmware == "2.0" and final[s].lacking for s in stations)

    with running("provisioning", rig) as service:
        killer = asyncio.create_task(
            kill_repeatedly(
                rig,
                service,
                [STATIONS // 2 * mark for mark in range(1, KILLS + 1)],
                lambda: len(rig.messages["stations.capabilities"]),
            )
        )
        for round_no, firmware in enumerate(("1.0", "1.1", "2.0")):
            for station in stations:
                await rig.publish("ocpp.lifecycle", station, boot(station, firmware))
                dispatch = DispatchCommand(
                    **envelope(derive_id(station, f"log:{round_no}"), station),
                    command_id=f"log-{station}-{round_no}",
                    slot=0,
                    connection_epoch=1,
                    attempt=1,
                    action="GetLog",
                    payload="{}",
                    send_by=0,
                    call_timeout_ms=1,
                )
                await rig.publish("ocpp.commands", station, answered(dispatch, None))
        await rig.until(complete, "everything learned")
        await killer
        await rig.ready(service)
    await rig.whole("stations.capabilities", *topics)
    before = by_id(rig.messages["stations.capabilities"])

    async with open_rig(stack, f"{namespace}r") as again:
        await copy_log(rig, again, *topics)
        again.follow("stations.capabilities")
        with running("provisioning", again):
            await again.until(lambda: learned(again) == learned(rig), "the same, replayed")
        await again.whole("stations.capabilities")
        assert by_id(again.messages["stations.capabilities"]) == before
