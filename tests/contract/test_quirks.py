"""What real chargers do is catalogued here in our words; every row of it is answered by a rule, with its proof."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from libs.ocpp.quirks import MEANINGS
from libs.ocpp.quirks.book import in_force
from libs.ocpp.quirks.rules import RULES_FOLDER, QuirkRule, load_file

ROOT = Path(__file__).parents[2]
RULES = in_force().rules

ROWS = {
    # clocks
    "timestamps-without-zone": "a timestamp that names no zone",
    "local-time-marked-utc": "local time marked as UTC until the charger has booted",
    "absurd-timestamps": "the year 1970, or one millions of years away",
    "clock-set-in-mid-session": "a clock that is set right between start and stop",
    "timestamps-as-numbers": "a bare number as a timestamp",
    "status-dated-ahead": "a status dated hours ahead, by a clock that was wrong until the boot was answered",
    # transactions
    "odd-transaction-ids": "a transaction id that is enormous, 0, -1, random or missing",
    "stop-of-unknown-transaction": "a stop for a transaction that nobody knows",
    "second-stop": "a second stop with another register",
    "repeated-message": "the same message again, under its id or a new one",
    # registers
    "energy-labelled-wrong": "energy in kWh under the label Wh",
    "register-per-session": "a register that begins anew with each session",
    "lifetime-register-zero-start": "a lifetime register, told as 0 at the start",
    "registers-mixed": "start and stop of another register than the samples",
    "phases-apart": "the registers of phases, each in an element of its own",
    "registers-elsewhere": "no register at the outlet, but at the body or inlet",
    "register-goes-back": "a stop below the start, a register reset or rolled back",
    # shapes
    "numbers-for-strings": "a number for a string, a string for a number",
    "object-for-list": "one object where a list belongs",
    "decimal-comma": "a decimal comma",
    "float-not-multiple": "a decimal that is no multiple in binary",
    "unlisted-properties": "properties of a vendor's own, in messages or in samples",
    "empty-words": "an empty text for an optional word, or a value there that cannot be read",
    "too-long-texts": "serial numbers and tags beyond their length",
    "broken-json": "a frame that is no JSON",
    # samples and words
    "unreadable-sample": "an empty value or a wrong unit among good samples",
    "unlisted-units": "a unit that is not listed",
    "unlisted-contexts": "a context that is not listed",
    "unlisted-error-codes": "an error code that is not listed",
    # identities and topology
    "identity-case": "one identity in several spellings",
    "ids-compared-by-bytes": "ids of tokens and groups that a charger compares byte by byte",
    "absurd-connector-count": "a number of connectors beyond all reason",
    "connector-zero": "connector 0",
    "connector-numbering": "connectors numbered by EVSE, or by station",
    # connections
    "no-subprotocol": "no subprotocol in the handshake",
    "odd-paths": "doubled slashes and extra folders in the path",
    "no-pong": "pings that are never answered",
    "no-answers-to-calls": "heartbeats, but no answers to CALLs",
    "half-open-socket": "a socket left open by a loss of power",
    "status-before-boot": "a status before the boot",
    "flood-after-outage": "a flood of history after an outage",
    # commands
    "answers-that-say-nothing": "an answer to a command that says neither yes nor no",
    "limits-of-one-form": "limits taken as Absolute profiles alone, or in watts alone",
    "limits-ignored": "more current than was given",
    "currents-elsewhere": "currents measured elsewhere than at the outlet",
    "updates-retried": "an update that failed and was tried again by the charger itself",
    "one-message-id": "one message id for every heartbeat",
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_answered_by_a_rule(row: str) -> None:
    assert [rule.name for rule in RULES if row in rule.covers], ROWS[row]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_rows_that_there_are_and_tests_that_exist(rule: QuirkRule) -> None:
    assert rule.covers
    assert set(rule.covers) <= set(ROWS)
    assert rule.about.strip().endswith(".")
    for test in rule.tests:
        path, _, name = test.partition("::")
        assert name in _tests(path), test
    for source in rule.sources:
        assert source.startswith("https://")


@cache
def _tests(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_flag_is_shown_by_a_rule() -> None:
    """But for those that tell of a tidy-up without a story."""
    told = {flag for rule in RULES for flag in rule.all_flags}
    assert set(MEANINGS) - told == {
        "empty_list",
        "enum_spelling",
        "integer_too_large",
        "null_removed",
    }


def test_every_rule_file_is_in_force() -> None:
    names = [rule.name for path in sorted(RULES_FOLDER.glob("*.yaml")) for rule in load_file(path)]
    assert names == [rule.name for rule in RULES]
    assert not list(RULES_FOLDER.glob("*.yml"))
