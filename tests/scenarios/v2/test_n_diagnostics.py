"""N: monitoring, logs, customers' data."""

import pytest

from tests.scenarios.charger import Json, Refusal, ScriptedCharger
from tests.scenarios.rig import Rig
from tests.scenarios.v2.flows import ACCEPTED, REJECTED, token
from tests.scenarios.v16.flows import ago
from tests.scenarios.v16.test_security import HASH

pytestmark = pytest.mark.asyncio(loop_scope="session")

_TEMPERATURE: Json = {"component": {"name": "ChargingStation"}, "variable": {"name": "Temperature"}}
_VOLTAGE: Json = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "ACVoltage"}}
_NOW = "2026-11-23T00:00:00Z"


async def _monitors(rig: Rig, cs: ScriptedCharger, **criteria: object) -> None:
    """Monitors are asked for; the report, in parts, is confirmed and on record with the request's id."""
    await rig.agreed(cs, "GetMonitoringReport", {"requestId": 6, **criteria}, ACCEPTED)
    monitor = {"id": 1, "transaction": False, "value": 70.5, "type": "UpperThreshold", "severity": 4}
    data = [{**_TEMPERATURE, "variableMonitoring": [monitor]}]
    for number, more in ((0, True), (1, False)):
        part = {"requestId": 6, "seqNo": number, "generatedAt": _NOW, "tbc": more, "monitor": data}
        assert await cs.call("NotifyMonitoringReport", part) == {}
    parts = await rig.logged(cs, "NotifyMonitoringReport", 2)
    assert all('"value":70.5' in part.payload for part in parts)


async def test_tc_n_01_monitors_by_criteria(rig: Rig, cs: ScriptedCharger) -> None:
    """Monitors by their kind."""
    await _monitors(
        rig, cs, monitoringCriteria=["ThresholdMonitoring", "DeltaMonitoring", "PeriodicMonitoring"]
    )


async def test_tc_n_02_monitors_of_variables(rig: Rig, cs: ScriptedCharger) -> None:
    """Monitors of named variables."""
    await _monitors(rig, cs, componentVariable=[_TEMPERATURE, _VOLTAGE])


async def test_tc_n_03_monitors_by_both(rig: Rig, cs: ScriptedCharger) -> None:
    """Monitors by kind and variables, one or several. Covers TC_N_60."""
    await _monitors(
        rig, cs, monitoringCriteria=["ThresholdMonitoring"], componentVariable=[_TEMPERATURE, _VOLTAGE]
    )


async def test_tc_n_47_all_monitors(rig: Rig, cs: ScriptedCharger) -> None:
    """All monitors; none are left: EmptyResultSet is the station's no, NotSupported too."""
    await _monitors(rig, cs)
    for status in ("EmptyResultSet", "NotSupported"):
        await rig.denied(cs, "GetMonitoringReport", {"requestId": 7}, {"status": status})


async def test_tc_n_05_monitoring_base(rig: Rig, cs: ScriptedCharger) -> None:
    """The set of monitors in force is chosen: all, the factory's, those that are wired in."""
    for base in ("All", "FactoryDefault", "HardWiredOnly"):
        await rig.agreed(cs, "SetMonitoringBase", {"monitoringBase": base}, ACCEPTED)
    await rig.denied(cs, "SetMonitoringBase", {"monitoringBase": "All"}, {"status": "NotSupported"})


def _monitor(of: Json, kind: str, value: float, **fields: object) -> Json:
    return {**of, "type": kind, "value": value, "severity": 5, **fields}


def _set(of: Json, kind: str, status: str = "Accepted", **fields: object) -> Json:
    return {**of, "type": kind, "status": status, "severity": 5, **fields}


async def test_tc_n_08_set_one_monitor(rig: Rig, cs: ScriptedCharger) -> None:
    """A monitor is set, and its id is told."""
    wish = {"setMonitoringData": [_monitor(_TEMPERATURE, "UpperThreshold", 70.5)]}
    answer = {"setMonitoringResult": [_set(_TEMPERATURE, "UpperThreshold", id=1)]}
    await rig.agreed(cs, "SetVariableMonitoring", wish, answer)


async def test_tc_n_09_set_monitors(rig: Rig, cs: ScriptedCharger) -> None:
    """Several monitors are set at once; one that is refused makes the whole a no, with every result."""
    wish = {
        "setMonitoringData": [
            _monitor(_TEMPERATURE, "UpperThreshold", 70.5),
            _monitor(_VOLTAGE, "Delta", 5, transaction=True),
        ]
    }
    first, second = _set(_TEMPERATURE, "UpperThreshold", id=1), _set(_VOLTAGE, "Delta", id=2)
    await rig.agreed(cs, "SetVariableMonitoring", wish, {"setMonitoringResult": [first, second]})
    refused = _set(_VOLTAGE, "Delta", "UnsupportedMonitorType")
    await rig.denied(cs, "SetVariableMonitoring", wish, {"setMonitoringResult": [first, refused]})


async def test_tc_n_16_monitoring_level(rig: Rig, cs: ScriptedCharger) -> None:
    """Events are told down to a severity."""
    await rig.agreed(cs, "SetMonitoringLevel", {"severity": 4}, ACCEPTED)
    await rig.denied(cs, "SetMonitoringLevel", {"severity": 4}, REJECTED)


async def test_tc_n_17_monitoring_level_out_of_range(rig: Rig, cs: ScriptedCharger) -> None:
    """Severities go from 0 to 9; whether a station knows one is its word."""
    await rig.denied(cs, "SetMonitoringLevel", {"severity": 10}, REJECTED)


async def test_tc_n_18_clear_monitors(rig: Rig, cs: ScriptedCharger) -> None:
    """Monitors are cleared by id; a station that cannot take as many answers an error, told as FAILED."""
    cleared = {"clearMonitoringResult": [{"id": number, "status": "Accepted"} for number in (1, 2)]}
    await rig.agreed(cs, "ClearVariableMonitoring", {"id": [1, 2]}, cleared)
    too_many = Refusal("OccurrenceConstraintViolation", "one at a time")
    failed = await rig.command(cs, "ClearVariableMonitoring", {"id": [1, 2]}, too_many)
    assert (failed["status"], failed["error"]["code"]) == ("FAILED", "OccurrenceConstraintViolation")


async def test_tc_n_44_clear_monitors_rejected(rig: Rig, cs: ScriptedCharger) -> None:
    """A monitor that is wired in cannot be cleared, one that is not there is NotFound."""
    for status in ("Rejected", "NotFound"):
        answer = {"clearMonitoringResult": [{"id": 1, "status": status}]}
        await rig.denied(cs, "ClearVariableMonitoring", {"id": [1]}, answer)


async def _event(rig: Rig, cs: ScriptedCharger, trigger: str, notification: str, **fields: object) -> None:
    """An event is confirmed and on record."""
    event = {
        "eventId": 1,
        "timestamp": ago(1),
        "trigger": trigger,
        "actualValue": "71.0",
        "eventNotificationType": notification,
        **_TEMPERATURE,
    }
    wish = {"generatedAt": ago(0), "seqNo": 0, "eventData": [event | fields]}
    assert await cs.call("NotifyEvent", wish) == {}
    told = await rig.logged(cs, "NotifyEvent")
    assert f'"trigger":"{trigger}"' in told[-1].payload


async def test_tc_n_21_alert_of_a_wired_monitor(rig: Rig, cs: ScriptedCharger) -> None:
    """A monitor that is wired in alerts."""
    await _event(rig, cs, "Alerting", "HardWiredMonitor", variableMonitoringId=1)


async def test_tc_n_24_periodic_monitor(rig: Rig, cs: ScriptedCharger) -> None:
    """A monitor tells a value every so often."""
    wish = {"setMonitoringData": [_monitor(_TEMPERATURE, "PeriodicClockAligned", 900)]}
    answer = {"setMonitoringResult": [_set(_TEMPERATURE, "PeriodicClockAligned", id=3)]}
    await rig.agreed(cs, "SetVariableMonitoring", wish, answer)
    await _event(rig, cs, "Periodic", "CustomMonitor", variableMonitoringId=3)


async def test_tc_n_48_alert_of_a_secret_variable(rig: Rig, cs: ScriptedCharger) -> None:
    """A variable that may only be written is told without its value."""
    await _event(rig, cs, "Delta", "CustomMonitor", actualValue="", variable={"name": "BasicAuthPassword"})


async def test_tc_n_49_alert_cleared_after_a_reboot(rig: Rig, cs: ScriptedCharger) -> None:
    """An alert, and after a reboot the word that it is over."""
    await _event(rig, cs, "Alerting", "CustomMonitor", variableMonitoringId=4)
    await cs.leave()
    async with rig.charger(cs.station_id, "ocpp2.0.1") as back:
        await back.boot(reason="LocalReset")
        await _event(rig, back, "Alerting", "CustomMonitor", variableMonitoringId=4, cleared=True)
    told = await rig.logged(cs, "NotifyEvent", 2)
    assert ['"cleared":true' in t.payload for t in told] == [False, True]


async def test_tc_n_50_periodic_events(rig: Rig, cs: ScriptedCharger) -> None:
    """Several events come in one message."""
    events = [
        {
            "eventId": number,
            "timestamp": ago(1),
            "trigger": "Periodic",
            "actualValue": str(number),
            "eventNotificationType": "CustomMonitor",
            **_VOLTAGE,
        }
        for number in (1, 2)
    ]
    assert await cs.call("NotifyEvent", {"generatedAt": ago(0), "seqNo": 0, "eventData": events}) == {}
    (told,) = await rig.logged(cs, "NotifyEvent")
    assert told.payload.count('"eventNotificationType"') == 2


def _log(kind: str, number: int = 12) -> Json:
    return {
        "logType": kind,
        "requestId": number,
        "retries": 1,
        "retryInterval": 30,
        "log": {"remoteLocation": "https://logs.example.org/in", "oldestTimestamp": ago(86400)},
    }


async def _uploaded(rig: Rig, cs: ScriptedCharger, kind: str) -> None:
    answer = {"status": "Accepted", "filename": "station.log"}
    await rig.agreed(cs, "GetLog", _log(kind), answer)
    for status in ("Uploading", "Uploaded"):
        assert await cs.call("LogStatusNotification", {"status": status, "requestId": 12}) == {}
    told = await rig.logged(cs, "LogStatusNotification", 2)
    assert [t.payload for t in told] == [
        '{"status":"Uploading","requestId":12}',
        '{"status":"Uploaded","requestId":12}',
    ]


async def test_tc_n_25_diagnostics_log(rig: Rig, cs: ScriptedCharger) -> None:
    """The diagnostics log is uploaded; its name and its course are told."""
    await _uploaded(rig, cs, "DiagnosticsLog")


async def test_tc_n_35_security_log(rig: Rig, cs: ScriptedCharger) -> None:
    """The security log is uploaded."""
    await _uploaded(rig, cs, "SecurityLog")


async def test_tc_n_34_log_refused(rig: Rig, cs: ScriptedCharger) -> None:
    """A log is refused, or its upload fails."""
    await rig.denied(cs, "GetLog", _log("DiagnosticsLog"), REJECTED)
    await rig.agreed(cs, "GetLog", _log("DiagnosticsLog"), ACCEPTED)
    for status in ("BadMessage", "NotSupportedOperation", "PermissionDenied", "UploadFailure"):
        assert await cs.call("LogStatusNotification", {"status": status, "requestId": 12}) == {}
    assert len(await rig.logged(cs, "LogStatusNotification", 4)) == 4


async def test_tc_n_36_second_log(rig: Rig, cs: ScriptedCharger) -> None:
    """A second request cancels the first: AcceptedCanceled is agreement, and each upload keeps its own id."""
    await rig.agreed(cs, "GetLog", _log("DiagnosticsLog", 12), ACCEPTED)
    await rig.agreed(cs, "GetLog", _log("DiagnosticsLog", 13), {"status": "AcceptedCanceled"})
    canceled = {"status": "AcceptedCanceled", "requestId": 12}
    assert await cs.call("LogStatusNotification", canceled) == {}
    assert await cs.call("LogStatusNotification", {"status": "Uploaded", "requestId": 13}) == {}


async def _customer(
    rig: Rig, cs: ScriptedCharger, *, report: bool, clear: bool, data: str | None, **who: object
) -> None:
    """A customer's data is asked for, or cleared; what is reported, in parts, is confirmed and on record."""
    wish = {"requestId": 21, "report": report, "clear": clear, **who}
    await rig.agreed(cs, "CustomerInformation", wish, ACCEPTED)
    if not report:
        return
    parts = [""] if data is None else [data[:5], data[5:]]
    for number, text in enumerate(parts):
        part = {
            "requestId": 21,
            "seqNo": number,
            "generatedAt": ago(0),
            "tbc": number + 1 < len(parts),
            "data": text,
        }
        assert await cs.call("NotifyCustomerInformation", part) == {}
    assert len(await rig.logged(cs, "NotifyCustomerInformation", len(parts))) == len(parts)


async def test_tc_n_27_customer_information(rig: Rig, cs: ScriptedCharger) -> None:
    """What the station keeps of a token is told."""
    await _customer(rig, cs, report=True, clear=False, data="TAG-OK;cached", idToken=token())


async def test_tc_n_28_no_customer_information(rig: Rig, cs: ScriptedCharger) -> None:
    """The station keeps nothing of the token: an empty report."""
    await _customer(rig, cs, report=True, clear=False, data=None, idToken=token())


async def test_tc_n_29_customer_information_refused(rig: Rig, cs: ScriptedCharger) -> None:
    """The station does not tell: Rejected, or Invalid for a request that asks for neither report nor clearing."""
    wish = {"requestId": 22, "report": True, "clear": False, "idToken": token()}
    await rig.denied(cs, "CustomerInformation", wish, REJECTED)
    wish = {"requestId": 23, "report": False, "clear": False, "idToken": token()}
    await rig.denied(cs, "CustomerInformation", wish, {"status": "Invalid"})


async def test_tc_n_30_clear_and_report(rig: Rig, cs: ScriptedCharger) -> None:
    """What is cleared is reported."""
    await _customer(rig, cs, report=True, clear=True, data="TAG-OK;cached", idToken=token())


async def test_tc_n_31_clear_and_report_nothing(rig: Rig, cs: ScriptedCharger) -> None:
    """There was nothing to clear."""
    await _customer(rig, cs, report=True, clear=True, data=None, idToken=token())


async def test_tc_n_32_clear_without_report(rig: Rig, cs: ScriptedCharger) -> None:
    """What is kept is cleared, and nothing is told."""
    await _customer(rig, cs, report=False, clear=True, data=None, idToken=token())


async def test_tc_n_46_clear_and_update_the_list(rig: Rig, cs: ScriptedCharger) -> None:
    """The customer's data is cleared; the token goes from the local list as well, with a differential list."""
    await _customer(rig, cs, report=False, clear=True, data=None, idToken=token())
    wish = {
        "versionNumber": 2,
        "updateType": "Differential",
        "localAuthorizationList": [{"idToken": token()}],
    }
    await rig.agreed(cs, "SendLocalList", wish, ACCEPTED)


async def test_tc_n_62_clear_by_customer_identifier(rig: Rig, cs: ScriptedCharger) -> None:
    """A customer is named by an identifier."""
    await _customer(rig, cs, report=True, clear=True, data="Ann Example", customerIdentifier="ann-1")


async def test_tc_n_63_clear_by_customer_certificate(rig: Rig, cs: ScriptedCharger) -> None:
    """A customer is named by a certificate."""
    await _customer(rig, cs, report=True, clear=True, data="Ann Example", customerCertificate=HASH)
