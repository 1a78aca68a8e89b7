"""Commands to chargers of which something is known: lesser ones by name, refusals at once, several messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.bus.runtime_memory import MemoryRuntime
from libs.events.commands import CommandConcluded, CommandDialect, Fate
from libs.events.ocpp_log import CallError, CallOutcome, OcppCallSent, RefusalReason
from libs.events.record import Record
from libs.events.stations import CapabilitiesLearned, KnownVariable
from libs.ocpp.errors import UNUSABLE_ANSWER
from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.abilities import form_of
from libs.ocpp.semantics.dialect import to_request
from libs.ocpp.semantics.variables import LIMITING_KEYS, LIMITING_VARIABLES
from libs.ocpp.times import format_timestamp
from services.commands.domain.ledger import Ledger
from services.commands.domain.processor import CommandsProcessor
from tests.unit.commands.test_commands import (
    POLICY,
    STATION,
    TOPICS,
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

CAPABILITIES = "stations.capabilities"
LIMIT = c.SetLimit(
    evse_id=2, transaction_id="7", limit_milliamp=16_000, profile_id=5, stack_level=0, phases=1
)


class Known:
    """The processor with a connection, and what is known of its station."""

    def __init__(self, version: str = "ocpp1.6") -> None:
        self.version = version
        self.runtime: MemoryRuntime[Ledger] = MemoryRuntime(CommandsProcessor(POLICY))
        self.feed(located(1, 0, version=version))

    def feed(self, record: Record) -> list[Emit]:
        topic = CAPABILITIES if isinstance(record, CapabilitiesLearned) else TOPICS[type(record)]
        out = self.runtime.feed(topic, STATION, record)
        assert self.runtime.dead == []
        return out

    def ask(self, name: str, seconds: float, command: c.Command, ttl_s: float = 60) -> list[Emit]:
        action, payload = to_request(command)
        dialect = CommandDialect.VOLTBUS
        return self.feed(request(name, seconds, ttl_s, action=action, payload=payload, dialect=dialect))

    def learn(self, seconds: float, *lacking: str, features: tuple[str, ...] = (), **variables: str) -> None:
        known = CapabilitiesLearned(
            event_id=f"known-{seconds}",
            occurred_at=at(seconds),
            recorded_at=at(seconds),
            cause_id="boot",
            station_id=STATION,
            version=self.version,
            features=features,
            lacking=lacking,
            variables=tuple(KnownVariable(name=name, value=value) for name, value in variables.items()),
        )
        assert self.feed(known) == []


def answered(dispatch_of: list[Emit], seconds: float, result: object) -> OcppCallSent:
    (dispatch,) = dispatches(dispatch_of)
    call = sent(dispatch.command_id, seconds, attempt=dispatch.attempt, result=json.dumps(result))
    version = "ocpp2.0.1" if dispatch.action in {"GetVariables", "SetVariables"} else "ocpp1.6"
    return replace(call, action=dispatch.action, payload=dispatch.payload, version=version)


def test_a_lesser_command_says_so() -> None:
    known = Known()
    known.learn(1, ChargingScheduleAllowedChargingRateUnit="Power")

    out = known.ask("c1", 2, LIMIT)
    concluded = one_fate(known.feed(answered(out, 3, {"status": "Accepted"})))

    assert (
        json.loads(dispatches(out)[0].payload)["csChargingProfiles"]["chargingSchedule"]["chargingRateUnit"]
        == "W"
    )
    assert (concluded.fate, concluded.degraded) == (Fate.ACCEPTED, "limit_in_watts")


def test_what_is_not_lesser_says_nothing() -> None:
    known = Known()
    out = known.ask("c1", 2, LIMIT)
    assert one_fate(known.feed(answered(out, 3, {"status": "Accepted"}))).degraded is None


def test_what_the_charger_lacks_fails_at_once_and_the_next_goes_on() -> None:
    known = Known()
    known.learn(1, "SetChargingProfile")

    concluded = one_fate(known.ask("c1", 2, LIMIT))

    assert (concluded.fate, concluded.reason, concluded.attempts) == (
        Fate.FAILED,
        "unsupported: SetChargingProfile",
        0,
    )
    assert [d.command_id for d in dispatches(known.ask("c2", 3, c.Reset("soft")))] == ["c2"]


def test_what_is_learned_later_counts_later_and_can_be_forgotten() -> None:
    known = Known()
    assert len(dispatches(known.ask("c1", 1, LIMIT))) == 1
    known.learn(2, "SetChargingProfile")
    assert fates(known.feed(sent("c1", 3))) == [("c1", Fate.ACCEPTED)]
    assert fates(known.ask("c2", 4, LIMIT)) == [("c2", Fate.FAILED)]
    known.runtime.handle(Message(CAPABILITIES, 0, 9, STATION, None, at(5)))
    assert len(dispatches(known.ask("c3", 6, LIMIT))) == 1


LOG = c.GetLog("diagnostics", "https://logs", 1)
LACKING = CallError(code="NotImplemented", details="{}")


def refusal(out: list[Emit], seconds: float, error: CallError = LACKING) -> OcppCallSent:
    """The charger does not know what it was just sent."""
    (dispatch,) = dispatches(out)
    call = sent(
        dispatch.command_id, seconds, attempt=dispatch.attempt, outcome=CallOutcome.ERROR, error=error
    )
    return replace(call, action=dispatch.action, payload=dispatch.payload)


def test_the_first_refusal_is_followed_by_something_lesser() -> None:
    known = Known()
    first = known.ask("c1", 1, LOG)
    said_no = refusal(first, 2)
    second = known.feed(said_no)
    assert fates(second) == []
    assert [d.action for d in dispatches(first) + dispatches(second)] == ["GetLog", "GetDiagnostics"]
    assert known.feed(said_no) == []  # repeated
    concluded = one_fate(known.feed(answered(second, 3, {"fileName": "x"})))
    assert (concluded.fate, concluded.degraded, concluded.attempts) == (Fate.ACCEPTED, "plain_diagnostics", 2)


def test_when_the_lesser_is_refused_as_well_that_is_the_fate() -> None:
    known = Known()
    second = known.feed(refusal(known.ask("c1", 1, LOG), 2))
    concluded = one_fate(known.feed(refusal(second, 3)))
    assert (concluded.fate, concluded.attempts) == (Fate.FAILED, 2)
    assert concluded.reason == "the charger answered with an error: NotImplemented"


def test_other_errors_and_ocpp_commands_are_not_followed() -> None:
    known = Known()
    broken = CallError(code="InternalError", details="{}")
    assert fates(known.feed(refusal(known.ask("c1", 1, LOG), 2, broken))) == [("c1", Fate.FAILED)]
    raw = known.feed(request("c2", 3, action="GetLog", payload="{}"))
    assert fates(known.feed(refusal(raw, 4))) == [("c2", Fate.FAILED)]
    security = known.ask("c3", 5, replace(LOG, log="security"))
    assert fates(known.feed(refusal(security, 6))) == [("c3", Fate.FAILED)]


def test_a_status_may_say_it_too() -> None:
    known = Known()
    second = known.feed(answered(known.ask("c1", 1, LIMIT), 2, {"status": "NotSupported"}))
    profile = json.loads(dispatches(second)[0].payload)["csChargingProfiles"]
    assert profile["chargingProfilePurpose"] == "TxDefaultProfile"
    assert fates(known.feed(answered(second, 3, {"status": "NotSupported"}))) == [("c1", Fate.REJECTED)]


def test_out_of_time_after_a_refusal_is_a_failure_that_says_so() -> None:
    known = Known()
    first = known.ask("c1", 1, LOG, ttl_s=20)
    known.feed(located(1, 2, connected=False))
    assert known.feed(refusal(first, 3)) == []
    concluded = one_fate(known.runtime.tick(at(30)))
    assert (concluded.fate, concluded.attempts) == (Fate.FAILED, 1)
    assert concluded.reason == "the charger lacks GetLog, and then: the station was not connected in time"


def test_a_replay_that_knows_nothing_takes_both_answers() -> None:
    live = Known()
    first = refusal(live.ask("c1", 1, LOG), 2)
    second = answered(live.feed(first), 3, {"fileName": "x"})
    before = one_fate(live.feed(second))
    action, payload = to_request(LOG)
    asked = request("c1", 1, action=action, payload=payload, dialect=CommandDialect.VOLTBUS)
    orders: list[list[Given]] = [[asked, first, second], [first, asked, second], [first, second, asked]]
    for order in orders:
        assert replayed(order) == [before]


def test_ocpp_commands_are_sent_as_they_are() -> None:
    known = Known()
    known.learn(1, "Reset", features=("Core",))
    (dispatch,) = dispatches(known.feed(request("c1", 2)))
    assert (dispatch.action, dispatch.payload) == ("Reset", '{"type":"Soft"}')


def replayed(records: Sequence[Given]) -> list[CommandConcluded]:
    """What a ledger without connections and capabilities makes of the log."""
    runtime = MemoryRuntime(CommandsProcessor(POLICY))
    for record in records:
        runtime.feed(TOPICS[type(record)], STATION, record)
    return [e.record for e in runtime.emitted if isinstance(e.record, CommandConcluded)]


# More than one message ---------------------------------------------------------------------------------------------

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


FORMS = [("Relative", "A"), ("Absolute", "A"), ("Relative", "W"), ("Absolute", "W")]
LIMITS = [
    LIMIT,
    c.SetDefaultLimit(evse_id=0, limit_milliamp=6_000, profile_id=1000, stack_level=0, phases=3),
]


def form(dispatch_of: list[Emit]) -> tuple[str, str]:
    (dispatch,) = dispatches(dispatch_of)
    found = form_of(json.loads(dispatch.payload))
    assert found is not None
    return found


class Picky(Known):
    """A charger that takes charging profiles of some kinds and units alone."""

    def __init__(self, version: str, *accepted: tuple[str, str]) -> None:
        super().__init__(version)
        self.accepted = accepted
        self.now = 1.0

    def try_limit(self, name: str, command: c.Command) -> tuple[list[tuple[str, str]], CommandConcluded]:
        """The forms in which a limit is sent, and what becomes of it."""
        tried: list[tuple[str, str]] = []
        out = self.ask(name, self.now, command)
        while dispatches(out):
            tried.append(form(out))
            self.now += 1
            word = "Accepted" if tried[-1] in self.accepted else "Rejected"
            out = self.feed(replace(answered(out, self.now, {"status": word}), version=self.version))
        self.now += 1
        return tried, one_fate(out)


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
@pytest.mark.parametrize("command", LIMITS, ids=["transaction", "default"])
@pytest.mark.parametrize("number", range(len(FORMS)))
def test_a_limit_is_put_in_the_words_that_the_charger_takes(
    version: str, command: c.Command, number: int
) -> None:
    """Absolute where Relative is rejected, watts where amperes are; what was accepted is sent first the next time."""
    charger = Picky(version, FORMS[number])
    tried, concluded = charger.try_limit("c1", command)
    assert tried == FORMS[: number + 1]
    names = {
        ("Relative", "A"): None,
        ("Absolute", "A"): "absolute_profile",
        ("Relative", "W"): "limit_in_watts",
        ("Absolute", "W"): "absolute_profile,limit_in_watts",
    }
    assert (concluded.fate, concluded.degraded) == (Fate.ACCEPTED, names[FORMS[number]])
    assert charger.try_limit("c2", command)[0] == [FORMS[number]]


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
def test_a_charger_that_rejects_every_profile_has_rejected_it(version: str) -> None:
    charger = Picky(version)
    tried, concluded = charger.try_limit("c1", LIMIT)
    assert tried == FORMS
    assert (concluded.fate, concluded.reason) == (Fate.REJECTED, "the charger's word: Rejected")
    assert charger.try_limit("c2", LIMIT)[0] == FORMS, "nothing was learned"


def test_a_charger_whose_unit_is_known_is_not_asked_in_another() -> None:
    amperes, watts = Picky("ocpp2.0.1"), Picky("ocpp2.0.1")
    for charger, unit in ((amperes, "A"), (watts, "W")):
        known: dict[str, Any] = {"SmartChargingCtrlr.RateUnit": unit}
        charger.learn(0, **known)
    assert amperes.try_limit("c1", LIMIT)[0] == FORMS[:2]
    assert watts.try_limit("c1", LIMIT)[0] == FORMS[2:]


def test_an_absolute_limit_begins_when_it_was_asked_for() -> None:
    charger = Picky("ocpp1.6", ("Absolute", "A"))
    charger.try_limit("c1", LIMIT)
    (dispatch,) = dispatches(charger.ask("c2", 10, LIMIT))
    schedule = json.loads(dispatch.payload)["csChargingProfiles"]["chargingSchedule"]
    assert schedule["startSchedule"] == format_timestamp(at(10))


def test_a_limit_that_names_its_begin_is_absolute_already() -> None:
    charger = Picky("ocpp1.6")
    assert charger.try_limit("c1", replace(LIMIT, starts_at=at(0)))[0] == [
        ("Absolute", "A"),
        ("Absolute", "W"),
    ]


def test_new_firmware_is_asked_as_any_other() -> None:
    charger = Picky("ocpp1.6", ("Absolute", "W"))
    charger.try_limit("c1", LIMIT)
    charger.learn(50)
    assert charger.try_limit("c2", LIMIT)[0] == FORMS


def test_an_operators_own_profile_is_sent_once() -> None:
    charger = Picky("ocpp1.6")
    (dispatch,) = dispatches(charger.ask("c1", 1, LIMIT))
    charger.feed(
        replace(answered([Emit("x", "y", dispatch)], 2, {"status": "Accepted"}), payload=dispatch.payload)
    )
    out = charger.feed(request("c2", 3, action="SetChargingProfile", payload=dispatch.payload))
    assert one_fate(charger.feed(answered(out, 4, {"status": "Rejected"}))).fate is Fate.REJECTED
