"""Whether a charger's answer to a command is a yes or a no."""

from typing import Any

import pytest

from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics.results import ACCEPTING, interpret_result
from libs.ocpp.versions import Version
from tests.unit.ocpp.minimal import minimal, statuses

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
