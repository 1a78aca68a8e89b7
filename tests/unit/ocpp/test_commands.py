from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.ocpp import schemas
from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.commands import (
    ClearLimit,
    Command,
    RemoteStart,
    RemoteStop,
    Reset,
    SetDefaultLimit,
    SetLimit,
    UpdateFirmware,
)
from libs.ocpp.semantics.dialect import from_request, to_request
from libs.ocpp.semantics.encoding import ENCODERS, Unsupported, encode_command
from libs.ocpp.semantics.results import ACCEPTING, interpret_result
from libs.ocpp.versions import Version
from tests.unit.ocpp.commands import COMMANDS
from tests.unit.ocpp.minimal import minimal, statuses

V16, V201, V21 = Version.V16, Version.V201, Version.V21
NOW = 1_767_225_600_000_000
ALL: list[Command] = [
    SetLimit(1, "77", 16_000, 5, 1),
    SetLimit(1, None, 16_000, 5, 1, None, 3),
    SetLimit(0, None, 100_000, 5, 0),
    SetLimit(1, "77", 8_199, 5, 1, 600, 1, NOW),
    SetDefaultLimit(0, 6_000, 1000, 0),
    SetDefaultLimit(2, 6_000, 1000, 0, 3),
    ClearLimit(),
    ClearLimit(evse_id=1),
    ClearLimit(profile_id=5),
    RemoteStart(1, "TAG", 9),
    RemoteStart(None, "TAG", 9),
    RemoteStop("77"),
    UpdateFirmware("https://example.org/fw.bin", NOW, 4),
    Reset("soft"),
    Reset("hard"),
]


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("command", ALL)
def test_every_command_conforms_in_every_version(version: Version, command: Command) -> None:
    action, payload = encode_command(version, command)
    assert ROUTES[version][action].to_station
    assert schemas.validate(version, action, "request", payload) is None
    assert b"null" not in orjson.dumps(payload)  # rule 8


@pytest.mark.parametrize(
    ("version", "command", "expected"),
    [
        (
            V16,
            SetLimit(1, "77", 8_199, 5, 1, 600, 1, NOW),
            (
                "SetChargingProfile",
                {
                    "connectorId": 1,
                    "csChargingProfiles": {
                        "chargingProfileId": 5,
                        "transactionId": 77,
                        "stackLevel": 1,
                        "chargingProfilePurpose": "TxProfile",
                        "chargingProfileKind": "Absolute",
                        "validTo": "2026-01-01T00:10:00.000Z",
                        "chargingSchedule": {
                            "duration": 600,
                            "startSchedule": "2026-01-01T00:00:00.000Z",
                            "chargingRateUnit": "A",
                            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8.1, "numberPhases": 1}],
                        },
                    },
                },
            ),
        ),
        (
            V201,
            SetLimit(2, None, 16_000, 5, 1),
            (
                "SetChargingProfile",
                {
                    "evseId": 2,
                    "chargingProfile": {
                        "id": 5,
                        "stackLevel": 1,
                        "chargingProfilePurpose": "TxDefaultProfile",
                        "chargingProfileKind": "Relative",
                        "chargingSchedule": [
                            {
                                "id": 5,
                                "chargingRateUnit": "A",
                                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}],
                            }
                        ],
                    },
                },
            ),
        ),
        (
            V16,
            SetDefaultLimit(0, 6_000, 1000, 0),
            (
                "SetChargingProfile",
                {
                    "connectorId": 0,
                    "csChargingProfiles": {
                        "chargingProfileId": 1000,
                        "stackLevel": 0,
                        "chargingProfilePurpose": "TxDefaultProfile",
                        "chargingProfileKind": "Relative",
                        "chargingSchedule": {
                            "chargingRateUnit": "A",
                            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.0}],
                        },
                    },
                },
            ),
        ),
        (
            V21,
            SetDefaultLimit(0, 6_000, 1000, 0, 3),
            (
                "SetChargingProfile",
                {
                    "evseId": 0,
                    "chargingProfile": {
                        "id": 1000,
                        "stackLevel": 0,
                        "chargingProfilePurpose": "TxDefaultProfile",
                        "chargingProfileKind": "Relative",
                        "chargingSchedule": [
                            {
                                "id": 1000,
                                "chargingRateUnit": "A",
                                "chargingSchedulePeriod": [
                                    {"startPeriod": 0, "limit": 6.0, "numberPhases": 3}
                                ],
                            }
                        ],
                    },
                },
            ),
        ),
        (V16, ClearLimit(profile_id=1000), ("ClearChargingProfile", {"id": 1000})),
        (V201, ClearLimit(profile_id=1000), ("ClearChargingProfile", {"chargingProfileId": 1000})),
        (V16, RemoteStart(1, "TAG", 9), ("RemoteStartTransaction", {"idTag": "TAG", "connectorId": 1})),
        (
            V21,
            RemoteStart(None, "TAG", 9),
            (
                "RequestStartTransaction",
                {"idToken": {"idToken": "TAG", "type": "Central"}, "remoteStartId": 9},
            ),
        ),
        (V16, RemoteStop("77"), ("RemoteStopTransaction", {"transactionId": 77})),
        (V201, RemoteStop("ab"), ("RequestStopTransaction", {"transactionId": "ab"})),
        (V16, Reset("soft"), ("Reset", {"type": "Soft"})),
        (V201, Reset("soft"), ("Reset", {"type": "OnIdle"})),
        (V201, Reset("hard"), ("Reset", {"type": "Immediate"})),
        (V16, ClearLimit(), ("ClearChargingProfile", {})),
        (V201, ClearLimit(evse_id=1), ("ClearChargingProfile", {"chargingProfileCriteria": {"evseId": 1}})),
    ],
)
def test_wire_forms(version: Version, command: Command, expected: tuple[str, dict[str, Any]]) -> None:
    assert encode_command(version, command) == expected


@pytest.mark.parametrize(
    ("version", "purpose"), [(V16, "ChargePointMaxProfile"), (V201, "ChargingStationMaxProfile")]
)
def test_a_limit_of_the_station_is_absolute(version: Version, purpose: str) -> None:
    _, payload = encode_command(version, SetLimit(0, None, 100_000, 5, 0))
    profile = payload.get("csChargingProfiles") or payload["chargingProfile"]
    assert (profile["chargingProfilePurpose"], profile["chargingProfileKind"]) == (purpose, "Absolute")


@pytest.mark.parametrize("command", [RemoteStop("ab"), SetLimit(1, "ab", 6000, 1, 1)])
def test_transaction_ids_of_1_6_are_numbers(command: Command) -> None:
    with pytest.raises(ValueError, match="number"):
        encode_command(V16, command)


def test_an_end_needs_a_beginning() -> None:
    with pytest.raises(ValueError, match="starts_at"):
        encode_command(V16, SetLimit(1, None, 6000, 1, 1, 60))


@given(st.integers(min_value=0, max_value=1_000_000), st.sampled_from(list(Version)))
def test_a_limit_is_never_rounded_up_and_always_conforms(milliamp: int, version: Version) -> None:
    action, payload = encode_command(version, SetLimit(1, None, milliamp, 1, 1))
    assert schemas.validate(version, action, "request", payload) is None
    profile = payload.get("csChargingProfiles") or payload["chargingProfile"]
    schedule = profile["chargingSchedule"]
    schedule = schedule if isinstance(schedule, dict) else schedule[0]
    limit = schedule["chargingSchedulePeriod"][0]["limit"]
    assert 0 <= milliamp - round(limit * 1000) < 100


def lacks_words(command: Command) -> bool:
    """Whether OCPP 1.6 has no words for a command."""
    match command:
        case c.Reset(evse_id=evse) if evse is not None:
            return True
        case c.TriggerMessage(message=message):
            return message.startswith(("transaction", "publish", "sign_v2g", "sign_combined"))
        case c.InstallCertificate(use=use) | c.GetInstalledCertificateIds(use=use):
            return use in ("v2g_root", "contract_root")
        case c.CertificateSigned(use="v2g"):
            return True
        case c.SetVariables(values=values):
            return len(values) > 1
        case _:
            return type(command) not in ENCODERS[V16]


@settings(max_examples=200, deadline=None)
@given(COMMANDS, st.sampled_from(list(Version)))
def test_whatever_is_asked_conforms_or_is_refused_by_name(command: Command, version: Version) -> None:
    assert from_request(*to_request(command)) == command
    if version is V16 and lacks_words(command):
        with pytest.raises(ValueError, match=r"OCPP 1.6|unsupported"):
            encode_command(version, command)
        return
    action, payload = encode_command(version, command)
    assert ROUTES[version][action].to_station
    assert schemas.validate(version, action, "request", payload) is None
    assert b"null" not in orjson.dumps(payload)


def test_every_command_has_words_in_2_x() -> None:
    assert set(ENCODERS[V201]) == set(ENCODERS[V21]) == set(get_args(Command))
    lacking = {c.GetTransactionStatus, c.CostUpdated, c.SetDisplayMessage, c.CustomerInformation}
    assert set(ENCODERS[V16]) == set(get_args(Command)) - lacking


HASHES = c.DeleteCertificate("SHA256", "ab", "cd", "01")


@pytest.mark.parametrize(
    ("command", "old", "new"),
    [
        (
            c.UnlockConnector(2, 1),
            ("UnlockConnector", {"connectorId": 2}),
            ("UnlockConnector", {"evseId": 2, "connectorId": 1}),
        ),
        (
            c.ChangeAvailability(operative=False),
            ("ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}),
            ("ChangeAvailability", {"operationalStatus": "Inoperative"}),
        ),
        (
            c.ChangeAvailability(operative=True, evse_id=2, connector_id=1),
            ("ChangeAvailability", {"connectorId": 2, "type": "Operative"}),
            ("ChangeAvailability", {"operationalStatus": "Operative", "evse": {"id": 2, "connectorId": 1}}),
        ),
        (
            c.TriggerMessage("status", 1),
            ("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1}),
            ("TriggerMessage", {"requestedMessage": "StatusNotification", "evse": {"id": 1}}),
        ),
        (
            c.TriggerMessage("sign_certificate"),
            ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}),
            ("TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}),
        ),
        (
            c.ReserveNow(7, 0, "TAG", NOW, group_id="G"),
            (
                "ReserveNow",
                {
                    "connectorId": 0,
                    "expiryDate": "2026-01-01T00:00:00.000Z",
                    "idTag": "TAG",
                    "reservationId": 7,
                    "parentIdTag": "G",
                },
            ),
            (
                "ReserveNow",
                {
                    "id": 7,
                    "expiryDateTime": "2026-01-01T00:00:00.000Z",
                    "idToken": {"idToken": "TAG", "type": "Central"},
                    "groupIdToken": {"idToken": "G", "type": "Central"},
                },
            ),
        ),
        (
            c.SendLocalList(3, full=False, entries=(c.LocalListEntry("A"), c.LocalListEntry("B", None))),
            (
                "SendLocalList",
                {
                    "listVersion": 3,
                    "updateType": "Differential",
                    "localAuthorizationList": [
                        {"idTag": "A", "idTagInfo": {"status": "Accepted"}},
                        {"idTag": "B"},
                    ],
                },
            ),
            (
                "SendLocalList",
                {
                    "versionNumber": 3,
                    "updateType": "Differential",
                    "localAuthorizationList": [
                        {
                            "idToken": {"idToken": "A", "type": "ISO14443"},
                            "idTokenInfo": {"status": "Accepted"},
                        },
                        {"idToken": {"idToken": "B", "type": "ISO14443"}},
                    ],
                },
            ),
        ),
        (
            c.GetVariables((c.Variable("HeartbeatInterval"), c.Variable("AuthCtrlr.LocalPreAuthorize"))),
            ("GetConfiguration", {"key": ["HeartbeatInterval", "LocalPreAuthorize"]}),
            (
                "GetVariables",
                {
                    "getVariableData": [
                        {
                            "component": {"name": "OCPPCommCtrlr"},
                            "variable": {"name": "HeartbeatInterval"},
                        },
                        {"component": {"name": "AuthCtrlr"}, "variable": {"name": "LocalPreAuthorize"}},
                    ]
                },
            ),
        ),
        (
            c.SetVariables((c.VariableValue("TransactionMessageAttempts", "3"),)),
            ("ChangeConfiguration", {"key": "TransactionMessageAttempts", "value": "3"}),
            (
                "SetVariables",
                {
                    "setVariableData": [
                        {
                            "component": {"name": "OCPPCommCtrlr"},
                            "variable": {"name": "MessageAttempts", "instance": "TransactionEvent"},
                            "attributeValue": "3",
                        }
                    ]
                },
            ),
        ),
        (
            c.GetBaseReport(5),
            ("GetConfiguration", {}),
            ("GetBaseReport", {"requestId": 5, "reportBase": "ConfigurationInventory"}),
        ),
        (
            c.GetLog("security", "https://x", 4, oldest=NOW),
            (
                "GetLog",
                {
                    "log": {"remoteLocation": "https://x", "oldestTimestamp": "2026-01-01T00:00:00.000Z"},
                    "logType": "SecurityLog",
                    "requestId": 4,
                },
            ),
            (
                "GetLog",
                {
                    "log": {"remoteLocation": "https://x", "oldestTimestamp": "2026-01-01T00:00:00.000Z"},
                    "logType": "SecurityLog",
                    "requestId": 4,
                },
            ),
        ),
        (
            c.InstallCertificate("csms_root", "PEM"),
            (
                "InstallCertificate",
                {"certificateType": "CentralSystemRootCertificate", "certificate": "PEM"},
            ),
            ("InstallCertificate", {"certificateType": "CSMSRootCertificate", "certificate": "PEM"}),
        ),
        (
            c.GetInstalledCertificateIds(),
            ("GetInstalledCertificateIds", {"certificateType": "CentralSystemRootCertificate"}),
            ("GetInstalledCertificateIds", {}),
        ),
        (
            c.CertificateSigned("PEM"),
            ("CertificateSigned", {"certificateChain": "PEM"}),
            (
                "CertificateSigned",
                {"certificateChain": "PEM", "certificateType": "ChargingStationCertificate"},
            ),
        ),
        (
            UpdateFirmware("https://x", NOW, 4, signing_certificate="PEM", signature="sig"),
            (
                "SignedUpdateFirmware",
                {
                    "requestId": 4,
                    "firmware": {
                        "location": "https://x",
                        "retrieveDateTime": "2026-01-01T00:00:00.000Z",
                        "signingCertificate": "PEM",
                        "signature": "sig",
                    },
                },
            ),
            (
                "UpdateFirmware",
                {
                    "requestId": 4,
                    "firmware": {
                        "location": "https://x",
                        "retrieveDateTime": "2026-01-01T00:00:00.000Z",
                        "signingCertificate": "PEM",
                        "signature": "sig",
                    },
                },
            ),
        ),
    ],
)
def test_the_same_wish_in_old_and_new_words(
    command: Command, old: tuple[str, dict[str, Any]], new: tuple[str, dict[str, Any]]
) -> None:
    assert encode_command(V16, command) == old
    assert encode_command(V201, command) == new


def test_what_only_2_x_can_say() -> None:
    assert encode_command(V21, c.CostUpdated("t", 1234)) == (
        "CostUpdated",
        {"transactionId": "t", "totalCost": 12.34},
    )
    assert encode_command(V21, c.CertificateSigned("PEM", "v2g", 9)) == (
        "CertificateSigned",
        {"certificateChain": "PEM", "certificateType": "V2GCertificate", "requestId": 9},
    )
    for command in (
        c.CostUpdated("t", 1),
        c.SetDisplayMessage(1, "x"),
        c.GetTransactionStatus(),
        c.CustomerInformation(1, report=True, clear=False),
    ):
        with pytest.raises(Unsupported, match=f"unsupported: {type(command).__name__}"):
            encode_command(V16, command)


@pytest.mark.parametrize(
    ("version", "command", "why"),
    [
        (V16, c.Reset("hard", 2), "whole station"),
        (V16, c.TriggerMessage("transaction"), "no transaction"),
        (V16, c.InstallCertificate("v2g_root", "PEM"), "no v2g_root"),
        (V16, c.CertificateSigned("PEM", "v2g"), "15118"),
        (V16, c.GetVariables((c.Variable("X", 1),)), "whole station"),
        (V16, c.SetVariables((c.VariableValue("A", "1"), c.VariableValue("B", "2"))), "one key"),
        (V201, c.GetVariables((c.Variable("VendorKey"),)), "Component.Variable"),
        (V201, c.ChangeAvailability(operative=True, connector_id=1), "EVSE"),
    ],
)
def test_what_a_version_cannot_express(version: Version, command: Command, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encode_command(version, command)


# Every status by which a charger can answer a command, in any version, and what it means.
REJECTING = {
    "Rejected", "NotSupported", "NotImplemented", "Unknown", "UnknownMessageId", "UnknownVendorId", "Failed",
    "NotFound", "Faulted", "Occupied", "Unavailable", "VersionMismatch", "InvalidCertificate",
    "RevokedCertificate", "UnlockFailed", "OngoingAuthorizedTransaction", "UnknownConnector", "EmptyResultSet",
    "NoProfiles", "Invalid", "NotSupportedMessageFormat", "NotSupportedPriority", "NotSupportedState",
    "LanguageNotSupported", "UnknownTransaction", "DownloadOngoing", "NoFirmware", "TooManyElements",
    "ConditionNotSupported", "TxNotFound", "NoCurrencyChange", "NoTariff", "DuplicateTariffId", "NoProfile",
}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "action"), [(v, a) for v in Version for a, r in ROUTES[v].items() if r.to_station]
)
def test_every_listed_status_has_a_verdict(version: Version, action: str) -> None:
    base = minimal(version, action, "response")
    assert interpret_result(action, base) in ("accepted", "rejected")
    for status in statuses(version, action):
        assert status in REJECTING | ACCEPTING
        verdict = interpret_result(action, base | {"status": status})
        assert verdict == ("accepted" if status in ACCEPTING else "rejected")


@pytest.mark.parametrize(
    ("action", "payload", "verdict"),
    [
        ("UpdateFirmware", {}, "accepted"),
        ("GetConfiguration", {"unknownKey": ["a"]}, "accepted"),
        ("ChangeConfiguration", {"status": "RebootRequired"}, "accepted"),
        ("UnlockConnector", {"status": "UnlockFailed"}, "rejected"),
        ("SetVariables", {"setVariableResult": [{"attributeStatus": "Accepted"}]}, "accepted"),
        (
            "SetVariables",
            {"setVariableResult": [{"attributeStatus": "Accepted"}, {"attributeStatus": "Rejected"}]},
            "rejected",
        ),
        ("ClearVariableMonitoring", {"clearMonitoringResult": [{"status": "NotFound"}]}, "rejected"),
        ("Reset", {"status": "VendorSays"}, "rejected"),
    ],
)
def test_verdicts(action: str, payload: dict[str, Any], verdict: str) -> None:
    assert interpret_result(action, payload) == verdict
