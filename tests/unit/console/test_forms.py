"""Forms made of OCPP's schemas and of version-free commands, and the payloads that they send."""

from typing import Any, get_args

import msgspec
import pytest

from libs.ocpp import schemas
from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics.commands import Command, RemoteStart
from libs.ocpp.versions import Version
from services.console.forms import FormError, FormField, Kind, entered_of, fields_of, payload_of

ACTIONS = [
    (version, action) for version in Version for action, route in ROUTES[version].items() if route.to_station
]
VERSION_FREE = list(get_args(Command))


def by_name(fields: tuple[FormField, ...]) -> dict[str, FormField]:
    return {field.name: field for field in fields}


@pytest.mark.parametrize(("version", "action"), ACTIONS)
def test_every_action_has_a_form(version: Version, action: str) -> None:
    schema = schemas.request_schema(version, action)
    fields = fields_of(schema)
    assert len(by_name(fields)) == len(fields)
    assert not any("customData" in field.name or "urn:" in field.hint for field in fields)
    assert payload_of(fields, {}) == {}
    asked = {field.name.partition(".")[0]: field for field in reversed(fields)}
    assert set(schema.get("required", ())) <= set(asked)
    assert {name for name, field in asked.items() if field.required} <= set(schema.get("required", ()))


@pytest.mark.parametrize("kind", VERSION_FREE, ids=lambda kind: kind.__name__)
def test_every_version_free_command_has_a_form(kind: Any) -> None:
    assert "type" not in kind.__struct_fields__, "it would be taken for the command's name"
    fields = fields_of(msgspec.json.schema(kind), frozenset({"type"}))
    assert {field.name.partition(".")[0] for field in fields} == set(kind.__struct_fields__)


@pytest.mark.parametrize(
    ("version", "action", "payload"),
    [
        (Version.V16, "Reset", {"type": "Soft"}),
        (
            Version.V16,
            "RemoteStartTransaction",
            {
                "connectorId": 1,
                "idTag": "CARD",
                "chargingProfile": {
                    "chargingProfileId": 7,
                    "stackLevel": 0,
                    "chargingProfilePurpose": "TxProfile",
                    "chargingProfileKind": "Relative",
                    "chargingSchedule": {
                        "chargingRateUnit": "A",
                        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 8.1}],
                        "minChargingRate": 6.5,
                    },
                },
            },
        ),
        (Version.V201, "Reset", {"type": "OnIdle", "evseId": 2}),
        (
            Version.V201,
            "RequestStartTransaction",
            {"idToken": {"idToken": "CARD", "type": "Central"}, "remoteStartId": 9},
        ),
        (
            Version.V201,
            "SetVariables",
            {
                "setVariableData": [
                    {
                        "attributeValue": "60",
                        "component": {"name": "OCPPCommCtrlr"},
                        "variable": {"name": "HeartbeatInterval"},
                    }
                ]
            },
        ),
        (Version.V21, "ClearCache", {}),
        (Version.V201, "GetBaseReport", {"requestId": 5, "reportBase": "FullInventory"}),
    ],
)
def test_what_is_entered_is_the_payload(version: Version, action: str, payload: dict[str, Any]) -> None:
    schema = schemas.request_schema(version, action)
    sent = payload_of(fields_of(schema), entered_of(fields_of(schema), payload))
    assert sent == payload
    schemas.load(version)
    assert schemas.validate(version, action, "request", sent) is None


def test_a_field_says_what_it_takes() -> None:
    fields = by_name(fields_of(schemas.request_schema(Version.V16, "ChangeAvailability")))
    assert fields["type"].kind is Kind.CHOICE
    assert set(fields["type"].options) == {"Inoperative", "Operative"}
    assert (fields["connectorId"].kind, fields["connectorId"].required) == (Kind.INTEGER, True)
    nested = by_name(fields_of(schemas.request_schema(Version.V16, "RemoteStartTransaction")))
    field = nested["chargingProfile.chargingSchedule.chargingRateUnit"]
    assert (field.group, field.label, field.required) == (
        "chargingProfile.chargingSchedule",
        "chargingRateUnit",
        False,
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("connectorId", "one"),
        ("connectorId", "1.5"),
        ("connectorId", "9" * 30),
        ("connectorId", "1_000"),
        ("connectorId", "\u0663"),
        ("chargingProfile.chargingSchedule.minChargingRate", "NaN"),
        ("chargingProfile.chargingSchedule.chargingSchedulePeriod", "[{"),
        ("chargingProfile.chargingSchedule.chargingSchedulePeriod", "[" * 100_000),
        ("chargingProfile.chargingSchedule.chargingSchedulePeriod", "[NaN]"),
        ("chargingProfile.chargingSchedule.chargingSchedulePeriod", '["\\ud800"]'),
    ],
)
def test_what_cannot_be_is_told_with_its_field(name: str, text: str) -> None:
    fields = fields_of(schemas.request_schema(Version.V16, "RemoteStartTransaction"))
    with pytest.raises(FormError) as told:
        payload_of(fields, {name: text})
    assert told.value.name == name


def test_what_no_field_has_is_not_sent() -> None:
    fields = fields_of(schemas.request_schema(Version.V16, "Reset"))
    assert payload_of(fields, {"type": "Soft", "type.x": "1", "__class__": "x", "_form": "y"}) == {
        "type": "Soft"
    }


def test_what_may_be_null_and_has_no_default_is_null_if_it_is_empty() -> None:
    fields = fields_of(msgspec.json.schema(RemoteStart), frozenset({"type"}))
    entered = {"id_token": "CARD", "remote_start_id": "7"}
    assert payload_of(fields, entered) == {"evse_id": None, "id_token": "CARD", "remote_start_id": 7}
