"""What each version of OCPP has words for, and which."""

from typing import Any

import pytest

from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.commands import Command, UpdateFirmware
from libs.ocpp.semantics.encoding import Unsupported, encode_command
from libs.ocpp.versions import Version

V16, V201, V21 = Version.V16, Version.V201, Version.V21
NOW = 1_767_225_600_000_000


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
    assert encode_command(V21, c.CertificateSigned("PEM", "v2g20")) == (
        "CertificateSigned",
        {"certificateChain": "PEM", "certificateType": "V2G20Certificate"},
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
        (V201, c.CertificateSigned("PEM", "v2g20"), "15118-20"),
        (V16, c.GetVariables((c.Variable("X", 1),)), "whole station"),
        (V16, c.SetVariables((c.VariableValue("A", "1"), c.VariableValue("B", "2"))), "one key"),
        (V201, c.GetVariables((c.Variable("VendorKey"),)), "Component.Variable"),
        (V201, c.ChangeAvailability(operative=True, connector_id=1), "EVSE"),
    ],
)
def test_what_a_version_cannot_express(version: Version, command: Command, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encode_command(version, command)
