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
from libs.ocpp.semantics.encoding import ENCODERS, encode_command
from libs.ocpp.versions import Version
from tests.unit.ocpp.commands import COMMANDS

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
    if version is V201 and isinstance(command, c.CertificateSigned) and command.use == "v2g20":
        with pytest.raises(ValueError, match="15118-20"):
            encode_command(version, command)
        return
    action, payload = encode_command(version, command)
    assert ROUTES[version][action].to_station
    assert schemas.validate(version, action, "request", payload) is None
    assert b":null" not in orjson.dumps(payload)  # rule 8


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
        case c.CertificateSigned(use="v2g" | "v2g20"):
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
    if version is V201 and isinstance(command, c.CertificateSigned) and command.use == "v2g20":
        with pytest.raises(ValueError, match="15118-20"):
            encode_command(version, command)
        return
    action, payload = encode_command(version, command)
    assert ROUTES[version][action].to_station
    assert schemas.validate(version, action, "request", payload) is None
    assert b":null" not in orjson.dumps(payload)


def test_every_command_has_words_in_2_x() -> None:
    assert set(ENCODERS[V201]) == set(ENCODERS[V21]) == set(get_args(Command))
    lacking = {c.GetTransactionStatus, c.CostUpdated, c.SetDisplayMessage, c.CustomerInformation}
    assert set(ENCODERS[V16]) == set(get_args(Command)) - lacking
