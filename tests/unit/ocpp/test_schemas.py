from typing import Any

import pytest

from libs.ocpp import schemas
from libs.ocpp.errors import ErrorCode, canonical, spell
from libs.ocpp.versions import Version

AT = "2026-01-01T00:00:00Z"
STATUS_16 = {"connectorId": 1, "errorCode": "NoError", "status": "Available"}
SAMPLE_16 = {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": [{"value": "1"}]}]}
STATUS_2 = {"timestamp": AT, "connectorStatus": "Available", "evseId": 1, "connectorId": 1}


@pytest.mark.parametrize(
    ("version", "action", "payload", "code", "path"),
    [
        # OCPP-J 1.6 §4.2.3, 2.x part 4 §4.3: what each code means
        (Version.V16, "Authorize", {"idTag": 5}, ErrorCode.TYPE_CONSTRAINT_VIOLATION, "/idTag"),
        (Version.V16, "Authorize", {"idTag": None}, ErrorCode.TYPE_CONSTRAINT_VIOLATION, "/idTag"),
        (Version.V16, "Authorize", {"idTag": "x" * 21}, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "/idTag"),
        (Version.V16, "Authorize", {}, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION, ""),
        (Version.V16, "Authorize", {"idTag": "a", "b": 1}, ErrorCode.FORMAT_VIOLATION, ""),
        (
            Version.V16,
            "StatusNotification",
            STATUS_16 | {"status": "Asleep"},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "/status",
        ),
        (
            Version.V16,
            "StatusNotification",
            STATUS_16 | {"timestamp": "2026-01-01T00:00:00"},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "/timestamp",
        ),
        (
            Version.V16,
            "MeterValues",
            SAMPLE_16 | {"meterValue": []},
            ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
            "/meterValue",
        ),
        (
            Version.V201,
            "StatusNotification",
            STATUS_2 | {"evseId": "1"},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "/evseId",
        ),
        (
            Version.V21,
            "StatusNotification",
            {"timestamp": AT},
            ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
            "",
        ),
    ],
)
def test_violations_map_to_error_codes(
    version: Version, action: str, payload: dict[str, Any], code: ErrorCode, path: str
) -> None:
    violation = schemas.validate(version, action, "request", payload)
    assert violation is not None
    assert (violation.code, violation.path) == (code, path)
    assert 0 < len(violation.message) <= 200


@pytest.mark.parametrize("limit", [8.1, 0.1, 0.3, 1.1, 16, 32.7, 1234567.8])
def test_multiple_of_is_compared_as_decimal(limit: float) -> None:
    assert schemas.validate(Version.V16, "SetChargingProfile", "request", _profile(limit)) is None


def test_a_hundredth_is_no_multiple_of_a_tenth() -> None:
    violation = schemas.validate(Version.V16, "SetChargingProfile", "request", _profile(8.15))
    assert violation is not None
    assert violation.code is ErrorCode.PROPERTY_CONSTRAINT_VIOLATION


def test_only_custom_data_is_open() -> None:
    payload = STATUS_2 | {"customData": {"vendorId": "v", "anything": {"goes": [1]}}}
    assert schemas.validate(Version.V201, "StatusNotification", "request", payload) is None


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64, 2**100, -(2**80)])
def test_huge_integers_are_judged_not_fatal(number: int) -> None:
    assert (
        schemas.validate(Version.V16, "MeterValues", "request", SAMPLE_16 | {"transactionId": number}) is None
    )
    violation = schemas.validate(Version.V16, "MeterValues", "request", SAMPLE_16 | {"meterValue": number})
    assert violation is not None
    assert (violation.code, violation.path) == (ErrorCode.TYPE_CONSTRAINT_VIOLATION, "/meterValue")
    # 2.1 says that an EVSE's number is not below 0.
    violation = schemas.validate(Version.V21, "StatusNotification", "request", STATUS_2 | {"evseId": number})
    assert (violation is None) is (number >= 0)


def test_bottomless_payloads_are_judged_not_fatal() -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"a": deep}
    payload = {"vendorId": "v", "data": deep, "unknown": 1}
    assert schemas.validate(Version.V201, "DataTransfer", "request", payload) is not None


def test_unknown_action_is_the_callers_mistake() -> None:
    with pytest.raises(KeyError):
        schemas.validate(Version.V16, "TransactionEvent", "request", {})


@pytest.mark.parametrize(
    ("code", "in_16", "in_2"),
    [
        (ErrorCode.FORMAT_VIOLATION, "FormationViolation", "FormatViolation"),
        (
            ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
            "OccurenceConstraintViolation",
            "OccurrenceConstraintViolation",
        ),
        (ErrorCode.SECURITY_ERROR, "SecurityError", "SecurityError"),
        (ErrorCode.RPC_FRAMEWORK_ERROR, "FormationViolation", "RpcFrameworkError"),
    ],
)
def test_each_version_has_its_own_spelling_and_both_are_understood(
    code: ErrorCode, in_16: str, in_2: str
) -> None:
    assert spell(Version.V16, code) == in_16
    assert spell(Version.V201, code) == spell(Version.V21, code) == in_2
    assert canonical(in_2) == code


def test_1_6_emits_only_codes_of_its_own_table() -> None:
    table = {
        "NotImplemented",
        "NotSupported",
        "InternalError",
        "ProtocolError",
        "SecurityError",
        "FormationViolation",
        "PropertyConstraintViolation",
        "OccurenceConstraintViolation",
        "TypeConstraintViolation",
        "GenericError",
    }
    assert {spell(Version.V16, code) for code in ErrorCode} == table
    assert {canonical(name) for name in table} <= {str(code) for code in ErrorCode}


def _profile(limit: float) -> dict[str, Any]:
    return {
        "connectorId": 1,
        "csChargingProfiles": {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Absolute",
            "chargingSchedule": {
                "chargingRateUnit": "A",
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
            },
        },
    }
