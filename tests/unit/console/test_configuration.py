"""A charger's variables: what they take, and whether a change was taken."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.api.equipment.variables import DeviceVariable, VariableTold
from services.console.configuration import Limits, Setting, fault, judged, same, settings_of


def told(variable: str = "Interval", component: str = "", **changes: Any) -> DeviceVariable:
    fields: dict[str, Any] = {
        "component": component,
        "component_instance": "",
        "evse_id": 0,
        "connector_id": 0,
        "variable": variable,
        "variable_instance": "",
        "attribute": "Actual",
        "value": "1",
        "mutability": "ReadWrite",
        "source": "NotifyReport",
        "at": datetime(2026, 5, 1, tzinfo=UTC),
    }
    return DeviceVariable.model_validate(fields | changes)


def setting(**limits: Any) -> Setting:
    return Setting("x", "x", told(), Limits(**limits), writable=True)


def said(status: str | None = "Accepted", value: str | None = None) -> VariableTold:
    fields = {"name": "x", "evse_id": None, "connector_id": None, "status": status, "value": value}
    return VariableTold.model_validate({**fields, "read_only": None})


@pytest.mark.parametrize(
    ("limits", "value", "word"),
    [
        ({"kind": "integer"}, "12", None),
        ({"kind": "integer"}, "1.5", "integer"),
        ({"kind": "integer"}, "\u0663", "integer"),
        ({"kind": "integer", "least": "10", "most": "20"}, "9", "least"),
        ({"kind": "integer", "least": "10", "most": "20"}, "21", "most"),
        ({"kind": "decimal", "most": "1.5"}, "1.25", None),
        ({"kind": "decimal"}, "NaN", "decimal"),
        ({"kind": "boolean"}, "True", None),
        ({"kind": "boolean"}, "yes", "boolean"),
        ({"kind": "OptionList", "choices": ("A", "B")}, "B", None),
        ({"kind": "OptionList", "choices": ("A", "B")}, "C", "choice"),
        ({"kind": "MemberList", "choices": ("A", "B")}, "B, A", None),
        ({"kind": "MemberList", "choices": ("A", "B")}, "A,C", "choice"),
        ({"kind": "string"}, "anything", None),
        ({}, "<script>", None),
        ({"kind": "integer", "least": "no number"}, "1", None),
    ],
)
def test_a_value_that_the_charger_would_not_take_is_told(
    limits: dict[str, Any], value: str, word: str | None
) -> None:
    found = fault(setting(**limits), value)
    assert (found and found[0]) == word


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("10", "10.0", True),
        ("true", "TRUE", True),
        ("A,B", "A, B", True),
        ("A,B", "B,A", False),
        (" x", "x", True),
        ("abc", "ABC", False),
        ("NaN", "nan", False),
        ("1", "true", False),
    ],
)
def test_values_are_the_same_if_they_mean_the_same(one: str, other: str, is_same: bool) -> None:
    assert same(one, other) is is_same


@pytest.mark.parametrize(
    ("word", "actual", "verdict"),
    [
        ("Accepted", "60", "taken"),
        ("Accepted", "300", "not_taken"),
        ("Accepted", None, "unread"),
        ("RebootRequired", "300", "reboot"),
        ("Rejected", "300", "refused"),
        ("UnknownVariable", None, "refused"),
        (None, "300", "unanswered"),
    ],
)
def test_a_change_is_judged_by_what_is_read_back(word: str | None, actual: str | None, verdict: str) -> None:
    assert judged("60", said(word), said(value=actual)).verdict == verdict
    assert judged("60", said("Accepted"), None).verdict == "unread"


def test_what_can_be_changed_and_by_which_name() -> None:
    rows = [
        told("HeartbeatInterval"),
        told("AuthorizationKey", value=None),
        told("NumberOfConnectors", mutability="ReadOnly"),
        told("Enabled", "SmartChargingCtrlr", component_instance="a", variable_instance="b", evse_id=2),
        told("Power", "EVSE", attribute="MaxSet"),
    ]
    found = settings_of(rows, {("SmartChargingCtrlr", "a", 2, 0, "Enabled", "b"): Limits("boolean")})
    assert [each.name for each in found] == [
        "HeartbeatInterval",
        "AuthorizationKey",
        "NumberOfConnectors",
        "SmartChargingCtrlr[a].Enabled[b]",
        "EVSE.Power",
    ]
    assert [each.writable for each in found] == [True, False, False, True, False]
    assert [each.why_not for each in found] == ["", "secret", "read_only", "", "attribute"]
    assert [each.limits.kind for each in found] == ["integer", "", "", "boolean", ""]
    assert len({each.key for each in found}) == len(found)
