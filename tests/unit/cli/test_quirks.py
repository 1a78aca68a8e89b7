"""`voltbus quirks list` and `show` need no server, and `test` says what is wrong before it asks one."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from libs.ocpp.quirks.rules import RULES_FOLDER
from services.cli import app as cli
from services.cli.client import CliError


def run(*words: str) -> str:
    result = CliRunner().invoke(cli.app, ["quirks", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_rules_are_listed() -> None:
    out = run("list")
    assert "openevse-kwh-labelled-wh" in out
    assert "second-stop" in out
    only = run("list", "--effects")
    assert "openevse >=4.0, <=4.2.2 ocpp1.6" in only
    assert "second-stop" not in only


def test_a_rule_is_shown_with_its_examples() -> None:
    out = run("show", "legrand-error-code")
    for text in ("value_alias: by rule", '"errorCode":"Error"', "error_code OtherError", "legrand* ocpp1.6"):
        assert text in out
    assert "FormationViolation" in run("show", "beny-broken-json")


def test_json_is_the_rule() -> None:
    rule = json.loads(run("show", "legrand-error-code", "--json"))
    assert rule["effects"] == [{"effect": "alias", "field": "errorCode", "values": {"Error": "OtherError"}}]
    assert rule in json.loads(run("list", "--json"))


def test_an_unknown_rule_is_named() -> None:
    result = CliRunner().invoke(cli.app, ["quirks", "show", "no-such"])
    assert result.exit_code == 2
    assert "no-such" in result.output


def test_a_bad_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("rules: [{name: a}]")
    with pytest.raises(CliError, match="rule a"):
        CliRunner().invoke(cli.app, ["quirks", "test", str(file)], catch_exceptions=False)
    result = CliRunner().invoke(
        cli.app, ["quirks", "test", str(RULES_FOLDER / "general.yaml"), "--since", "yesterday"]
    )
    assert result.exit_code == 2
    assert "yesterday" in result.output


def test_a_file_without_effects_asks_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLTBUS_CLICKHOUSE_PORT", "1")
    assert "nothing would be read otherwise" in run("test", str(RULES_FOLDER / "general.yaml"))
