"""Commands to chargers of which something is known: lesser ones by name, refusals at once, several messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from libs.bus.message import Emit, Message
from libs.events.commands import CommandConcluded, CommandDialect, Fate
from libs.events.ocpp_log import CallError
from libs.ocpp.semantics import commands as c
from libs.ocpp.semantics.abilities import form_of
from libs.ocpp.semantics.dialect import to_request
from libs.ocpp.times import format_timestamp
from tests.unit.commands.known import CAPABILITIES, LIMIT, Known, answered, refusal, replayed
from tests.unit.commands.test_commands import (
    STATION,
    Given,
    at,
    dispatches,
    fates,
    located,
    one_fate,
    request,
    sent,
)


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
