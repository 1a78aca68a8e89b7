"""Reconciling and deciding at the command line, against an API that the tests play."""

from typing import Any

import httpx
import pytest

from tests.unit.cli.test_cli import Api, Json, page, problem, run

DECISION: Json = {
    "decision_id": "d-1",
    "session_id": "s-1",
    "station_id": "cp-1",
    "decision": "adjust",
    "billed_wh": 12_400,
    "version": 1,
    "reason": "two cars",
    "decided_by": "anna",
    "decided_at": "2026-05-01T10:00:00Z",
    "status": "pending",
    "detail": "",
    "resulting_version": None,
}
APPLIED = DECISION | {"status": "applied", "resulting_version": 2}
EMPTY: Json = {"total": {"sessions": 0}, "items": []}
REVIEW: Json = {
    "session_id": "=s-1",
    "version": 1,
    "station_id": "cp-1\x1b[2J",
    "ended_at": "2026-05-01T10:00:00Z",
    "doubts": ["no_stop", "implausible_energy"],
    "energy_wh": 20_000,
    "review_wh": 7_500,
    "currency": "EUR",
    "amount_minor": 625,
    "at_stake_minor": 375,
}
REPORT: Json = {
    "review": {
        "total": {"sessions": 7, "energy_wh": 140_000, "review_wh": 52_500},
        "items": [REVIEW],
        "amounts": [{"currency": "EUR", "sessions": 7, "amount_minor": 4_375, "at_stake_minor": 2_625}],
    },
    "gaps": EMPTY,
    "clocks": EMPTY,
    "registers": EMPTY,
    "unbilled": EMPTY,
}
MAY = ("--from", "2026-05-01", "--to", "2026-06-01")


def deciding(**answers: Any) -> Api:
    return Api(
        {
            "POST /api/v1/sessions/s-1/decisions": lambda _: httpx.Response(202, json=DECISION),
            "GET /api/v1/sessions/s-1/decisions": {"items": [APPLIED]},
            "GET /api/v1/cdrs": page({"version": 3}),
        }
        | answers
    )


def test_a_decision_is_about_the_newest_version_unless_another_is_named() -> None:
    api = deciding()
    result = run(api, "sessions", "decide", "s-1", "adjust", "--kwh", "12.4", "--reason", "two cars")
    assert result.exit_code == 0, result.output
    assert "applied, the charge record is at version 2" in result.output
    (sent,) = [request for request in api.asked if request.method == "POST"]
    assert sent.content == (b'{"decision":"adjust","billed_wh":12400,"version":3,"reason":"two cars"}')
    run(api, "sessions", "decide", "s-1", "accept", "--version", "2", "--reason", "r")
    assert b'"version":2' in [request for request in api.asked if request.method == "POST"][-1].content
    assert b"decided_by" not in [request for request in api.asked if request.method == "POST"][-1].content


@pytest.mark.parametrize(
    ("fate", "words"),
    [
        (DECISION | {"status": "refused", "detail": "other_version"}, "refused, other_version"),
        (DECISION, "not applied yet"),
    ],
)
def test_what_is_not_applied_is_a_failure(fate: Json, words: str) -> None:
    api = deciding(**{"GET /api/v1/sessions/s-1/decisions": {"items": [fate]}})
    result = run(api, "sessions", "decide", "s-1", "adjust", "--kwh", "1", "--reason", "r", "--wait", "0.01")
    assert result.exit_code == 1
    assert words in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("adjust",),
        ("accept", "--kwh", "1"),
        ("adjust", "--kwh", "1.2345"),
        ("adjust", "--kwh", "much"),
        ("forgive",),
        ("accept", "--version", "0"),
    ],
)
def test_used_wrongly(words: tuple[str, ...]) -> None:
    api = deciding()
    assert run(api, "sessions", "decide", "s-1", *words, "--reason", "r").exit_code == 2
    assert [request.method for request in api.asked if request.method == "POST"] == []


def test_a_session_without_a_record_is_not_decided_about() -> None:
    nothing = {
        "GET /api/v1/cdrs": page(),
        "GET /api/v1/sessions/s-1": problem(404, "there is no session 's-1'"),
    }
    result = run(deciding(**nothing), "sessions", "decide", "s-1", "accept", "--reason", "r")
    assert result.exit_code == 1
    assert "there is no session 's-1'" in str(result.exception)


def test_the_report_with_its_totals() -> None:
    api = Api({"GET /api/v1/reconciliation": REPORT})
    result = run(api, "reconcile", *MAY, "--site", "north")
    assert result.exit_code == 0, result.output
    assert dict(api.asked[0].url.params) == {
        "from": "2026-05-01T00:00:00Z",
        "to": "2026-06-01T00:00:00Z",
        "site_id": "north",
        "hours": "48",
        "minutes": "5",
        "tolerance_wh": "1000",
        "limit": "1000",
    }
    for fact in (
        "7.500",
        "6.25 EUR",
        "about 3.75 EUR",
        "total of 7",
        "52.500",
        "43.75 EUR",
        "about 26.25 EUR",
    ):
        assert fact in result.output
    assert "6 more are not shown" in result.output
    assert "\x1b[2J" not in result.output
    assert result.output.count("none") == 4


def test_a_part_as_csv_holds_no_formula() -> None:
    result = run(Api({"GET /api/v1/reconciliation": REPORT}), "reconcile", *MAY, "--csv", "review")
    assert result.exit_code == 0, result.output
    head, line = result.output.splitlines()
    assert head.startswith("session_id,version,station_id,ended_at,doubts")
    assert line.startswith("'=s-1,1,cp-1\\x1b[2J,2026-05-01T10:00:00Z,no_stop implausible_energy,20000")
    assert run(Api({"GET /api/v1/reconciliation": REPORT}), "reconcile", *MAY, "--csv", "gaps").output == ""
