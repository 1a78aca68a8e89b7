"""Commands that take more than one message."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from libs.bus.message import Emit
from libs.events.commands import CommandDialect, Fate
from libs.events.ocpp_log import CallError, CallOutcome, OcppCallSent, RefusalReason
from libs.ocpp.errors import UNUSABLE_ANSWER
from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.dialect import to_request
from libs.ocpp.semantics.variables import LIMITING_KEYS, LIMITING_VARIABLES
from tests.unit.commands.known import Known, answered, refusal, replayed
from tests.unit.commands.test_commands import (
    Given,
    at,
    dispatches,
    fates,
    located,
    one_fate,
    refused,
    request,
    sent,
)

FIVE = c.GetVariables(tuple(c.Variable(f"Ctrlr.V{number}") for number in range(5)))


def four_at_a_time() -> Known:
    known = Known("ocpp2.0.1")
    most = {"DeviceDataCtrlr.ItemsPerMessage[GetVariables]": "4"}
    known.learn(1, features=(), **most)
    return known


def values(names: list[str], status: str = "Accepted") -> dict[str, object]:
    results = [
        {"attributeStatus": status, "component": {"name": "Ctrlr"}, "variable": {"name": name}}
        for name in names
    ]
    return {"getVariableResult": results}


def names_in(result: str | None) -> list[str]:
    return [each["variable"]["name"] for each in json.loads(result or "")["getVariableResult"]]


def test_five_variables_go_as_four_and_one_and_end_as_one_command() -> None:
    """B_08."""
    known = four_at_a_time()
    first = known.ask("c1", 2, FIVE)
    part = answered(first, 3, values(["V0", "V1", "V2", "V3"]))
    second = known.feed(part)

    assert fates(second) == []
    assert [
        len(json.loads(d.payload)["getVariableData"]) for d in dispatches(first) + dispatches(second)
    ] == [4, 1]
    assert known.feed(part) == []  # repeated

    concluded = one_fate(known.feed(answered(second, 4, values(["V4"]))))
    assert (concluded.fate, concluded.attempts) == (Fate.ACCEPTED, 2)
    assert names_in(concluded.result) == ["V0", "V1", "V2", "V3", "V4"]
    assert known.feed(part) == []
    assert known.runtime.tick(at(10_000)) == []


def test_a_refusal_in_the_first_part_is_the_commands() -> None:
    known = four_at_a_time()
    first = known.ask("c1", 2, FIVE)
    second = known.feed(answered(first, 3, values(["V0", "V1", "V2", "V3"], "UnknownVariable")))
    concluded = one_fate(known.feed(answered(second, 4, values(["V4"]))))
    assert (concluded.fate, len(names_in(concluded.result))) == (Fate.REJECTED, 5)


def test_half_a_command_does_not_expire_it_fails() -> None:
    known = four_at_a_time()
    first = known.ask("c1", 2, FIVE, ttl_s=20)
    known.feed(answered(first, 3, values(["V0", "V1", "V2", "V3"])))
    known.feed(refused("c1", 4, RefusalReason.NOT_HERE, attempt=2))
    assert known.feed(located(1, 5, connected=False)) == []
    concluded = one_fate(known.runtime.tick(at(30)))
    assert concluded.fate is Fate.FAILED
    assert concluded.reason.endswith("after 4 of 5 items")
    assert names_in(concluded.result) == ["V0", "V1", "V2", "V3"]


def test_silence_in_the_second_part_is_unknown() -> None:
    known = four_at_a_time()
    first = known.ask("c1", 2, FIVE)
    known.feed(answered(first, 3, values(["V0", "V1", "V2", "V3"])))
    concluded = one_fate(known.feed(sent("c1", 9, attempt=2, outcome=CallOutcome.TIMEOUT)))
    assert concluded.fate is Fate.UNKNOWN
    assert concluded.reason.endswith("after 4 of 5 items")


def test_a_replay_that_knows_nothing_puts_the_parts_together() -> None:
    live = four_at_a_time()
    first = live.ask("c1", 2, FIVE)
    one = answered(first, 3, values(["V0", "V1", "V2", "V3"]))
    other = answered(live.feed(one), 4, values(["V4"]))
    before = one_fate(live.feed(other))

    action, payload = to_request(FIVE)
    asked = request("c1", 2, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)
    orders: list[list[Given]] = [[asked, one, other], [one, asked, other], [one, other, asked]]
    for order in orders:
        assert replayed(order) == [before]


def test_a_local_list_goes_in_parts_that_build_on_each_other() -> None:
    entries = tuple(c.LocalListEntry(f"T{number}") for number in range(5))
    wanted = c.SendLocalList(list_version=9, full=True, entries=entries)
    known = Known()
    known.learn(1, SendLocalListMaxLength="2")
    sent_parts = [known.ask("c1", 2, wanted)]
    for second in (3, 4):
        sent_parts.append(known.feed(answered(sent_parts[-1], second, {"status": "Accepted"})))
    payloads = [json.loads(d.payload) for out in sent_parts for d in dispatches(out)]
    assert [(p["updateType"], p["listVersion"], len(p["localAuthorizationList"])) for p in payloads] == [
        ("Full", 6, 2),
        ("Differential", 8, 2),
        ("Differential", 9, 1),
    ]
    assert one_fate(known.feed(answered(sent_parts[-1], 5, {"status": "Accepted"}))).fate is Fate.ACCEPTED

    again = known.ask("c2", 6, wanted)
    concluded = one_fate(known.feed(answered(again, 7, {"status": "VersionMismatch"})))
    assert (concluded.fate, concluded.attempts, concluded.reason) == (
        Fate.REJECTED,
        1,
        "the charger's word: VersionMismatch",
    )
    assert fates(known.ask("c3", 8, c.SendLocalList(list_version=2, full=True, entries=entries))) == [
        ("c3", Fate.FAILED)
    ]


def test_1_6_changes_one_key_after_the_other() -> None:
    known = Known()
    first = known.ask("c1", 1, c.SetVariables((c.VariableValue("A", "1"), c.VariableValue("B", "2"))))
    second = known.feed(answered(first, 2, {"status": "RebootRequired"}))
    concluded = one_fate(known.feed(answered(second, 3, {"status": "Accepted"})))
    assert [json.loads(d.payload)["key"] for d in dispatches(first) + dispatches(second)] == ["A", "B"]
    assert (concluded.fate, concluded.result) == (Fate.ACCEPTED, '{"status":"RebootRequired"}')


def told(out: list[Emit], seconds: float, **known: str) -> OcppCallSent:
    """The answer to a question about variables: the known ones, by variable and instance, and no others."""
    (dispatch,) = dispatches(out)
    results = []
    for asked in json.loads(dispatch.payload)["getVariableData"]:
        value = known.get(f"{asked['variable']['name']}_{asked['variable'].get('instance')}")
        status = "UnknownVariable" if value is None else "Accepted"
        results.append(
            asked | {"attributeStatus": status} | ({} if value is None else {"attributeValue": value})
        )
    return answered(out, seconds, {"getVariableResult": results})


def test_how_much_fits_is_asked_first_and_counts_for_the_rest_of_the_question() -> None:
    """A charger that takes four at a time, of which nothing was known, and nothing is by the time of the answer."""
    known = Known("ocpp2.0.1")
    out = known.ask("c1", 1, c.GetVariables(tuple(c.Variable(name) for name in LIMITING_VARIABLES)))
    asked = []
    while dispatches(out):
        asked.append(len(json.loads(dispatches(out)[0].payload)["getVariableData"]))
        out = known.feed(told(out, 1 + len(asked), ItemsPerMessage_GetVariables="4"))
    assert asked == [2, *[4] * 7, 3]
    concluded = one_fate(out)
    assert concluded.fate is Fate.REJECTED  # most of them are unknown to it
    assert len(json.loads(concluded.result or "")["getVariableResult"]) == len(LIMITING_VARIABLES)


def test_1_6_is_asked_for_its_most_keys_first() -> None:
    known = Known()
    first = known.ask("c1", 1, c.GetVariables(tuple(c.Variable(name) for name in LIMITING_KEYS)))
    most = {"key": "GetConfigurationMaxKeys", "readonly": True, "value": "5"}
    second = known.feed(answered(first, 2, {"configurationKey": [most]}))
    assert [len(json.loads(d.payload)["key"]) for d in dispatches(first) + dispatches(second)] == [1, 5]


def test_a_replay_that_knows_nothing_puts_a_lesser_report_together() -> None:
    live = Known("ocpp2.0.1")
    live.learn(0.5, "GetBaseReport")
    report = c.GetBaseReport(1)
    out = live.ask("c1", 1, report)
    answers: list[OcppCallSent] = []
    while dispatches(out):
        answers.append(told(out, 2 + len(answers), ItemsPerMessage_GetVariables="20"))
        out = live.feed(answers[-1])
    before = one_fate(out)
    assert (len(answers), before.degraded) == (3, "named_variables")

    action, payload = to_request(report)
    asked = request("c1", 1, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)
    orders: list[list[Given]] = [[asked, *answers], [*answers, asked], [answers[0], asked, *answers[1:]]]
    for order in orders:
        assert replayed(order) == [replace(before, degraded=None)]


def too_large(out: list[Emit], seconds: float, code: str = "OccurrenceConstraintViolation") -> OcppCallSent:
    """The charger takes fewer items in a message."""
    answer = refusal(out, seconds, CallError(code=code, details="{}"))
    return replace(answer, version="ocpp1.6" if answer.action == "GetConfiguration" else "ocpp2.0.1")


@pytest.mark.parametrize("code", ["OccurrenceConstraintViolation", "FormatViolation"])
def test_what_is_too_large_goes_one_by_one(code: str) -> None:
    """A charger with ItemsPerMessage 1, of which nothing is known, refuses the very question about it."""
    known = Known("ocpp2.0.1")
    out = known.ask("c1", 1, c.GetVariables(tuple(c.Variable(name) for name in LIMITING_VARIABLES[:5])))
    asked = []
    while dispatches(out):
        items = len(json.loads(dispatches(out)[0].payload)["getVariableData"])
        asked.append(items)
        seconds = 1 + len(asked)
        answer = (
            too_large(out, seconds, code)
            if items > 1
            else told(out, seconds, ItemsPerMessage_GetVariables="1")
        )
        out = known.feed(answer)
        assert known.feed(answer) == []  # repeated
    assert asked == [2, 1, 1, 1, 1, 1]
    assert len(json.loads(one_fate(out).result or "")["getVariableResult"]) == 5


def test_a_charger_that_refuses_as_many_as_it_says_gets_them_one_by_one() -> None:
    known = Known("ocpp2.0.1")
    out = known.ask("c1", 1, c.GetVariables(tuple(c.Variable(name) for name in LIMITING_VARIABLES[:6])))
    asked = []
    while dispatches(out):
        items = len(json.loads(dispatches(out)[0].payload)["getVariableData"])
        asked.append(items)
        seconds = 1 + len(asked)
        answer = (
            too_large(out, seconds) if items > 1 else told(out, seconds, ItemsPerMessage_GetVariables="3")
        )
        out = known.feed(answer)
    assert asked == [2, 1, 3, 1, 1, 1, 1, 1]
    assert one_fate(out).attempts == len(asked)


def test_changes_that_are_too_many_at_once_go_one_by_one() -> None:
    known = Known("ocpp2.0.1")
    values = tuple(c.VariableValue(f"Ctrlr.V{number}", "1") for number in range(2))
    first = known.ask("c1", 1, c.SetVariables(values))
    out = known.feed(too_large(first, 2))
    for number in range(2):
        (dispatch,) = dispatches(out)
        (item,) = json.loads(dispatch.payload)["setVariableData"]
        assert item["variable"]["name"] == f"V{number}"
        result = {"attributeStatus": "Accepted", "component": item["component"], "variable": item["variable"]}
        out = known.feed(answered(out, 3 + number, {"setVariableResult": [result]}))
    assert one_fate(out).fate is Fate.ACCEPTED


def test_1_6_is_asked_key_by_key_if_it_refuses_several() -> None:
    known = Known()
    first = known.ask("c1", 1, c.GetVariables((c.Variable("A"), c.Variable("B"))))
    second = known.feed(too_large(first, 2, "FormationViolation"))
    assert [json.loads(d.payload)["key"] for d in dispatches(first) + dispatches(second)] == [
        ["A", "B"],
        ["A"],
    ]


def test_one_that_is_too_large_or_an_answer_that_is_unusable_is_not_sent_in_pieces() -> None:
    known = Known("ocpp2.0.1")
    one = known.ask("c1", 1, c.GetVariables((c.Variable("Ctrlr.A"),)))
    assert one_fate(known.feed(too_large(one, 2))).fate is Fate.FAILED
    two = known.ask("c2", 3, c.GetVariables((c.Variable("Ctrlr.A"), c.Variable("Ctrlr.B"))))
    unusable = CallError(code="FormatViolation", details=UNUSABLE_ANSWER)
    assert one_fate(known.feed(refusal(two, 4, unusable))).fate is Fate.FAILED
    payload = {"getVariableData": [{"component": {"name": "C"}, "variable": {"name": n}} for n in "AB"]}
    as_it_is = known.feed(request("c3", 5, action="GetVariables", payload=json.dumps(payload)))
    assert one_fate(known.feed(too_large(as_it_is, 6))).fate is Fate.FAILED


def test_a_replay_that_knows_nothing_puts_what_was_too_large_together() -> None:
    live = Known("ocpp2.0.1")
    action, payload = to_request(FIVE)
    out = live.ask("c1", 1, FIVE)
    answers: list[OcppCallSent] = [too_large(out, 2)]
    out = live.feed(answers[0])
    while dispatches(out):
        answers.append(told(out, 2 + len(answers)))
        out = live.feed(answers[-1])
    before = one_fate(out)
    asked = request("c1", 1, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)
    orders: list[list[Given]] = [[asked, *answers], [*answers, asked], [answers[0], asked, *answers[1:]]]
    for order in orders:
        assert replayed(order) == [before]
