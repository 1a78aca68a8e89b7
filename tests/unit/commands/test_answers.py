"""What a charger's answer makes of a command: nothing that it has not said is taken for a yes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandDialect, Fate
from libs.events.ocpp_log import CallError, CallOutcome, OcppCallSent
from libs.ocpp.errors import UNUSABLE_ANSWER
from libs.ocpp.routing import ROUTES
from libs.ocpp.semantics.commands import SetVariables, VariableValue
from libs.ocpp.semantics.dialect import to_request
from libs.ocpp.semantics.results import CHANGES_NOTHING
from libs.ocpp.versions import Version
from services.commands.domain.ledger.evidence import evidence_of_call
from services.commands.domain.ledger.processor import CommandsProcessor
from tests.unit.commands.test_commands import STATION, located, one_fate, request, sent
from tests.unit.ocpp.minimal import minimal, schema_of

TO_STATION = [
    (version, action)
    for version in Version
    for action, route in ROUTES[version].items()
    if route.to_station and not route.is_send
]
DEMANDING = [each for each in TO_STATION if schema_of(*each, "response").get("required")]
WITH_STATUS = [each for each in DEMANDING if "status" in schema_of(*each, "response")["required"]]
# Commands about several items: what asks, what answers, what says how an item went.
ITEMISED = [
    ("GetVariables", "getVariableData", "getVariableResult", "attributeStatus"),
    ("SetVariables", "setVariableData", "setVariableResult", "attributeStatus"),
    ("SetVariableMonitoring", "setMonitoringData", "setMonitoringResult", "status"),
    ("ClearVariableMonitoring", "id", "clearMonitoringResult", "status"),
]


def call(version: Version, action: str, asked: dict[str, Any], answer: object) -> OcppCallSent:
    record = sent("c1", 2, action=action, result=json.dumps(answer))
    return replace(record, version=str(version), payload=json.dumps(asked))


def fate(version: Version, action: str, answer: object, asked: dict[str, Any] | None = None) -> Fate:
    asked = minimal(version, action, "request") if asked is None else asked
    return evidence_of_call(call(version, action, asked, answer)).fate


def not_said(action: str) -> Fate:
    """What comes of a command that was answered, and not in words that say how."""
    return Fate.FAILED if action in CHANGES_NOTHING else Fate.UNKNOWN


def taken_wrong(actions: list[tuple[Version, str]], answer: object) -> list[tuple[Version, str, Fate]]:
    """Those that take the answer, which says neither yes nor no, for anything else."""
    fates = [(version, action, fate(version, action, answer)) for version, action in actions]
    return [each for each in fates if each[2] is not not_said(each[1])]


@pytest.mark.parametrize(
    "answer",
    [{}, {"currentTime": "2026-01-01T00:00:00Z"}, {"Status": "Accepted"}, {"result": {"status": "Accepted"}}],
    ids=["empty", "of another message", "another name", "another depth"],
)
def test_an_answer_without_what_the_schema_demands_is_no_yes(answer: dict[str, Any]) -> None:
    assert taken_wrong(DEMANDING, answer) == []


@pytest.mark.parametrize(
    "status", [None, "", "OK", 1, True, {}, {"status": "Accepted"}, ["Accepted"], [], "Accepted, probably"]
)
def test_a_status_that_no_version_lists_is_neither_yes_nor_no(status: object) -> None:
    assert taken_wrong(WITH_STATUS, {"status": status}) == []


@pytest.mark.parametrize(("action", "asks", "answers", "status"), ITEMISED)
@pytest.mark.parametrize("version", [Version.V201, Version.V21])
def test_items_without_a_result_of_their_own_are_not_accepted(
    version: Version, action: str, asks: str, answers: str, status: str
) -> None:
    one = minimal(version, action, "request")[asks][0]
    good = {status: "Accepted"}
    asked = {asks: [one, one]}
    assert fate(version, action, {answers: [good, good]}, asked) is Fate.ACCEPTED
    assert fate(version, action, {answers: [good, {status: "Rejected"}]}, asked) is Fate.REJECTED
    bad: list[object] = [
        *([], [good], [good, {}], [good, "Accepted"], [good, {status: "OK"}]),
        *({}, "Accepted", None),
    ]
    for found in bad:
        assert fate(version, action, {answers: found}, asked) is not_said(action)


def test_every_status_of_items_is_a_word() -> None:
    for version, action in TO_STATION:
        for name, definition in schema_of(version, action, "response").get("definitions", {}).items():
            if name in ("SetVariableStatusEnumType", "GetVariableStatusEnumType"):
                for word in definition["enum"]:
                    asks, answers = ITEMISED[0][1:3] if name.startswith("Get") else ITEMISED[1][1:3]
                    asked = {asks: [minimal(version, action, "request")[asks][0]]}
                    said = fate(version, action, {answers: [{"attributeStatus": word}]}, asked)
                    assert said in (Fate.ACCEPTED, Fate.REJECTED), word


@pytest.mark.parametrize(
    ("action", "answer", "expected"),
    [
        ("UpdateFirmware", {}, Fate.ACCEPTED),
        ("UpdateFirmware", {"status": "Rejected"}, Fate.REJECTED),
        ("UpdateFirmware", {"currentTime": "2026-01-01T00:00:00Z"}, Fate.UNKNOWN),
        ("GetDiagnostics", {}, Fate.ACCEPTED),
        ("GetConfiguration", {}, Fate.FAILED),
        ("GetConfiguration", {"configurationKey": []}, Fate.ACCEPTED),
        ("GetConfiguration", {"unknownKey": ["a"]}, Fate.ACCEPTED),
        ("GetConfiguration", {"configurationKey": [{"key": "a", "readonly": False}]}, Fate.ACCEPTED),
        ("Reset", {"status": "accepted"}, Fate.ACCEPTED),
        ("Reset", {"status": "Accepted", "vendorNote": "bye"}, Fate.ACCEPTED),
        ("Reset", {"status": " rejected", "vendorNote": "no"}, Fate.REJECTED),
        ("Reset", {"status": "NotSupported"}, Fate.REJECTED),
    ],
)
def test_what_can_be_read_of_an_answer_of_16_counts(
    action: str, answer: dict[str, Any], expected: Fate
) -> None:
    assert fate(Version.V16, action, answer) is expected


def test_the_reason_says_what_is_wrong_with_the_answer() -> None:
    reason = evidence_of_call(call(Version.V16, "Reset", {"type": "Soft"}, {"status": "OK"})).reason
    assert reason == "the charger's answer cannot be read: 'OK' is no status"
    reason = evidence_of_call(call(Version.V16, "Reset", {"type": "Soft"}, {})).reason
    assert "status" in reason


@pytest.mark.parametrize(("action", "expected"), [("Reset", Fate.UNKNOWN), ("GetVariables", Fate.FAILED)])
def test_an_answer_that_the_edge_found_unusable_is_no_refusal(action: str, expected: Fate) -> None:
    error = CallError(code="FormatViolation", description="no good", details=UNUSABLE_ANSWER)
    record = sent("c1", 2, action=action, outcome=CallOutcome.ERROR, error=error)
    assert evidence_of_call(record).fate is expected


def test_nothing_more_is_sent_of_a_command_whose_part_was_not_answered_right() -> None:
    """Of three variables the charger takes one in a message, and answers the second with an empty list."""
    runtime = MemoryRuntime(CommandsProcessor())
    action, payload = to_request(SetVariables(tuple(VariableValue(f"Ctrlr.V{n}", "1") for n in range(3))))
    runtime.feed("edge.connections", STATION, located(1, 0, version="ocpp1.6"))
    wish = request("c1", 1, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)
    runtime.feed("commands.requested", STATION, wish)
    asked = {"key": "Ctrlr.V0", "value": "1"}
    first = replace(call(Version.V16, "ChangeConfiguration", asked, {"status": "Accepted"}))
    runtime.feed("ocpp.commands", STATION, first)
    second = replace(
        sent("c1", 3, attempt=2, action="ChangeConfiguration", result="{}"), payload=json.dumps(asked)
    )
    concluded = one_fate(runtime.feed("ocpp.commands", STATION, second))
    assert concluded.fate is Fate.UNKNOWN
    assert concluded.reason.endswith("after 1 of 3 items")


def test_a_charger_of_a_version_that_is_not_known_here_costs_no_dead_letter() -> None:
    record = replace(call(Version.V16, "SetVariables", {}, {"status": "Accepted"}), version="ocpp9.9")
    said = evidence_of_call(record)
    assert (said.fate, said.items, said.told) == (Fate.UNKNOWN, 0, {})
    too_large = CallError(code="OccurrenceConstraintViolation", description="", details="{}")
    asked = json.dumps({"getVariableData": [{}, {}]})
    record = replace(
        record, action="GetVariables", payload=asked, outcome=CallOutcome.ERROR, error=too_large, result=None
    )
    assert evidence_of_call(record).fate is Fate.FAILED
