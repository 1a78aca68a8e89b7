from datetime import timedelta, timezone
from typing import Any

import pytest

from libs.ocpp import quirks
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics import read_call
from libs.ocpp.semantics.model import (
    Booted,
    ConnectorStatusReported,
    FirmwareStatusReported,
    MeasurementsReported,
    MeterSample,
    Reading,
    SemanticEvent,
    TokenPresented,
    TransactionStep,
)
from libs.ocpp.semantics.reports import FaultReported
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import minimal

V16, V201, V21 = Version.V16, Version.V201, Version.V21
AT = "2026-01-01T00:00:00Z"
NOW = 1_767_225_600_000_000
LATER = NOW + 5_000_000
REGISTER = "Energy.Active.Import.Register"


def read(version: Version, action: str, payload: dict[str, Any], answer: Any = None) -> list[SemanticEvent]:
    assert check_call(version, action, payload) == CheckedCall(payload), "the example must conform"
    return read_call(version, action, payload, answer, LATER)


def event(kind: str, **more: Any) -> dict[str, Any]:
    info = {"transactionId": "tx-1"} | more.pop("transactionInfo", {})
    return {
        "eventType": kind,
        "timestamp": AT,
        "triggerReason": "Authorized",
        "seqNo": 3,
        "transactionInfo": info,
    } | more


def test_status_16() -> None:
    payload = {"connectorId": 2, "errorCode": "GroundFailure", "status": "Faulted", "timestamp": AT}
    assert read(V16, "StatusNotification", payload) == [
        ConnectorStatusReported(
            evse_id=2, connector_id=2, status="Faulted", error_code="GroundFailure", at=NOW
        ),
        FaultReported(evse_id=2, connector_id=2, code="GroundFailure", cleared=False, at=NOW),
    ]


def test_status_16_of_the_station_itself_without_a_time() -> None:
    payload = {"connectorId": 0, "errorCode": "NoError", "status": "Available"}
    assert read(V16, "StatusNotification", payload) == [
        ConnectorStatusReported(evse_id=0, connector_id=0, status="Available", error_code=None, at=LATER)
    ]


def test_status_2() -> None:
    payload = {"timestamp": AT, "connectorStatus": "Occupied", "evseId": 1, "connectorId": 2}
    assert read(V21, "StatusNotification", payload) == [
        ConnectorStatusReported(evse_id=1, connector_id=2, status="Occupied", error_code=None, at=NOW)
    ]


def test_status_2_through_the_device_model() -> None:
    datum = {
        "eventId": 1,
        "timestamp": AT,
        "trigger": "Delta",
        "actualValue": "Unavailable",
        "eventNotificationType": "HardWiredNotification",
        "component": {"name": "Connector", "evse": {"id": 1, "connectorId": 2}},
        "variable": {"name": "AvailabilityState"},
    }
    other = datum | {"variable": {"name": "Problem"}, "actualValue": "true"}
    payload = {"generatedAt": AT, "seqNo": 0, "eventData": [datum, other]}
    assert read(V201, "NotifyEvent", payload) == [
        ConnectorStatusReported(evse_id=1, connector_id=2, status="Unavailable", error_code=None, at=NOW),
        FaultReported(evse_id=1, connector_id=2, code="Connector.Problem", cleared=False, at=NOW),
    ]


def test_authorize() -> None:
    assert read(V16, "Authorize", {"idTag": "TAG"}, {"idTagInfo": {"status": "Expired"}}) == [
        TokenPresented("TAG", "Expired", LATER)
    ]
    token = {"idToken": {"idToken": "TAG", "type": "Central"}}
    assert read(V201, "Authorize", token, {"idTokenInfo": {"status": "Blocked"}}) == [
        TokenPresented("TAG", "Blocked", LATER)
    ]
    assert read(V201, "Authorize", token) == [TokenPresented("TAG", None, LATER)]


def test_start_transaction_takes_its_id_from_the_answer() -> None:
    payload = {"connectorId": 1, "idTag": "TAG", "timestamp": AT, "meterStart": 100, "reservationId": 9}
    answer = {"transactionId": 4711, "idTagInfo": {"status": "Invalid"}}
    assert read(V16, "StartTransaction", payload, answer) == [
        TransactionStep(
            kind="started",
            transaction_id="4711",
            at=NOW,
            evse_id=1,
            connector_id=1,
            id_token="TAG",
            token_status="Invalid",
            meter_wh=100,
            reservation_id=9,
        )
    ]


@pytest.mark.parametrize("answer", [None, {}])
def test_an_unanswered_start_is_no_start(answer: Any) -> None:
    payload = {"connectorId": 1, "idTag": "TAG", "timestamp": AT, "meterStart": 100}
    assert read(V16, "StartTransaction", payload, answer) == []


def test_stop_transaction_with_data() -> None:
    data = [
        {"timestamp": AT, "sampledValue": [{"value": "1.5", "unit": "kWh", "context": "Transaction.End"}]}
    ]
    payload = {"transactionId": 4711, "timestamp": AT, "meterStop": 1500, "transactionData": data}
    step, measured = read(V16, "StopTransaction", payload, {})
    assert step == TransactionStep(
        kind="ended",
        transaction_id="4711",
        at=NOW,
        reason="Local",
        meter_wh=1500,
        readings=(Reading(NOW, 1500, "Transaction.End"),),
    )
    sample = MeterSample(NOW, REGISTER, 1_500_000, "Wh", context="Transaction.End")
    assert measured == MeasurementsReported(None, None, "4711", (sample,))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [({"transactionId": -1}, "-1"), ({"transactionId": 2**63 - 1}, str(2**63 - 1)), ({}, "")],
)
def test_stop_transaction_of_an_odd_id(sent: dict[str, int], expected: str) -> None:
    """1.6 errata, and the transactionId row: always a step, for the sessions to bind or review."""
    checked = check_call(V16, "StopTransaction", {"timestamp": AT, "meterStop": 5, "reason": "Other"} | sent)
    assert isinstance(checked, CheckedCall)
    (step,) = read_call(V16, "StopTransaction", checked.payload, {}, LATER)
    assert isinstance(step, TransactionStep)
    assert (step.transaction_id, step.reason, step.meter_wh) == (expected, "Other", 5)


def test_meter_values_16_within_a_transaction() -> None:
    payload = {
        "connectorId": 1,
        "transactionId": 4711,
        "meterValue": [
            {
                "timestamp": AT,
                "sampledValue": [{"value": "100"}, {"value": "16", "measurand": "Current.Import"}],
            },
            {"timestamp": "2026-01-01T00:01:00Z", "sampledValue": [{"value": "200"}]},
        ],
    }
    measured, step = read(V16, "MeterValues", payload)
    assert isinstance(measured, MeasurementsReported)
    assert (measured.evse_id, measured.transaction_id, len(measured.samples)) == (1, "4711", 3)
    minute = NOW + 60_000_000
    assert step == TransactionStep(
        kind="updated",
        transaction_id="4711",
        at=minute,
        evse_id=1,
        connector_id=1,
        meter_wh=200,
        readings=(Reading(NOW, 100), Reading(minute, 200)),
    )


@pytest.mark.parametrize("sent", [{}, {"transactionId": 0}, {"transactionId": -1}])
def test_meter_values_16_outside_a_transaction(sent: dict[str, int]) -> None:
    payload = {"connectorId": 0, "meterValue": [{"timestamp": AT, "sampledValue": [{"value": "1"}]}]} | sent
    (measured,) = read(V16, "MeterValues", payload)
    assert isinstance(measured, MeasurementsReported)
    assert (measured.evse_id, measured.transaction_id) == (0, None)


def test_meter_values_2_of_the_main_meter() -> None:
    payload = {"evseId": 0, "meterValue": [{"timestamp": AT, "sampledValue": [{"value": 1.5}]}]}
    assert read(V201, "MeterValues", payload) == [
        MeasurementsReported(0, None, None, (MeterSample(NOW, REGISTER, 1500, "Wh"),))
    ]


def test_transaction_event() -> None:
    payload = event(
        "Updated",
        offline=True,
        reservationId=8,
        evse={"id": 1, "connectorId": 2},
        idToken={"idToken": "TAG", "type": "Central"},
        transactionInfo={"chargingState": "Charging", "remoteStartId": 5},
        meterValue=[{"timestamp": AT, "sampledValue": [{"value": 7.5, "unitOfMeasure": {"unit": "kWh"}}]}],
    )
    step, measured = read(V201, "TransactionEvent", payload, {"idTokenInfo": {"status": "Accepted"}})
    assert step == TransactionStep(
        kind="updated",
        transaction_id="tx-1",
        at=NOW,
        evse_id=1,
        connector_id=2,
        id_token="TAG",
        token_status="Accepted",
        seq_no=3,
        trigger="Authorized",
        meter_wh=7500,
        readings=(Reading(NOW, 7500),),
        charging_state="Charging",
        offline=True,
        reservation_id=8,
        remote_start_id=5,
    )
    assert measured == MeasurementsReported(1, 2, "tx-1", (MeterSample(NOW, REGISTER, 7_500_000, "Wh"),))


@pytest.mark.parametrize(("kind", "wh"), [("Started", 10), ("Updated", 40), ("Ended", 30)])
def test_each_step_takes_its_own_register(kind: str, wh: int) -> None:
    """2.0.1 J02: an Ended event may carry the whole history, clock-aligned values included."""
    contexts = [("Sample.Clock", 5), ("Transaction.Begin", 10), ("Transaction.End", 30), ("Sample.Clock", 40)]
    values = [{"timestamp": AT, "sampledValue": [{"value": v, "context": c}]} for c, v in contexts]
    step = read(V21, "TransactionEvent", event(kind, meterValue=values))[0]
    assert isinstance(step, TransactionStep)
    assert step.meter_wh == wh
    assert len(step.readings) == 4


@pytest.mark.parametrize(("kind", "wh"), [("Started", 10), ("Updated", 30), ("Ended", 30)])
def test_each_step_takes_its_own_register_whatever_the_order(kind: str, wh: int) -> None:
    times = [(30, "2026-01-01T00:20:00Z"), (20, "2026-01-01T00:10:00Z"), (10, AT)]
    values = [{"timestamp": at, "sampledValue": [{"value": v}]} for v, at in times]
    step = read(V21, "TransactionEvent", event(kind, meterValue=values))[0]
    assert isinstance(step, TransactionStep)
    assert step.meter_wh == wh


def test_meter_values_16_of_which_the_newest_comes_first() -> None:
    times = [("30", "2026-01-01T00:20:00Z"), ("10", AT)]
    values = [{"timestamp": at, "sampledValue": [{"value": v}]} for v, at in times]
    step = read(V16, "MeterValues", {"connectorId": 1, "transactionId": 7, "meterValue": values})[-1]
    assert isinstance(step, TransactionStep)
    assert (step.at, step.meter_wh) == (NOW + 20 * 60 * 1_000_000, 30)


def test_numbers_that_nothing_has_are_left_out() -> None:
    start = {"connectorId": 10**12, "idTag": "TAG", "meterStart": 10**25, "timestamp": AT}
    (begun,) = read(V16, "StartTransaction", start, {"transactionId": 7})
    assert isinstance(begun, TransactionStep)
    assert (begun.evse_id, begun.meter_wh, begun.quirks) == (None, None, (quirks.SAMPLE_DROPPED,))
    stop = {"transactionId": 7, "meterStop": -(10**15), "timestamp": AT}
    (ended,) = read(V16, "StopTransaction", stop)
    assert isinstance(ended, TransactionStep)
    assert (ended.meter_wh, ended.quirks) == (None, (quirks.SAMPLE_DROPPED,))
    (told,) = read(V21, "TransactionEvent", event("Updated", evse={"id": 10**25, "connectorId": 2**31}))
    assert isinstance(told, TransactionStep)
    assert (told.evse_id, told.connector_id) == (None, None)


def test_transaction_event_without_token_evse_or_meter() -> None:
    payload = event(
        "Ended",
        transactionInfo={"stoppedReason": "EVDisconnected"},
        idToken={"idToken": "", "type": "NoAuthorization"},
    )
    assert read(V201, "TransactionEvent", payload) == [
        TransactionStep(
            kind="ended",
            transaction_id="tx-1",
            at=NOW,
            seq_no=3,
            trigger="Authorized",
            reason="EVDisconnected",
        )
    ]


def test_boot() -> None:
    payload = {
        "chargePointVendor": "V",
        "chargePointModel": "M",
        "chargeBoxSerialNumber": "S",
        "firmwareVersion": "1",
    }
    assert read(V16, "BootNotification", payload) == [Booted("V", "M", "S", "1", None, LATER)]
    station = {"vendorName": "V", "model": "M", "serialNumber": "S", "firmwareVersion": "1"}
    payload2 = {"reason": "PowerUp", "chargingStation": station}
    assert read(V201, "BootNotification", payload2) == [Booted("V", "M", "S", "1", "PowerUp", LATER)]


def test_firmware_status() -> None:
    expected = [FirmwareStatusReported("Installed", None, LATER)]
    assert read(V16, "FirmwareStatusNotification", {"status": "Installed"}) == expected
    signed = {"status": "Installed", "requestId": 3}
    expected = [FirmwareStatusReported("Installed", 3, LATER)]
    assert read(V16, "SignedFirmwareStatusNotification", signed) == expected
    assert read(V201, "FirmwareStatusNotification", signed) == expected


def test_times_are_read_in_the_chargers_zone_and_flagged() -> None:
    payload = {
        "connectorId": 1,
        "errorCode": "NoError",
        "status": "Available",
        "timestamp": "2026-01-01T01:00:00",
    }
    zone = timezone(timedelta(hours=1))
    (status,) = read_call(V16, "StatusNotification", payload, None, LATER, zone=zone)
    assert isinstance(status, ConnectorStatusReported)
    assert (status.at, status.quirks) == (NOW, (quirks.TIMESTAMP_WITHOUT_ZONE,))


@pytest.mark.parametrize(
    ("version", "action"), [(v, a) for v in Version for a, r in ROUTES[v].items() if r.to_csms]
)
def test_every_smallest_call_can_be_read(version: Version, action: str) -> None:
    payload = minimal(version, action, "request")
    assert isinstance(read_call(version, action, payload, None, NOW), list)
    if not ROUTES[version][action].is_send:
        answer = minimal(version, action, "response")
        assert isinstance(read_call(version, action, payload, answer, NOW), list)
