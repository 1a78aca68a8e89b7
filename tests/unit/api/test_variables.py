"""What chargers say about variables, in the order of the question."""

from typing import Any

from libs.ocpp.semantics.commands import Variable, VariableValue
from libs.ocpp.versions import Version
from services.api.domain.variable_results import (
    VariableSaid,
    batches,
    every_key,
    read_changes,
    read_values,
    unsaid,
)

V16, V201 = Version.V16, Version.V201


def told(name: str, value: str, **fields: Any) -> dict[str, Any]:
    component, variable = name.split(".")
    base = {"component": {"name": component}, "variable": {"name": variable}}
    return base | {"attributeStatus": "Accepted", "attributeValue": value} | fields


def test_results_of_2_are_found_by_name_and_evse_and_what_is_missing_says_nothing() -> None:
    asked = [
        Variable("EVSE.Power", 1),
        Variable("EVSE.Power", 2),
        Variable("Clock.Time"),
        Variable("EVSE.Power"),
    ]
    second = told("EVSE.Power", "22", component={"name": "EVSE", "evse": {"id": 2}})
    first = told("evse.power", "11", component={"name": "evse", "evse": {"id": 1}})
    found = read_values(
        V201, asked, {"getVariableResult": [second, first, "noise", {}, told("EVSE.Power", "0")]}
    )
    assert [(each.value, each.status) for each in found] == [
        ("11", "Accepted"),
        ("22", "Accepted"),
        (None, None),
        ("0", "Accepted"),
    ]


def test_what_is_asked_twice_is_told_twice() -> None:
    asked = [VariableValue("A.B", "1"), VariableValue("A.B", "2")]
    results = [told("A.B", "", attributeStatus="Rejected"), told("A.B", "", attributeStatus="Accepted")]
    assert [each.status for each in read_changes(V201, asked, {"setVariableResult": results})] == [
        "Rejected",
        "Accepted",
    ]


def test_keys_of_1_6_are_found_whatever_their_case() -> None:
    result = {
        "configurationKey": [
            {"key": "heartbeatinterval", "readonly": False, "value": 300},
            {"readonly": True},
        ],
        "unknownKey": ["NONSENSE"],
    }
    asked = [Variable("OCPPCommCtrlr.HeartbeatInterval"), Variable("Nonsense"), Variable("Silent")]
    assert read_values(V16, asked, result) == [
        VariableSaid("OCPPCommCtrlr.HeartbeatInterval", None, None, "Accepted", "300", False),
        VariableSaid("Nonsense", status="UnknownVariable"),
        VariableSaid("Silent"),
    ]
    assert every_key(result) == [
        VariableSaid("heartbeatinterval", None, None, "Accepted", "300", False),
    ]
    change = [VariableValue("HeartbeatInterval", "60")]
    assert read_changes(V16, change, {"status": "RebootRequired"})[0].status == "RebootRequired"


def test_answers_that_hold_nothing_useful_say_nothing() -> None:
    asked = [Variable("A.B", 1, 2)]
    for result in (
        {},
        {"getVariableResult": None},
        {"getVariableResult": [{"component": "A", "variable": 1}]},
    ):
        assert read_values(V201, asked, result) == unsaid(asked)
    assert read_values(V16, [Variable("A")], {}) == [VariableSaid("A")]


def test_a_command_is_about_a_bounded_number_of_variables() -> None:
    assert [len(part) for part in batches(range(120))] == [50, 50, 20]
    assert [len(part) for part in batches(range(3), 1)] == [1, 1, 1]
    assert batches([]) == []
