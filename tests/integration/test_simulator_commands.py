"""Virtual chargers that are commanded: limits, firmware, remote starts, and an answer to everything."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.simulator_central import Call, Central
from tests.integration.simulator_play import (
    STATIONS,
    TRANSACTIONAL,
    arrival,
    assert_truths_arrived,
    one,
    playing,
)
from tests.patience import until


@pytest.mark.parametrize("make", ["Norvolt", "AmperaAC"])
async def test_charging_profiles_limit_the_power(make: str) -> None:
    station_id = STATIONS[make]
    cars = [arrival(make, evse_id=evse_id, energy_wh=60_000, max_power_w=22_080) for evse_id in (1, 2)]
    async with Central() as central, playing(one(make, *cars, speed=60, hours=9), central) as fleet:
        charger = fleet.chargers[station_id]

        def powers() -> list[int]:
            return [evse.power_w for evse in charger.evses.values()]

        def sampled() -> set[float]:
            found = set()
            for call in central.of(station_id, "MeterValues", "TransactionEvent")[-2:]:
                sample = call.payload["meterValue"][0]["sampledValue"]
                found.add(float(sample[1]["value"]))
            return found

        async def profile(number: int, evse_id: int, purpose: str, limit: float, unit: str = "A") -> str:
            schedule: dict[str, Any] = {
                "chargingRateUnit": unit,
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
            }
            body: dict[str, Any] = {
                "stackLevel": 0,
                "chargingProfilePurpose": purpose,
                "chargingProfileKind": "Absolute",
            }
            if purpose == "TxProfile":
                session = charger.evses[evse_id].session
                assert session is not None
                assert session.transaction_id is not None
                body["transactionId"] = (
                    int(session.transaction_id) if make == "Norvolt" else session.transaction_id
                )
            if make == "Norvolt":
                body |= {"chargingProfileId": number, "chargingSchedule": schedule}
                payload = {"connectorId": evse_id, "csChargingProfiles": body}
            else:
                body |= {"id": number, "chargingSchedule": [schedule | {"id": 1}]}
                payload = {"evseId": evse_id, "chargingProfile": body}
            return str((await central.command(station_id, "SetChargingProfile", payload))["status"])

        await until(lambda: powers() == [22_080, 22_080])
        await until(lambda: all(e.session and e.session.transaction_id for e in charger.evses.values()))
        station_max = "ChargePointMaxProfile" if make == "Norvolt" else "ChargingStationMaxProfile"
        assert await profile(1, 0, "TxDefaultProfile", 16) == "Accepted"
        await until(lambda: powers() == [11_040, 11_040])
        assert await profile(2, 1, "TxProfile", 5_000, "W") == "Accepted"
        await until(lambda: powers() == [5_000, 11_040])
        await until(lambda: sampled() == {5_000, 11_040})
        assert await profile(3, 0, station_max, 20) == "Accepted"
        await until(lambda: powers() == [5_000, 8_800])
        assert await profile(4, 2, "TxProfile", 5.9) == "Accepted"
        await until(lambda: powers() == [5_000, 0])
        await until(lambda: "SuspendedEVSE" in str(central.of(station_id)[-20:]))
        assert await profile(5, 1, station_max, 20) == "Rejected"

        key = "connectorId" if make == "Norvolt" else "evseId"
        schedule = await central.command(
            station_id, "GetCompositeSchedule", {key: 1, "duration": 600, "chargingRateUnit": "W"}
        )
        body = schedule["chargingSchedule" if make == "Norvolt" else "schedule"]
        assert body["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 5_000}]
        assert await central.command(station_id, "ClearChargingProfile", {}) == {"status": "Accepted"}
        await until(lambda: powers() == [22_080, 22_080])
        assert await central.command(station_id, "ClearChargingProfile", {}) == {"status": "Unknown"}


@pytest.mark.parametrize(
    ("fault", "statuses", "version"),
    [
        (None, ["Downloading", "Downloaded", "Installing", "Installed"], "9.8.7"),
        ("download", ["Downloading", "DownloadFailed"], None),
        ("install", ["Downloading", "Downloaded", "Installing", "InstallationFailed"], None),
        ("rollback", ["Downloading", "Downloaded", "Installing", "Installed"], "same"),
    ],
)
@pytest.mark.parametrize("make", ["Norvolt", "Ampera"])
async def test_a_firmware_update_waits_for_the_session_and_ends_as_scripted(
    make: str, fault: Any, statuses: list[str], version: str | None
) -> None:
    station_id, location = STATIONS[make], "https://files.example/fw-9.8.7.bin"
    faults = {station_id: fault} if fault else {}
    order: dict[str, Any] = {"location": location, "retrieveDate": "2026-01-01T00:00:00Z"}
    if make == "Ampera":
        firmware = {"location": location, "retrieveDateTime": "2026-01-01T00:00:00Z"}
        order = {"requestId": 77, "firmware": firmware}
    scenario = one(make, arrival(make, energy_wh=4_000), firmware_faults=faults)
    async with Central() as central, playing(scenario, central):
        await until(lambda: bool(central.of(station_id, "StartTransaction", "TransactionEvent")))
        await central.command(station_id, "UpdateFirmware", order)

        def told() -> list[Call]:
            return central.of(station_id, "FirmwareStatusNotification")

        await until(lambda: len(told()) == len(statuses))
        assert [call.payload["status"] for call in told()] == statuses
        if make == "Ampera":
            assert {call.payload["requestId"] for call in told()} == {77}
        if "Installing" in statuses:
            names = [call.action + str(call.payload.get("status")) for call in central.of(station_id)]
            ended = max(i for i, call in enumerate(central.of(station_id)) if call.action in TRANSACTIONAL)
            assert ended < names.index("FirmwareStatusNotificationInstalling")
        boots = central.of(station_id, "BootNotification")
        if version is None:
            assert len(boots) == 1
            return
        await until(lambda: len(central.of(station_id, "BootNotification")) == 2)
        first, second = (
            call.payload.get("chargingStation", call.payload)["firmwareVersion"]
            for call in central.of(station_id, "BootNotification")
        )
        assert second == (first if version == "same" else version)


@pytest.mark.parametrize("make", ["Norvolt", "Ampera"])
async def test_remote_start_stop_and_reset(make: str) -> None:
    station_id, old = STATIONS[make], make == "Norvolt"
    async with Central() as central, playing(one(make, speed=60), central) as fleet:
        await until(lambda: fleet.stats().online == 1)
        charger = fleet.chargers[station_id]
        start: tuple[str, dict[str, Any]] = (
            ("RemoteStartTransaction", {"idTag": "TAG00009", "connectorId": 1})
            if old
            else (
                "RequestStartTransaction",
                {"idToken": {"idToken": "TAG00009", "type": "Central"}, "remoteStartId": 5, "evseId": 1},
            )
        )
        answer = await central.command(station_id, *start)
        assert answer["status"] == "Accepted"
        await until(lambda: (s := charger.evses[1].session) is not None and s.transaction_id is not None)
        assert (await central.command(station_id, *start))["status"] == "Rejected"
        session = charger.evses[1].session
        assert session is not None
        assert session.transaction_id is not None
        if not old:
            assert answer["transactionId"] == session.transaction_id
        await until(lambda: bool(central.of(station_id, "StartTransaction", "TransactionEvent")))
        stop = "RemoteStopTransaction" if old else "RequestStopTransaction"
        number: Any = int(session.transaction_id) if old else session.transaction_id
        assert await central.command(station_id, stop, {"transactionId": number}) == {"status": "Accepted"}
        await until(lambda: charger.settled)
        assert fleet.truths()[0].reason == "Remote"
        assert (await central.command(station_id, stop, {"transactionId": number}))["status"] == "Rejected"

        await until(lambda: not charger.evses[1].lock.locked())
        assert (await central.command(station_id, *start))["status"] == "Accepted"
        await until(lambda: len(charger.sessions) == 2)
        opened = central.opened
        await central.command(station_id, "Reset", {"type": "Hard" if old else "Immediate"})
        await until(lambda: central.opened > opened and fleet.settled and fleet.stats().online == 1)
        assert fleet.truths()[1].reason == ("HardReset" if old else "Reset")
        assert len(central.of(station_id, "BootNotification")) == 2
    assert_truths_arrived(fleet, central)


COMMANDS_16: list[tuple[str, dict[str, Any], Any]] = [
    ("ChangeAvailability", {"connectorId": 2, "type": "Inoperative"}, "Accepted"),
    ("ChangeAvailability", {"connectorId": 9, "type": "Inoperative"}, "Rejected"),
    ("RemoteStartTransaction", {"idTag": "A", "connectorId": 2}, "Rejected"),
    ("ChangeAvailability", {"connectorId": 0, "type": "Operative"}, "Accepted"),
    ("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "30"}, "Accepted"),
    ("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "often"}, "Rejected"),
    ("ChangeConfiguration", {"key": "NumberOfConnectors", "value": "3"}, "Rejected"),
    ("ChangeConfiguration", {"key": "Colour", "value": "red"}, "NotSupported"),
    ("ClearCache", {}, "Accepted"),
    ("UnlockConnector", {"connectorId": 1}, "Unlocked"),
    ("UnlockConnector", {"connectorId": 7}, "NotSupported"),
    ("TriggerMessage", {"requestedMessage": "BootNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "Heartbeat"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "DiagnosticsStatusNotification"}, "Accepted"),
    (
        "ReserveNow",
        {"connectorId": 1, "expiryDate": "2099-01-01T00:00:00Z", "idTag": "A", "reservationId": 4},
        "Accepted",
    ),
    ("RemoteStartTransaction", {"idTag": "B", "connectorId": 1}, "Rejected"),
    ("CancelReservation", {"reservationId": 4}, "Accepted"),
    ("CancelReservation", {"reservationId": 4}, "Rejected"),
    (
        "SendLocalList",
        {
            "listVersion": 2,
            "updateType": "Full",
            "localAuthorizationList": [{"idTag": "A", "idTagInfo": {"status": "Blocked"}}],
        },
        "Accepted",
    ),
    ("SendLocalList", {"listVersion": 1, "updateType": "Differential"}, "VersionMismatch"),
    ("DataTransfer", {"vendorId": "nobody"}, "UnknownVendorId"),
    (
        "GetLog",
        {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "x"}},
        {"error": "NotSupported"},
    ),
    ("BrewCoffee", {}, {"error": "NotImplemented"}),
    ("Reset", {"type": "Warm"}, {"error": "FormationViolation"}),
]
EVSE = {"id": 1}
COMMANDS_201: list[tuple[str, dict[str, Any], Any]] = [
    ("ChangeAvailability", {"operationalStatus": "Inoperative", "evse": {"id": 2}}, "Accepted"),
    ("ChangeAvailability", {"operationalStatus": "Inoperative", "evse": {"id": 9}}, "Rejected"),
    ("ChangeAvailability", {"operationalStatus": "Operative"}, "Accepted"),
    ("ClearCache", {}, "Accepted"),
    ("UnlockConnector", {"evseId": 1, "connectorId": 1}, "Unlocked"),
    ("UnlockConnector", {"evseId": 1, "connectorId": 5}, "UnknownConnector"),
    ("TriggerMessage", {"requestedMessage": "BootNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "Heartbeat"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "StatusNotification", "evse": EVSE}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "MeterValues", "evse": EVSE}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "TransactionEvent", "evse": EVSE}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "LogStatusNotification"}, "Accepted"),
    ("TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, "NotImplemented"),
    (
        "ReserveNow",
        {
            "id": 4,
            "evseId": 1,
            "expiryDateTime": "2099-01-01T00:00:00Z",
            "idToken": {"idToken": "A", "type": "Central"},
        },
        "Accepted",
    ),
    ("CancelReservation", {"reservationId": 4}, "Accepted"),
    ("SendLocalList", {"versionNumber": 3, "updateType": "Full"}, "Accepted"),
    ("SendLocalList", {"versionNumber": 3, "updateType": "Differential"}, "VersionMismatch"),
    ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}, "Accepted"),
    (
        "GetReport",
        {"requestId": 2, "componentVariable": [{"component": {"name": "Teapot"}}]},
        "EmptyResultSet",
    ),
    ("GetLog", {"logType": "DiagnosticsLog", "requestId": 8, "log": {"remoteLocation": "x"}}, "Accepted"),
    ("RequestStopTransaction", {"transactionId": "none"}, "Rejected"),
    ("DataTransfer", {"vendorId": "Ampera"}, "UnknownMessageId"),
    ("Reset", {"type": "Immediate", "evseId": 1}, "Rejected"),
    ("SetNetworkProfile", {}, {"error": "NotSupported"}),
    ("BrewCoffee", {}, {"error": "NotImplemented"}),
    ("Reset", {"type": "Warm"}, {"error": "FormatViolation"}),
]


@pytest.mark.parametrize(("make", "commands"), [("Norvolt", COMMANDS_16), ("Ampera", COMMANDS_201)])
async def test_commands_are_answered_as_the_specification_asks(
    make: str, commands: list[tuple[str, dict[str, Any], Any]]
) -> None:
    async with Central() as central, playing(one(make), central) as fleet:
        await until(lambda: fleet.stats().online == 1)
        for action, payload, expected in commands:
            answer = await central.command(STATIONS[make], action, payload)
            wanted = expected if isinstance(expected, dict) else {"status": expected}
            assert wanted.items() <= answer.items(), (action, payload, answer)
    assert central.schema_errors == []


async def test_configuration_lists_and_local_list_version_of_1_6() -> None:
    async with Central() as central, playing(one("Norvolt"), central) as fleet:
        await until(lambda: fleet.stats().online == 1)
        answer = await central.command(
            "NRV-0001", "GetConfiguration", {"key": ["HeartbeatInterval", "Colour"]}
        )
        assert answer == {
            "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}],
            "unknownKey": ["Colour"],
        }
        assert len((await central.command("NRV-0001", "GetConfiguration", {}))["configurationKey"]) > 10
        await central.command("NRV-0001", "SendLocalList", {"listVersion": 6, "updateType": "Full"})
        assert await central.command("NRV-0001", "GetLocalListVersion", {}) == {"listVersion": 6}
        diagnostics = await central.command("NRV-0001", "GetDiagnostics", {"location": "https://x.example"})
        assert diagnostics["fileName"]
        await until(lambda: len(central.of("NRV-0001", "DiagnosticsStatusNotification")) == 2)


async def test_variables_reports_and_transaction_status_of_2_0_1() -> None:
    heartbeat = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
    teapot = {"component": {"name": "Teapot"}, "variable": {"name": "Spout"}}
    model = {"component": {"name": "ChargingStation"}, "variable": {"name": "Model"}}
    async with (
        Central() as central,
        playing(one("Ampera", arrival("Ampera", energy_wh=40_000), speed=60), central) as fleet,
    ):
        await until(lambda: fleet.stats().charging == 1)
        asked = {
            "setVariableData": [
                {**heartbeat, "attributeValue": "77"},
                {**teapot, "attributeValue": "1"},
                {**model, "attributeValue": "x"},
            ]
        }
        answer = await central.command("AMP-0001", "SetVariables", asked)
        statuses = [result["attributeStatus"] for result in answer["setVariableResult"]]
        assert statuses == ["Accepted", "UnknownComponent", "Rejected"]
        answer = await central.command("AMP-0001", "GetVariables", {"getVariableData": [heartbeat]})
        assert answer["getVariableResult"][0]["attributeValue"] == "77"
        await central.command("AMP-0001", "GetBaseReport", {"requestId": 3, "reportBase": "FullInventory"})
        await until(lambda: any(not call.payload["tbc"] for call in central.of("AMP-0001", "NotifyReport")))
        reports = [call.payload for call in central.of("AMP-0001", "NotifyReport")]
        assert [report["seqNo"] for report in reports] == list(range(len(reports)))
        session = fleet.chargers["AMP-0001"].evses[1].session
        assert session is not None
        answer = await central.command(
            "AMP-0001", "GetTransactionStatus", {"transactionId": session.transaction_id}
        )
        assert answer["ongoingIndicator"] is True
    assert central.schema_errors == []
