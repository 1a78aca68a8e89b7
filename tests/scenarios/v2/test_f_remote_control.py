"""F: remote start, unlock, triggers."""

import asyncio

import pytest

from tests.scenarios.charger import Json, Refusal, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, Transaction, authorize, energy, report, token

pytestmark = pytest.mark.asyncio(loop_scope="session")

_START: Json = {"idToken": token(), "remoteStartId": 77, "evseId": 1}


async def _remotely(
    rig: Rig, cs: ScriptedCharger, transaction: Transaction, trigger: str, state: str
) -> None:
    """The transaction of a remote start names it, and is a session of that token."""
    await transaction.started(trigger, state, info={"remoteStartId": 77})
    assert (await rig.started(cs)).id_token == "TAG-OK"
    (told,) = await rig.logged(cs, "TransactionEvent")
    assert '"remoteStartId":77' in told.payload


async def test_tc_f_01_remote_start_cable_first(rig: Rig, cs: ScriptedCharger) -> None:
    """The cable is in and its transaction runs: the answer to the remote start names it, and the operator is told."""
    transaction = Transaction(cs)
    await transaction.started("CablePluggedIn", "EVConnected", idToken=None)
    answer = {"status": "Accepted", "transactionId": transaction.transaction_id}
    await rig.agreed(cs, "RequestStartTransaction", _START, answer)
    started = await transaction.updated(
        "RemoteStart", "Charging", idToken=token(), info={"remoteStartId": 77}
    )
    assert started["idTokenInfo"]["status"] == "Accepted"
    await transaction.ended("StopAuthorized")
    assert (await rig.ended(cs)).id_token == "TAG-OK"


async def test_tc_f_02_remote_start_first_authorised(rig: Rig, cs: ScriptedCharger) -> None:
    """The remote start comes first, and the station asks about its token (AuthorizeRemoteStart)."""
    await rig.agreed(cs, "RequestStartTransaction", _START, ACCEPTED)
    assert (await authorize(cs))["status"] == "Accepted"
    await _remotely(rig, cs, Transaction(cs), "RemoteStart", "Idle")


async def test_tc_f_03_remote_start_first(rig: Rig, cs: ScriptedCharger) -> None:
    """The remote start comes first, and the station asks nobody."""
    await rig.agreed(cs, "RequestStartTransaction", _START, ACCEPTED)
    transaction = Transaction(cs)
    await _remotely(rig, cs, transaction, "RemoteStart", "Idle")
    await transaction.updated("CablePluggedIn", "Charging")
    await transaction.ended("RemoteStop", "Remote")
    assert (await rig.ended(cs)).reason == "Remote"


async def test_tc_f_04_remote_start_without_cable(rig: Rig, cs: ScriptedCharger) -> None:
    """The remote start is followed by no cable: its transaction times out."""
    await rig.agreed(cs, "RequestStartTransaction", _START, ACCEPTED)
    transaction = Transaction(cs)
    await _remotely(rig, cs, transaction, "RemoteStart", "Idle")
    await transaction.ended("EVConnectTimeout", "Timeout", 1000)
    ended = await rig.ended(cs)
    assert (ended.reason, ended.energy_wh) == ("Timeout", 0)


async def test_tc_f_06_unlock(rig: Rig, cs: ScriptedCharger) -> None:
    """A connector is unlocked; the ways in which that fails are told apart."""
    wish = {"evseId": 1, "connectorId": 1}
    await rig.agreed(cs, "UnlockConnector", wish, {"status": "Unlocked"})
    for no in ("UnlockFailed", "OngoingAuthorizedTransaction", "UnknownConnector"):
        await rig.denied(cs, "UnlockConnector", wish, {"status": no})


async def _trigger(rig: Rig, cs: ScriptedCharger, message: str, evse: Json | None = None) -> None:
    wish: Json = {"requestedMessage": message} | ({} if evse is None else {"evse": evse})
    await rig.agreed(cs, "TriggerMessage", wish, ACCEPTED)


async def test_tc_f_11_trigger_meter_values_of_an_evse(rig: Rig, cs: ScriptedCharger) -> None:
    """The meter of one EVSE is asked for and read."""
    await _trigger(rig, cs, "MeterValues", {"id": 1})
    values = {"evseId": 1, "meterValue": [energy(4321, "Trigger")]}
    assert await cs.call("MeterValues", values) == {}
    (taken,) = await rig.measured(cs)
    assert (taken.evse_id, taken.samples[0].value_milli, taken.samples[0].context) == (1, 4321000, "Trigger")


async def test_tc_f_12_trigger_meter_values(rig: Rig, cs: ScriptedCharger) -> None:
    """The meters of all EVSEs are asked for and read."""
    await _trigger(rig, cs, "MeterValues")
    for evse in (1, 2):
        assert await cs.call("MeterValues", {"evseId": evse, "meterValue": [energy(10, "Trigger")]}) == {}
    assert [taken.evse_id for taken in await rig.measured(cs, 2)] == [1, 2]


async def test_tc_f_13_trigger_transaction_event_of_an_evse(rig: Rig, cs: ScriptedCharger) -> None:
    """The transaction of one EVSE is asked about, and tells where it stands."""
    transaction = Transaction(cs)
    await transaction.started()
    await _trigger(rig, cs, "TransactionEvent", {"id": 1})
    await transaction.updated("Trigger", "Charging", meter=2000)
    assert len(await rig.logged(cs, "TransactionEvent", 2)) == 2


async def test_tc_f_14_trigger_transaction_events(rig: Rig, cs: ScriptedCharger) -> None:
    """The transactions of all EVSEs are asked about."""
    running = [Transaction(cs, str(evse)) for evse in (1, 2)]
    for evse, transaction in enumerate(running, 1):
        await transaction.started(evse={"id": evse, "connectorId": 1})
    await _trigger(rig, cs, "TransactionEvent")
    for transaction in running:
        await transaction.updated("Trigger", "Charging", meter=2000)
    assert len(await rig.logged(cs, "TransactionEvent", 4)) == 4


async def test_tc_f_15_trigger_log_status(rig: Rig, cs: ScriptedCharger) -> None:
    """The state of log uploads is asked for; idle needs no request id."""
    await _trigger(rig, cs, "LogStatusNotification")
    assert await cs.call("LogStatusNotification", {"status": "Idle"}) == {}


async def test_tc_f_18_trigger_firmware_status(rig: Rig, cs: ScriptedCharger) -> None:
    """The state of firmware updates is asked for; idle needs no request id."""
    await _trigger(rig, cs, "FirmwareStatusNotification")
    assert await cs.call("FirmwareStatusNotification", {"status": "Idle"}) == {}


async def test_tc_f_20_trigger_heartbeat(rig: Rig, cs: ScriptedCharger) -> None:
    """A heartbeat is asked for."""
    await _trigger(rig, cs, "Heartbeat")
    assert set(await cs.call("Heartbeat")) == {"currentTime"}


async def test_tc_f_23_trigger_status_available(rig: Rig, cs: ScriptedCharger) -> None:
    """The state of one connector is asked for: available."""
    await _trigger(rig, cs, "StatusNotification", {"id": 1, "connectorId": 1})
    await report(cs, 1, "Available")
    await rig.status(cs.station_id, 1, "Available", connector_id=1)


async def test_tc_f_24_trigger_status_occupied(rig: Rig, cs: ScriptedCharger) -> None:
    """The state of one connector is asked for: occupied."""
    await _trigger(rig, cs, "StatusNotification", {"id": 1, "connectorId": 1})
    await report(cs, 1, "Occupied")
    await rig.status(cs.station_id, 1, "Occupied", connector_id=1)


async def test_tc_f_27_trigger_not_implemented(rig: Rig, cs: ScriptedCharger) -> None:
    """A message that the station does not implement: its no; a CALLERROR instead: FAILED with its code."""
    wish = {"requestedMessage": "PublishFirmwareStatusNotification"}
    await rig.denied(cs, "TriggerMessage", wish, {"status": "NotImplemented"})
    failed = await rig.command(cs, "TriggerMessage", wish, Refusal("NotImplemented", "never heard of it"))
    assert (failed["status"], failed["error"]["code"]) == ("FAILED", "NotImplemented")


async def test_results_that_say_nothing(rig: Rig, cs: ScriptedCharger) -> None:
    """An answer without a status, or with too few results, is no yes: UNKNOWN, as the station may have acted."""
    variable = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
    result = {**variable, "attributeStatus": "Accepted"}
    two = {"setVariableData": [{**variable, "attributeValue": value} for value in ("30", "60")]}
    for action, payload, answer in (
        ("Reset", {"type": "OnIdle"}, {}),
        ("SetVariables", two, {"setVariableResult": []}),
        ("SetVariables", two, {"setVariableResult": [result]}),
    ):
        wish = {"action": action, "payload": payload}
        done, _ = await asyncio.gather(rig.order(cs, wish), cs.expect(action, answer, strict=False))
        assert (done["status"], done["result"]) == ("UNKNOWN", answer)
