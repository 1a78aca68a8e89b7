"""B: boot, variables, reports, resets, network profiles."""

import asyncio

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.edge_process import BOOT_2
from tests.patience import until
from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, REJECTED, Transaction, report

pytestmark = pytest.mark.asyncio(loop_scope="session")

_HEARTBEAT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
_OFFLINE = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "OfflineThreshold"}}
_SCHEDULED = {"status": "Scheduled"}


async def test_tc_b_01_cold_boot(rig: Rig, station_id: str) -> None:
    """A cold boot is accepted with time and interval; statuses are shown by EVSE and connector."""
    async with rig.charger(station_id, "ocpp2.0.1") as cs:
        boot = await cs.boot()
        assert (boot["status"], boot["interval"]) == ("Accepted", 300)
        await report(cs, 1, "Available")
        await report(cs, 2, "Unavailable", connector=2)
        assert set(await cs.call("Heartbeat")) == {"currentTime"}
        await rig.status(station_id, 1, "Available", connector_id=1)
        await rig.status(station_id, 2, "Unavailable", connector_id=2)
        state = await rig.state(station_id, connected=True, vendor="Voltbus", model="T2")
        assert state["version"] == "ocpp2.0.1"


@pytest.mark.station(boot_status="Pending", heartbeat_interval_s=30)
async def test_tc_b_02_pending_boot(rig: Rig, station_id: str) -> None:
    """A station that is pending may be configured first; once operators accept it, its next boot is accepted."""
    async with rig.charger(station_id, "ocpp2.0.1") as cs:
        boot = await cs.boot()
        assert boot["status"] == "Pending"
        value = {**_HEARTBEAT, "attributeValue": "30"}
        result = {**_HEARTBEAT, "attributeStatus": "Accepted"}
        await rig.agreed(cs, "SetVariables", {"setVariableData": [value]}, {"setVariableResult": [result]})
        await rig.agreed(cs, "GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}, ACCEPTED)
        part = {"requestId": 1, "generatedAt": "2026-11-23T00:00:00Z", "seqNo": 0}
        assert await cs.call("NotifyReport", part) == {}
        await rig.change(f"/stations/{station_id}", boot_status="Accepted")

        async def accepted() -> bool:
            return bool((await cs.boot())["status"] == "Accepted")

        await until(accepted)
        await report(cs, 1, "Available")


@pytest.mark.station(boot_status="Pending")
async def test_tc_b_30_calls_before_acceptance(rig: Rig, station_id: str) -> None:
    """Before it is accepted a station gets SecurityError for whatever else it sends, and the socket stays; it is
    not asked to start or stop anything."""
    async with rig.charger(station_id, "ocpp2.0.1") as cs:
        assert (await cs.boot())["status"] == "Pending"
        status = {
            "evseId": 1,
            "connectorId": 1,
            "connectorStatus": "Available",
            "timestamp": "2026-11-23T00:00:00Z",
        }
        assert (await cs.refused("StatusNotification", status)).code == "SecurityError"
        assert (await cs.refused("Heartbeat")).code == "SecurityError"
        wish = {"action": "RequestStopTransaction", "payload": {"transactionId": "x"}}
        stopped = await rig.order(cs, wish)
        assert (stopped["status"], stopped["result"]) == ("FAILED", None)
        await rig.change(f"/stations/{station_id}", boot_status="Rejected")

        async def rejected() -> bool:
            return bool((await cs.boot())["status"] == "Rejected")

        await until(rejected)
        assert (await cs.refused("Heartbeat")).code == "SecurityError"
        refused = await rig.order(cs, {"action": "GetLocalListVersion"})
        assert refused["status"] == "FAILED"


@pytest.mark.station(boot_status="Pending")
async def test_tc_b_31_trigger_before_acceptance(rig: Rig, station_id: str) -> None:
    """A pending station that is triggered to boot does so, and may send what it was triggered for."""
    async with rig.charger(station_id, "ocpp2.0.1") as cs:
        assert (await cs.boot())["status"] == "Pending"
        await rig.agreed(cs, "TriggerMessage", {"requestedMessage": "Heartbeat"}, ACCEPTED)
        assert set(await cs.call("Heartbeat")) == {"currentTime"}
        await rig.change(f"/stations/{station_id}", boot_status="Accepted")
        await rig.agreed(cs, "TriggerMessage", {"requestedMessage": "BootNotification"}, ACCEPTED)

        async def accepted() -> bool:
            answer = await cs.call("BootNotification", {**BOOT_2, "reason": "Triggered"})
            return bool(answer["status"] == "Accepted")

        await until(accepted)


def _value(of: Json, text: str) -> Json:
    return {**of, "attributeStatus": "Accepted", "attributeValue": text}


async def test_tc_b_06_get_one_variable(rig: Rig, cs: ScriptedCharger) -> None:
    """One variable is asked for and shown."""
    answer = {"getVariableResult": [_value(_OFFLINE, "60")]}
    await rig.agreed(cs, "GetVariables", {"getVariableData": [_OFFLINE]}, answer)


async def test_tc_b_07_get_variables(rig: Rig, cs: ScriptedCharger) -> None:
    """Several variables are asked for in one message; one that is refused makes the whole a no, with all values."""
    wish = {"getVariableData": [_OFFLINE, _HEARTBEAT]}
    both = {"getVariableResult": [_value(_OFFLINE, "60"), _value(_HEARTBEAT, "300")]}
    await rig.agreed(cs, "GetVariables", wish, both)
    unknown = {**_HEARTBEAT, "attributeStatus": "UnknownVariable"}
    await rig.denied(cs, "GetVariables", wish, {"getVariableResult": [_value(_OFFLINE, "60"), unknown]})


async def test_tc_b_09_set_one_variable(rig: Rig, cs: ScriptedCharger) -> None:
    """One variable is set."""
    result = {"setVariableResult": [{**_OFFLINE, "attributeStatus": "Accepted"}]}
    await rig.agreed(cs, "SetVariables", {"setVariableData": [{**_OFFLINE, "attributeValue": "123"}]}, result)


async def test_tc_b_10_set_variables(rig: Rig, cs: ScriptedCharger) -> None:
    """Several variables are set; RebootRequired is agreement."""
    wish = {
        "setVariableData": [{**_OFFLINE, "attributeValue": "123"}, {**_HEARTBEAT, "attributeValue": "30"}]
    }
    both = [
        {**_OFFLINE, "attributeStatus": "Accepted"},
        {**_HEARTBEAT, "attributeStatus": "RebootRequired"},
    ]
    await rig.agreed(cs, "SetVariables", wish, {"setVariableResult": both})


async def _base_report(rig: Rig, cs: ScriptedCharger, base: str) -> None:
    await rig.agreed(cs, "GetBaseReport", {"requestId": 3, "reportBase": base}, ACCEPTED)
    for number, more in ((0, True), (1, False)):
        data = {**_OFFLINE, "variableAttribute": [{"value": str(number)}]}
        part = {"requestId": 3, "generatedAt": "2026-11-23T00:00:00Z", "seqNo": number, "tbc": more}
        assert await cs.call("NotifyReport", {**part, "reportData": [data]}) == {}
    parts = await rig.logged(cs, "NotifyReport", 2)
    assert ['"tbc":true' in part.payload for part in parts] == [True, False]


async def test_tc_b_12_configuration_inventory(rig: Rig, cs: ScriptedCharger) -> None:
    """The configuration inventory is asked for; each part of the report is confirmed and on record."""
    await _base_report(rig, cs, "ConfigurationInventory")


async def test_tc_b_13_full_inventory(rig: Rig, cs: ScriptedCharger) -> None:
    """The full inventory likewise."""
    await _base_report(rig, cs, "FullInventory")


async def test_tc_b_14_summary_inventory(rig: Rig, cs: ScriptedCharger) -> None:
    """The summary likewise; a station that has none of the kind says NotSupported."""
    await _base_report(rig, cs, "SummaryInventory")
    wish = {"requestId": 4, "reportBase": "SummaryInventory"}
    await rig.denied(cs, "GetBaseReport", wish, {"status": "NotSupported"})


async def test_tc_b_18_custom_report(rig: Rig, cs: ScriptedCharger) -> None:
    """A report by criteria and by component and variable; EmptyResultSet means that nothing fits."""
    wish = {
        "requestId": 5,
        "componentCriteria": ["Problem"],
        "componentVariable": [
            {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Problem"}}
        ],
    }
    await rig.agreed(cs, "GetReport", wish, ACCEPTED)
    part = {"requestId": 5, "generatedAt": "2026-11-23T00:00:00Z", "seqNo": 0}
    assert await cs.call("NotifyReport", part) == {}
    await rig.denied(
        cs, "GetReport", {"requestId": 6, "componentCriteria": ["Active"]}, {"status": "EmptyResultSet"}
    )


async def _back(rig: Rig, cs: ScriptedCharger, reason: str) -> ScriptedCharger:
    await cs.leave()
    async with rig.charger(cs.station_id, "ocpp2.0.1") as back:
        assert (await back.boot(reason=reason))["status"] == "Accepted"
        await report(back, 1, "Available")
        boots = await rig.logged(cs, "BootNotification", 2)
        assert f'"reason":"{reason}"' in boots[-1].payload
        await rig.online(cs.station_id)
        return back


async def test_tc_b_20_reset_idle_station(rig: Rig, cs: ScriptedCharger) -> None:
    """A station without transactions resets on idle: at once; it boots and says why."""
    await rig.agreed(cs, "Reset", {"type": "OnIdle"}, ACCEPTED)
    await _back(rig, cs, "RemoteReset")


async def test_tc_b_21_reset_on_idle(rig: Rig, cs: ScriptedCharger) -> None:
    """With a transaction a reset on idle is scheduled, which is agreement; the transaction ends first."""
    transaction = Transaction(cs)
    await transaction.started()
    await rig.agreed(cs, "Reset", {"type": "OnIdle"}, _SCHEDULED)
    await transaction.ended("StopAuthorized")
    assert (await rig.ended(cs)).energy_wh == 4000
    await _back(rig, cs, "ScheduledReset")


async def test_tc_b_22_reset_immediate(rig: Rig, cs: ScriptedCharger) -> None:
    """An immediate reset ends the transaction, for that reason."""
    transaction = Transaction(cs)
    await transaction.started()
    await rig.agreed(cs, "Reset", {"type": "Immediate"}, ACCEPTED)
    await transaction.ended("ResetCommand", "ImmediateReset", 1500)
    ended = await rig.ended(cs)
    assert (ended.reason, ended.energy_wh) == ("ImmediateReset", 500)
    await _back(rig, cs, "RemoteReset")


async def test_tc_b_25_reset_idle_evse(rig: Rig, cs: ScriptedCharger) -> None:
    """An EVSE alone is reset: no boot follows; a station that cannot says so."""
    await rig.agreed(cs, "Reset", {"type": "OnIdle", "evseId": 1}, ACCEPTED)
    await report(cs, 1, "Unavailable")
    await report(cs, 1, "Available")
    await rig.status(cs.station_id, 1, "Available", connector_id=1)
    await rig.denied(cs, "Reset", {"type": "OnIdle", "evseId": 2}, REJECTED)


async def test_tc_b_26_reset_evse_on_idle(rig: Rig, cs: ScriptedCharger) -> None:
    """An EVSE with a transaction is reset after it."""
    transaction = Transaction(cs)
    await transaction.started()
    await rig.agreed(cs, "Reset", {"type": "OnIdle", "evseId": 1}, _SCHEDULED)
    await transaction.ended("StopAuthorized")
    assert (await rig.ended(cs)).reason == "Local"


async def test_tc_b_27_reset_evse_immediate(rig: Rig, cs: ScriptedCharger) -> None:
    """An immediate reset of an EVSE ends its transaction, not that of another EVSE."""
    first, second = Transaction(cs, "1"), Transaction(cs, "2")
    await first.started()
    await second.started(evse={"id": 2, "connectorId": 1})
    await rig.agreed(cs, "Reset", {"type": "Immediate", "evseId": 1}, ACCEPTED)
    await first.ended("ResetCommand", "ImmediateReset")
    ended = await rig.ended(cs)
    assert (ended.evse_id, ended.reason) == (1, "ImmediateReset")
    await second.ended("StopAuthorized")
    assert (await rig.ended(cs, 2)).evse_id == 2


def _network() -> Json:
    return {
        "configurationSlot": 1,
        "connectionData": {
            "messageTimeout": 30,
            "ocppCsmsUrl": "wss://csms.example.org/ocpp",
            "ocppInterface": "Wired0",
            "ocppTransport": "JSON",
            "ocppVersion": "OCPP20",
            "securityProfile": 2,
        },
    }


async def test_tc_b_42_network_profile(rig: Rig, cs: ScriptedCharger) -> None:
    """A network connection profile is set, and given priority by a variable."""
    await rig.agreed(cs, "SetNetworkProfile", _network(), ACCEPTED)
    priority = {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "NetworkConfigurationPriority"},
    }
    result = {"setVariableResult": [{**priority, "attributeStatus": "RebootRequired"}]}
    await rig.agreed(cs, "SetVariables", {"setVariableData": [{**priority, "attributeValue": "1,0"}]}, result)


async def test_tc_b_44_network_profile_failed(rig: Rig, cs: ScriptedCharger) -> None:
    """A network connection profile that the station rejects, or fails to store: its no."""
    await rig.denied(cs, "SetNetworkProfile", _network(), {"status": "Failed"})
    await rig.denied(cs, "SetNetworkProfile", _network(), REJECTED)


async def test_tc_b_58_subprotocol(rig: Rig, station_id: str) -> None:
    """Of the subprotocols that a station offers, the first that we speak is echoed, and no other; with none in
    common the handshake ends with 400. The path plays no part."""
    for offered, chosen in (
        (["ocpp2.0.1", "ocpp1.6"], "ocpp2.0.1"),
        (["ocpp0.9", "ocpp1.6", "ocpp2.0.1"], "ocpp1.6"),
        (["ocpp2.1"], "ocpp2.1"),
    ):
        async with rig.socket(station_id, offered) as socket:
            assert socket.subprotocol == chosen
    for offered in (["ocpp1.5"], ["OCPP2.0.1"], []):
        with pytest.raises(InvalidStatus) as refused:
            async with rig.socket(station_id, offered):
                pass
        assert refused.value.response.status_code == httpx.codes.BAD_REQUEST


async def test_tc_b_08_variables_beyond_the_limit(rig: Rig, cs: ScriptedCharger) -> None:
    """Five variables, asked of a station that takes four at a time, go as four and one; the operator gets all five
    in the order of the question. The limit is learned from the station."""
    limit = {
        "component": {"name": "DeviceDataCtrlr"},
        "variable": {"name": "ItemsPerMessage", "instance": "GetVariables"},
    }
    answer = {"getVariableResult": [_value(limit, "4")]}
    await rig.agreed(cs, "GetVariables", {"getVariableData": [limit]}, answer)
    names = [f"OCPPCommCtrlr.V{number}" for number in range(5)]
    path = f"/stations/{cs.station_id}/variables/get"
    asked: list[int] = []

    def told(payload: Json) -> Json:
        wanted = payload["getVariableData"]
        asked.append(len(wanted))
        return {"getVariableResult": [_value(each, each["variable"]["name"]) for each in wanted]}

    async def split() -> Json | None:
        asked.clear()
        asking = asyncio.create_task(rig.post(path, {"variables": [{"name": name} for name in names]}))
        while sum(asked) < len(names):
            await cs.expect("GetVariables", told)
        found = await asking
        # Until the ledger has learned the limit all of it goes at once.
        return found if len(asked) > 1 else None

    found: Json = await until(split)
    assert asked == [4, 1]
    assert [(each["name"], each["value"]) for each in found["items"]] == [
        (name, name.removeprefix("OCPPCommCtrlr.")) for name in names
    ]


@pytest.mark.station(certification=False, evses=2)
async def test_questions_on_boot(rig: Rig, cs: ScriptedCharger) -> None:
    """What a station is asked when it boots is a setting: here its limits, first how many of them it can be asked at
    once, and the status of each connector. Stations under certification, as those of all other scenarios are, get
    nothing that no operator asked for."""
    asked = [
        await cs.expect(
            "GetVariables",
            lambda payload: {
                "getVariableResult": [
                    {
                        "component": d["component"],
                        "variable": d["variable"],
                        "attributeStatus": "UnknownVariable",
                    }
                    for d in payload["getVariableData"]
                ]
            },
        )
        for _ in range(2)
    ]
    first, rest = [{entry["variable"]["name"] for entry in each["getVariableData"]} for each in asked]
    assert first == {"ItemsPerMessage", "BytesPerMessage"}
    assert {"RateUnit", "ProfileStackLevel"} <= rest
    for evse in (1, 2):
        wish = await cs.expect("TriggerMessage", ACCEPTED)
        assert wish == {"requestedMessage": "StatusNotification", "evse": {"id": evse, "connectorId": 1}}
        await report(cs, evse, "Available")
        await rig.status(cs.station_id, evse, "Available", connector_id=1)
