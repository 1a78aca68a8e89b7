"""Every command has its class, some by what they carry."""

from typing import Any, get_args

import pytest

from libs.access.command_classes import COMMAND_CLASSES, COMMAND_PERMISSIONS, permission_of
from libs.access.roles import PERMISSIONS, Permission, Role
from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics.commands import Command

SECURITY, DISRUPTIVE = Permission.COMMAND_SECURITY, Permission.COMMAND_DISRUPTIVE


def test_every_command_that_there_is_has_a_class_and_no_other() -> None:
    actions = {name for routes in ROUTES.values() for name, route in routes.items() if route.to_station}
    version_free = {kind.__name__ for kind in get_args(Command)}
    assert set(COMMAND_CLASSES) == actions | version_free
    assert set(COMMAND_CLASSES.values()) == set(COMMAND_PERMISSIONS)


def test_who_may_send_any_command_may_ask() -> None:
    """The route of commands asks for that first."""
    for role in Role:
        if PERMISSIONS[role] & set(COMMAND_PERMISSIONS):
            assert Permission.COMMAND_READ in PERMISSIONS[role], role


@pytest.mark.parametrize(
    ("action", "needed"),
    [
        ("GetLog", Permission.COMMAND_READ),
        ("RemoteStart", Permission.COMMAND_SESSION),
        ("UnlockConnector", Permission.COMMAND_SESSION),
        ("SetDisplayMessage", Permission.COMMAND_SESSION),
        ("Reset", DISRUPTIVE),
        ("SetLimit", DISRUPTIVE),
        ("UpdateFirmware", SECURITY),
        ("SignedUpdateFirmware", SECURITY),
        ("InstallCertificate", SECURITY),
        ("SetNetworkProfile", SECURITY),
        ("DataTransfer", SECURITY),
        ("SomethingOfOcpp3", SECURITY),
        ("reset", SECURITY),
    ],
)
def test_a_command_by_its_name(action: str, needed: Permission) -> None:
    assert permission_of(action, {}) is needed


@pytest.mark.parametrize(
    ("key", "needed"),
    [
        ("HeartbeatInterval", DISRUPTIVE),
        ("MeterValueSampleInterval", DISRUPTIVE),
        ("AuthorizationKey", SECURITY),
        ("authorizationkey", SECURITY),
        ("SecurityProfile", SECURITY),
        ("AdditionalRootCertificateCheck", SECURITY),
        ("CpoName", SECURITY),
        ("WifiKey", SECURITY),
        ("X-CentralSystemURL", SECURITY),
        ("OcppServerAddress", SECURITY),
        (["AuthorizationKey"], SECURITY),
        (None, SECURITY),
    ],
)
def test_a_configuration_key_of_credentials_needs_more_than_others(key: Any, needed: Permission) -> None:
    assert permission_of("ChangeConfiguration", {"key": key, "value": "1"}) is needed


@pytest.mark.parametrize(
    ("component", "variable", "needed"),
    [
        ("OCPPCommCtrlr", "HeartbeatInterval", DISRUPTIVE),
        ("SecurityCtrlr", "BasicAuthPassword", SECURITY),
        ("SecurityCtrlr", "Identity", SECURITY),
        ("NetworkConfiguration", "OcppCsmsUrl", SECURITY),
        ("OCPPCommCtrlr", "NetworkConfigurationPriority", SECURITY),
        ("ISO15118Ctrlr", "SeccId", SECURITY),
    ],
)
def test_a_variable_of_credentials_needs_more_than_others(
    component: str, variable: str, needed: Permission
) -> None:
    harmless = {"component": {"name": "AlignedDataCtrlr"}, "variable": {"name": "Interval"}}
    wanted = {"component": {"name": component}, "variable": {"name": variable}}
    items = [{**each, "attributeValue": "1"} for each in (harmless, wanted)]
    assert permission_of("SetVariables", {"setVariableData": items}) is needed
    version_free = [
        {"name": "AlignedDataCtrlr.Interval", "value": "1"},
        {"name": f"{component}.{variable}", "value": "1"},
    ]
    assert permission_of("SetVariables", {"values": version_free}) is needed


@pytest.mark.parametrize("payload", [{}, {"values": "AuthorizationKey"}, {"values": [{"key": 1}]}])
def test_variables_that_cannot_be_told_need_most(payload: dict[str, Any]) -> None:
    assert permission_of("SetVariables", payload) is SECURITY


@pytest.mark.parametrize(
    "payload",
    [
        {"requestedMessage": "SignChargePointCertificate"},
        {"requestedMessage": "SignV2GCertificate"},
        {"message": "sign_certificate"},
    ],
)
def test_a_new_key_pair_is_more_than_a_question(payload: dict[str, Any]) -> None:
    assert permission_of("TriggerMessage", payload) is SECURITY
    assert permission_of("ExtendedTriggerMessage", payload) is SECURITY
    assert permission_of("TriggerMessage", {"requestedMessage": "Heartbeat"}) is Permission.COMMAND_READ


def test_what_is_known_of_a_driver_is_asked_for_by_many_and_cleared_by_few() -> None:
    assert permission_of("CustomerInformation", {"report": True, "clear": False}) is Permission.COMMAND_READ
    assert permission_of("CustomerInformation", {"report": True, "clear": True}) is DISRUPTIVE


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("SetVariables", {"setVariableData": [], "values": [{"name": "AuthorizationKey", "value": "x"}]}),
        (
            "SetVariables",
            {
                "values": [
                    {
                        "component": {"name": "OCPPCommCtrlr"},
                        "variable": {"name": "HeartbeatInterval"},
                        "name": "AuthorizationKey",
                        "value": "x",
                    }
                ]
            },
        ),
        (
            "SetVariables",
            {"values": [{"name": "HeartbeatInterval"}], "setVariableData": [{"component": {"name": "X"}}]},
        ),
        ("TriggerMessage", {"requestedMessage": "Heartbeat", "message": "sign_certificate"}),
        ("TriggerMessage", {"requestedMessage": "SignChargingStationCertificate", "message": "heartbeat"}),
    ],
)
def test_a_field_that_is_passed_over_hides_nothing(action: str, payload: dict[str, Any]) -> None:
    assert permission_of(action, payload) is Permission.COMMAND_SECURITY


def test_a_variable_that_anybody_may_set_needs_no_more_in_either_form() -> None:
    ours = {"values": [{"name": "OCPPCommCtrlr.HeartbeatInterval", "value": "60"}]}
    component = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
    for payload in (ours, {"setVariableData": [component | {"attributeValue": "60"}]}):
        assert permission_of("SetVariables", payload) is Permission.COMMAND_DISRUPTIVE
