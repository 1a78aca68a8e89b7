"""Every rule in force does to its examples what it says, and a rule file that says too little is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml

from libs.ocpp.errors import ErrorCode
from libs.ocpp.frames import CallReceived
from libs.ocpp.inbound import CheckedCall, check_call
from libs.ocpp.quirks import MEANINGS
from libs.ocpp.quirks.book import RuleBook, in_force
from libs.ocpp.quirks.effects import AnyEffect, RuleEffect
from libs.ocpp.quirks.examples import problems
from libs.ocpp.quirks.rules import Example, Match, QuirkRule, RuleError, load_file, load_rules
from libs.ocpp.routing import ROUTES
from libs.ocpp.rpc import Role, RpcMachine
from libs.ocpp.versions import Version
from libs.runtime.clock import micros
from services.edge.domain.answers import Asked, answer
from services.edge.domain.rules import ReadModels, Rules, UnknownStations, UnknownTokens

BOOK = in_force()
EXAMPLES = [(rule.name, example) for rule in BOOK.rules for example in rule.examples]
OPEN = Rules(
    transaction_key=b"k", unknown_stations=UnknownStations.ACCEPT, unknown_tokens=UnknownTokens.ACCEPT
)


@pytest.mark.parametrize("rule", BOOK.rules, ids=lambda rule: rule.name)
def test_examples_come_out_as_the_rule_says(rule: QuirkRule) -> None:
    assert problems(rule, BOOK) == []


@pytest.mark.parametrize(
    ("name", "example"), [e for e in EXAMPLES if e[1].answer is not None], ids=lambda e: str(e)[:40]
)
def test_the_edge_gives_the_answer_of_the_example(name: str, example: Example) -> None:
    call = RpcMachine(example.version, Role.CSMS).receive(example.frame.encode())
    assert isinstance(call, CallReceived)
    checked = check_call(example.version, call.action, call.payload)
    assert isinstance(checked, CheckedCall)
    models = ReadModels({}, {}, OPEN)
    standing = models.standing("cp")
    assert standing is not None
    asked = Asked(
        example.version, "cp", call.action, checked.payload, standing, models, micros(example.received_at)
    )
    given = answer(ROUTES[example.version][call.action], asked)
    expected = dict(example.answer or {})
    if "transactionId" in expected:
        expected["transactionId"] = given["transactionId"]
    assert given == expected


@pytest.mark.parametrize("rule", [r for r in BOOK.rules if r.effects], ids=lambda rule: rule.name)
def test_without_the_rule_its_examples_come_out_otherwise(rule: QuirkRule) -> None:
    without = RuleBook([other for other in BOOK.rules if other is not rule])
    assert problems(rule, without)


@pytest.mark.parametrize("rule", [r for r in BOOK.rules if r.effects], ids=lambda rule: rule.name)
def test_every_effect_leaves_its_flag_in_an_example(rule: QuirkRule) -> None:
    shown = {flag for e in rule.examples for flag in _flags(list(e.events))}
    assert {effect.flag for effect in rule.effects} <= shown


def _flags(node: Any) -> set[str]:
    if isinstance(node, dict):
        return {*node.get("quirks", ()), *(f for v in node.values() for f in _flags(v))}
    return {f for v in node for f in _flags(v)} if isinstance(node, list) else set()


def test_every_flag_has_a_meaning_and_every_rules_flag_a_rule() -> None:
    assert {effect.flag for effect in get_args(AnyEffect)} <= set(MEANINGS)
    assert {flag for rule in BOOK.rules for flag in rule.all_flags} <= set(MEANINGS)


@pytest.mark.parametrize(
    ("equipment", "covered"),
    [
        (("ocpp1.6", "OpenEVSE", "Advanced Series", "4.2.2"), True),
        (("ocpp1.6", " OPENEVSE", "Advanced Series", "v4.1"), True),
        (("ocpp1.6", "OpenEVSE", "Advanced Series", "5.0.1"), False),
        (("ocpp1.6", "OpenEVSE", "Advanced Series", ""), False),
        (("ocpp1.6", "OpenEVSE Clone", "Advanced Series", "4.2.2"), False),
        (("ocpp2.0.1", "OpenEVSE", "Advanced Series", "4.2.2"), False),
        (("ocpp1.6", "", "", ""), False),
    ],
)
def test_whom_a_rule_concerns(equipment: tuple[str, str, str, str], covered: bool) -> None:
    match = Match(vendor="openevse", firmware=">=4.0, <=4.2.2", version=Version.V16)
    assert match.covers(*equipment) is covered
    assert bool(BOOK.effects(*equipment)) is covered


def test_patterns_are_no_regular_expressions() -> None:
    assert Match(vendor="A.C", model="GRS-*").covers("ocpp1.6", "a.c", "grs-*", "")
    assert not Match(vendor="A.C").covers("ocpp1.6", "abc", "", "")
    assert Match(vendor="a?c").covers("ocpp1.6", "abc", "two\nlines", "")


def test_a_rule_may_be_for_some_actions_only() -> None:
    rule = msgspec.convert(
        GOOD | {"match": {"vendor": "x", "actions": ["StatusNotification"]}}, QuirkRule, strict=True
    )
    assert set(RuleBook([rule]).effects("ocpp1.6", "X", "", "")) == {"StatusNotification"}


def test_a_book_overlaid_replaces_rules_of_the_same_name_and_adds_others() -> None:
    same = msgspec.structs.replace(next(r for r in BOOK.rules if r.name == "legrand-error-code"), about="new")
    other = msgspec.structs.replace(same, name="other")
    book = BOOK.overlaid([same, other])
    assert len(book.rules) == len(BOOK.rules) + 1
    assert [r.about for r in book.rules if r.name == same.name] == ["new"]


def test_an_example_that_says_something_else_is_found_out() -> None:
    rule = next(r for r in BOOK.rules if r.name == "legrand-error-code")
    (example,) = rule.examples
    for wrong in (
        msgspec.structs.replace(example, quirks=()),
        msgspec.structs.replace(example, vendor="Somebody"),
        msgspec.structs.replace(example, refused="FormationViolation"),
        msgspec.structs.replace(example, frame='[2,"1","StatusNotification",{}]'),
        msgspec.structs.replace(example, frame="[2"),
        msgspec.structs.replace(example, frame='[3,"1",{}]'),
        msgspec.structs.replace(example, events=()),
        *(
            msgspec.structs.replace(example, events=({**example.events[0], **change},))
            for change in (
                {"error_code": "Error"},
                {"quirks": ["value_alias"]},
                {"no_such_field": 1},
                {"type": "Booted"},
            )
        ),
    ):
        assert problems(msgspec.structs.replace(rule, examples=(wrong,)), BOOK), wrong


GOOD: dict[str, Any] = {
    "name": "some-rule",
    "about": "A habit.",
    "match": {"vendor": "x"},
    "effects": [{"effect": "alias", "field": "errorCode", "values": {"Oops": "OtherError"}}],
    "examples": [
        {
            "frame": '[2,"1","StatusNotification",{"connectorId":1,"errorCode":"Oops","status":"Faulted"}]',
            "vendor": "X",
            "received_at": "2026-01-01T00:00:00Z",
            "quirks": ["unlisted_value"],
            "events": [
                {
                    "type": "ConnectorStatusReported",
                    "error_code": "OtherError",
                    "quirks": ["unlisted_value", "value_alias"],
                }
            ],
        }
    ],
}


def written(path: Path, *rules: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump({"rules": list(rules)}))
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    (rule,) = load_file(written(tmp_path / "r.yaml", GOOD))
    assert problems(rule, RuleBook([rule])) == []


EXAMPLE = GOOD["examples"][0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "Some Rule"}, "name"),
        ({"abuot": "x"}, "abuot"),
        ({"match": {"vendor": ""}}, "vendor"),
        ({"match": {"vendor": "x", "firmware": "four"}}, "no range of versions"),
        ({"match": {"vendor": "x", "firmware": ">=4 and <5"}}, "no range of versions"),
        ({"match": {"vendor": "x", "firmware": "< beta"}}, "without a number"),
        ({"match": {"vendor": "x", "version": "ocpp9"}}, "version"),
        ({"match": None}, "without `match`"),
        ({"effects": [{"effect": "run_code"}]}, "run_code"),
        ({"effects": [{"effect": "alias", "field": "price", "values": {}}]}, "field"),
        ({"effects": [{"effect": "renumber", "numbers": {"1": "1/2"}}]}, "EVSE/connector"),
        ({"effects": [{"effect": "read_energy_as", "unit": "W"}]}, "unit"),
        ({"effects": [{"effect": "register_per_session", "factor": 2}]}, "factor"),
        ({"examples": []}, "without an example"),
        ({"effects": [], "examples": [], "match": None}, "neither an example nor a test"),
        ({"flags": ["wonky"]}, "wonky"),
        ({"examples": [EXAMPLE | {"quirks": ["wonky"]}]}, "wonky"),
        ({"examples": [EXAMPLE | {"received_at": "2026-01-01T00:00:00"}]}, "no zone"),
        ({"examples": [EXAMPLE | {"zone": "Europe/Nowhere"}]}, "time zone"),
        ({"examples": [EXAMPLE | {"refused": "Oops"}]}, "no error code"),
        ({"examples": [EXAMPLE | {"events": [{"quirks": []}]}]}, "type"),
    ],
)
def test_a_bad_rule_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(RuleError, match=complaint) as refused:
        load_file(written(tmp_path / "r.yaml", GOOD | {"name": "first"}, GOOD | change))
    assert "r.yaml" in str(refused.value)
    assert f"rule {(GOOD | change)['name']}" in str(refused.value)


@pytest.mark.parametrize("text", ["", "rules: 1", "rules: [1]", "{", "- a", "rules: [{name: a}]", "\x00"])
def test_what_is_no_rule_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(RuleError, match=r"r\.yaml"):
        load_file(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="nowhere"):
        load_file(tmp_path / "nowhere.yaml")


def test_names_are_unique_in_a_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="two rules are named 'some-rule'"):
        load_file(written(tmp_path / "a.yaml", GOOD, GOOD))
    written(tmp_path / "a.yaml", GOOD)
    written(tmp_path / "b.yaml", GOOD)
    with pytest.raises(RuleError, match="some-rule"):
        load_rules(tmp_path)


def test_codes_in_refusals_are_those_of_the_version() -> None:
    assert "FormationViolation" not in {str(code) for code in ErrorCode}
    refusing = [e for _, e in EXAMPLES if e.refused]
    assert {e.refused for e in refusing} == {"FormationViolation", "FormatViolation"}


MANUAL = (Path(__file__).parents[3] / "docs" / "quirks.md").read_text()


def test_the_rule_of_the_manual_holds(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", MANUAL, re.MULTILINE | re.DOTALL)
    path = tmp_path / "manual.yaml"
    path.write_text(text)
    (rule,) = load_file(path)
    assert problems(rule, BOOK.overlaid([rule])) == []


@pytest.mark.parametrize("effect", get_args(AnyEffect), ids=lambda effect: effect.__name__)
def test_the_manual_tells_of_every_effect(effect: type[RuleEffect]) -> None:
    (row,) = [
        line for line in MANUAL.splitlines() if line.startswith(f"| `{effect.__struct_config__.tag}` |")
    ]
    assert row.endswith(f"| `{effect.flag}` |")
    assert {field.name for field in msgspec.structs.fields(effect)} == set(
        re.findall(r"`(\w+)`", row.split("|")[2])
    )
