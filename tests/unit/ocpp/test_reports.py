"""What stations report beside status, transactions and meter values: an example of each, for each version."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics import read_call
from libs.ocpp.semantics import reports as r
from libs.ocpp.semantics import reports_v21 as r21
from libs.ocpp.semantics.model import SemanticEvent
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import minimal

V16, V201, V21 = Version.V16, Version.V201, Version.V21
AT = "2026-01-01T00:00:00Z"
NOW = 1_767_225_600_000_000
LATER = NOW + 5_000_000
HASH = {"hashAlgorithm": "SHA256", "issuerNameHash": "ab", "issuerKeyHash": "cd", "serialNumber": "01"}
NAMED = r.CertificateHash("SHA256", "ab", "cd", "01")
PERIODS = [{"startPeriod": 0, "limit": 16.5, "numberPhases": 3}, {"startPeriod": 60, "limit": 8}]
SCHEDULE = {"id": 1, "chargingRateUnit": "A", "duration": 600, "chargingSchedulePeriod": PERIODS}
READ_SCHEDULE = r.Schedule("A", (r.SchedulePeriod(0, 16_500, 3), r.SchedulePeriod(60, 8_000)), None, 600)
EVSE = {"name": "EVSE", "evse": {"id": 1}}

Example = tuple[str, tuple[Version, ...], dict[str, Any], list[SemanticEvent]]


def datum(name: str, value: str, **more: Any) -> dict[str, Any]:
    return {
        "eventId": 1,
        "timestamp": AT,
        "trigger": "Delta",
        "actualValue": value,
        "eventNotificationType": "CustomMonitor",
        "component": EVSE,
        "variable": {"name": name},
    } | more


EXAMPLES: list[Example] = [
    (
        "StatusNotification",
        (V16,),
        {
            "connectorId": 1,
            "errorCode": "OtherError",
            "vendorErrorCode": "E42",
            "info": "door open",
            "status": "Faulted",
        },
        [r.FaultReported(1, 1, "OtherError", False, LATER, "E42", "door open")],
    ),
    (
        "NotifyEvent",
        (V201, V21),
        {
            "generatedAt": AT,
            "seqNo": 0,
            "eventData": [
                datum("Problem", "true", techCode="E1", techInfo="hot"),
                datum("Tripped", "false", cleared=True),
                datum("Temperature", "61", trigger="Alerting", variableMonitoringId=7),
            ],
        },
        [
            r.FaultReported(1, 0, "EVSE.Problem", False, NOW, "E1", "hot"),
            r.FaultReported(1, 0, "EVSE.Tripped", True, NOW),
            r.VariableObserved(r.VariableSeen("EVSE.Temperature", "61", 1), "Alerting", False, 7, None, NOW),
        ],
    ),
    (
        "NotifyReport",
        (V201, V21),
        {
            "requestId": 3,
            "generatedAt": AT,
            "seqNo": 0,
            "tbc": True,
            "reportData": [
                {
                    "component": {"name": "DeviceDataCtrlr"},
                    "variable": {"name": "ItemsPerMessage", "instance": "GetVariables"},
                    "variableAttribute": [{"value": "4"}, {"type": "MaxSet", "value": "9"}],
                },
                {
                    "component": EVSE,
                    "variable": {"name": "Power"},
                    "variableAttribute": [{"mutability": "WriteOnly"}],
                },
            ],
        },
        [
            r.VariablesReported(
                (r.VariableSeen("DeviceDataCtrlr.ItemsPerMessage[GetVariables]", "4"),), 3, False, LATER
            )
        ],
    ),
    (
        "NotifyMonitoringReport",
        (V201,),
        {
            "requestId": 3,
            "generatedAt": AT,
            "seqNo": 0,
            "monitor": [
                {
                    "component": EVSE,
                    "variable": {"name": "Temperature"},
                    "variableMonitoring": [
                        {
                            "id": 7,
                            "transaction": False,
                            "value": 60.5,
                            "type": "UpperThreshold",
                            "severity": 4,
                        }
                    ],
                }
            ],
        },
        [
            r.MonitorsReported(
                (r.Monitor(7, "EVSE.Temperature", "UpperThreshold", 60_500, 4, 1),), 3, True, LATER
            )
        ],
    ),
    (
        "SecurityEventNotification",
        (V16, V201, V21),
        {"type": "InvalidCsmsCertificate", "timestamp": AT, "techInfo": "expired"},
        [r.SecurityEventReported("InvalidCsmsCertificate", "expired", NOW)],
    ),
    (
        "SignCertificate",
        (V16, V201, V21),
        {"csr": "PEM"},
        [r.CertificateSigningAsked("PEM", "station", None, LATER)],
    ),
    (
        "SignCertificate",
        (V21,),
        {"csr": "PEM", "certificateType": "V2G20Certificate", "requestId": 5},
        [r.CertificateSigningAsked("PEM", "v2g20", 5, LATER)],
    ),
    (
        "GetCertificateStatus",
        (V201, V21),
        {"ocspRequestData": {**HASH, "responderURL": "http://ocsp"}},
        [r.CertificateStatusAsked(NAMED, "OCSP", ("http://ocsp",), LATER)],
    ),
    (
        "GetCertificateChainStatus",
        (V21,),
        {
            "certificateStatusRequests": [
                {"certificateHashData": HASH, "source": "CRL", "urls": ["http://crl"]}
            ]
        },
        [r.CertificateStatusAsked(NAMED, "CRL", ("http://crl",), LATER)],
    ),
    (
        "Get15118EVCertificate",
        (V201, V21),
        {"iso15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef", "action": "Install", "exiRequest": "AA=="},
        [r.ContractCertificateAsked("Install", "urn:iso:15118:2:2013:MsgDef", "AA==", LATER)],
    ),
    (
        "DiagnosticsStatusNotification",
        (V16,),
        {"status": "UploadFailed"},
        [r.LogStatusReported("UploadFailure", None, LATER)],
    ),
    (
        "LogStatusNotification",
        (V16, V201, V21),
        {"status": "Uploading", "requestId": 4},
        [r.LogStatusReported("Uploading", 4, LATER)],
    ),
    (
        "PublishFirmwareStatusNotification",
        (V201, V21),
        {"status": "Published", "location": ["https://lan/fw"], "requestId": 4},
        [r.FirmwarePublishReported("Published", ("https://lan/fw",), 4, LATER)],
    ),
    (
        "NotifyEVChargingNeeds",
        (V201, V21),
        {
            "evseId": 1,
            "maxScheduleTuples": 10,
            "chargingNeeds": {
                "requestedEnergyTransfer": "AC_three_phase",
                "departureTime": AT,
                "acChargingParameters": {
                    "energyAmount": 20000,
                    "evMinCurrent": 6,
                    "evMaxCurrent": 32,
                    "evMaxVoltage": 400,
                },
            },
        },
        [
            r.ChargingNeedsReported(
                1, "AC_three_phase", NOW, LATER, 20_000, 6_000, 32_000, 400_000, max_tuples=10
            )
        ],
    ),
    (
        "NotifyEVChargingNeeds",
        (V21,),
        {
            "evseId": 1,
            "chargingNeeds": {
                "requestedEnergyTransfer": "AC_BPT",
                "v2xChargingParameters": {
                    "maxChargePower": 3680.5,
                    "maxChargePower_L2": 3680,
                    "maxChargePower_L3": 3680,
                    "evTargetEnergyRequest": 1000.4,
                },
            },
        },
        [r.ChargingNeedsReported(1, "AC_BPT", None, LATER, energy_wh=1_000, max_power_mw=11_040_500)],
    ),
    (
        "NotifyEVChargingSchedule",
        (V201, V21),
        {"evseId": 1, "timeBase": AT, "chargingSchedule": SCHEDULE},
        [r.VehicleScheduleReported(1, r.Schedule("A", READ_SCHEDULE.periods, NOW, 600), LATER)],
    ),
    (
        "NotifyChargingLimit",
        (V201, V21),
        {
            "chargingLimit": {"chargingLimitSource": "SO", "isGridCritical": True},
            "chargingSchedule": [SCHEDULE],
        },
        [r.ExternalLimitReported(0, "SO", True, (READ_SCHEDULE,), LATER)],
    ),
    (
        "ClearedChargingLimit",
        (V201, V21),
        {"chargingLimitSource": "EMS", "evseId": 2},
        [r.ExternalLimitCleared(2, "EMS", LATER)],
    ),
    (
        "ReportChargingProfiles",
        (V201, V21),
        {
            "requestId": 3,
            "chargingLimitSource": "CSO",
            "evseId": 1,
            "tbc": True,
            "chargingProfile": [
                {
                    "id": 9,
                    "stackLevel": 2,
                    "chargingProfilePurpose": "TxProfile",
                    "chargingProfileKind": "Relative",
                    "transactionId": "t",
                    "chargingSchedule": [SCHEDULE],
                }
            ],
        },
        [
            r.ProfilesReported(
                1,
                "CSO",
                (r.Profile(9, "TxProfile", 2, "Relative", "t", (READ_SCHEDULE,)),),
                3,
                False,
                LATER,
            )
        ],
    ),
    (
        "ReservationStatusUpdate",
        (V201, V21),
        {"reservationId": 7, "reservationUpdateStatus": "Expired"},
        [r.ReservationEnded(7, "Expired", LATER)],
    ),
    (
        "NotifyDisplayMessages",
        (V201, V21),
        {
            "requestId": 3,
            "messageInfo": [
                {
                    "id": 1,
                    "priority": "InFront",
                    "state": "Idle",
                    "endDateTime": AT,
                    "message": {"format": "UTF8", "content": "hello"},
                }
            ],
        },
        [
            r.DisplayMessagesReported(
                (r.DisplayMessage(1, "InFront", "hello", "UTF8", "Idle", ends_at=NOW),), 3, True, LATER
            )
        ],
    ),
    (
        "NotifyCustomerInformation",
        (V201, V21),
        {"requestId": 3, "seqNo": 1, "generatedAt": AT, "data": "name", "tbc": True},
        [r.CustomerInformationReported(3, 1, "name", False, LATER)],
    ),
    (
        "DataTransfer",
        (V16, V201, V21),
        {"vendorId": "org.example", "messageId": "m", "data": "x"},
        [r.VendorDataReceived("org.example", "m", "x", LATER)],
    ),
    (
        "DataTransfer",
        (V201, V21),
        {"vendorId": "org.example", "data": {"a": [1]}},
        [r.VendorDataReceived("org.example", None, '{"a":[1]}', LATER)],
    ),
    (
        "NotifySettlement",
        (V21,),
        {
            "pspRef": "p",
            "status": "Settled",
            "settlementAmount": 12.34,
            "settlementTime": AT,
            "receiptId": "r",
        },
        [r21.SettlementReported(None, "p", "Settled", 12_340, NOW, "r", LATER)],
    ),
    (
        "NotifyPriorityCharging",
        (V21,),
        {"transactionId": "t", "activated": True},
        [r21.PriorityChargingReported("t", True, LATER)],
    ),
    ("PullDynamicScheduleUpdate", (V21,), {"chargingProfileId": 9}, [r21.ScheduleUpdateAsked(9, LATER)]),
    ("VatNumberValidation", (V21,), {"vatNumber": "DE1"}, [r21.VatNumberAsked("DE1", 0, LATER)]),
    (
        "NotifyDERAlarm",
        (V21,),
        {"controlType": "FreqDroop", "gridEventFault": "OverFrequency", "timestamp": AT},
        [r21.GridAlarmReported("FreqDroop", "OverFrequency", False, None, NOW)],
    ),
    (
        "NotifyDERStartStop",
        (V21,),
        {"controlId": "c", "started": True, "timestamp": AT, "supersededIds": ["b"]},
        [r21.GridControlChanged("c", True, ("b",), NOW)],
    ),
    (
        "ReportDERControl",
        (V21,),
        {
            "requestId": 3,
            "gradient": [{"id": "g", "gradient": {"priority": 1, "gradient": 1, "softGradient": 2}}],
        },
        [r21.GridControlsReported((r21.GridControl("g", "gradient", False, False),), 3, True, LATER)],
    ),
    (
        "BatterySwap",
        (V21,),
        {
            "eventType": "BatteryIn",
            "requestId": 3,
            "idToken": {"idToken": "T", "type": "ISO14443"},
            "batteryData": [{"evseId": 2, "serialNumber": "s", "soC": 17.5, "soH": 98}],
        },
        [r21.BatterySwapReported("BatteryIn", 3, "T", (r21.Battery(2, "s", 17_500, 98_000),), LATER)],
    ),
    (
        "OpenPeriodicEventStream",
        (V21,),
        {"constantStreamData": {"id": 1, "variableMonitoringId": 7, "params": {"interval": 5}}},
        [r21.StreamOpened(1, 7, 5, None, LATER)],
    ),
    ("ClosePeriodicEventStream", (V21,), {"id": 1}, [r21.StreamClosed(1, LATER)]),
    (
        "NotifyPeriodicEventStream",
        (V21,),
        {"id": 1, "pending": 0, "basetime": AT, "data": [{"t": 0.5, "v": "61"}]},
        [r21.StreamValuesReported(1, (r21.StreamValue(NOW + 500_000, "61"),), 0, LATER)],
    ),
]


@pytest.mark.parametrize(
    ("version", "action", "payload", "expected"),
    [(version, action, payload, expected) for action, of, payload, expected in EXAMPLES for version in of],
)
def test_reports(
    version: Version, action: str, payload: dict[str, Any], expected: list[SemanticEvent]
) -> None:
    assert check_call(version, action, payload) == CheckedCall(payload), "the example must conform"
    events = read_call(version, action, payload, None, LATER)
    assert [event for event in events if isinstance(event, r.Report)] == expected


def test_costs_come_with_the_steps_of_a_transaction() -> None:
    payload = {
        "eventType": "Updated",
        "timestamp": AT,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": 1,
        "transactionInfo": {"transactionId": "t"},
        "costDetails": {
            "totalCost": {"currency": "EUR", "typeOfCost": "NormalCost", "total": {"inclTax": 3.57}},
            "totalUsage": {"energy": 10, "chargingTime": 60, "idleTime": 5},
        },
    }
    step, cost = read_call(V21, "TransactionEvent", payload, None, LATER)
    assert cost == r21.CostReported("t", "EUR", 3_570, None, 60, 5, False, LATER)
    assert read_call(V201, "TransactionEvent", payload, None, LATER) == [step]


# A heartbeat means no more than any other frame.
MEANS_NOTHING = {"Heartbeat"}


@pytest.mark.parametrize(
    ("version", "action"), [(v, a) for v in Version for a, route in ROUTES[v].items() if route.to_csms]
)
def test_every_message_has_a_meaning(version: Version, action: str) -> None:
    payload = minimal(version, action, "request")
    events = read_call(version, action, payload, {"transactionId": 1}, LATER)
    lists = [value for value in payload.values() if isinstance(value, list)]
    assert bool(events) == (action not in MEANS_NOTHING) or [] in lists
    for event in events:
        assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event


def test_numbers_beyond_all_measure_are_clamped() -> None:
    payload = {
        "pspRef": "p",
        "status": "Settled",
        "settlementAmount": 1e300,
        "settlementTime": AT,
    }
    (settled,) = read_call(V21, "NotifySettlement", payload, None, LATER)
    assert isinstance(settled, r21.SettlementReported)
    assert settled.amount_milli == 10**18
