"""What a person reads who starts a process with settings that do not fit."""

from importlib import import_module
from pathlib import Path

import pytest
from pydantic import Field, SecretStr, model_validator

from libs.runtime.settings import ServiceSettings, Settings, read_settings


class Example(ServiceSettings):
    key: SecretStr = Field(min_length=16)
    most: int = 2
    least: int = 1

    @model_validator(mode="after")
    def _in_order(self) -> "Example":
        if self.most < self.least:
            raise ValueError("most is less than least")
        return self


def said(capsys: pytest.CaptureFixture[str], kind: type[Settings] = Example) -> str:
    with pytest.raises(SystemExit) as end:
        read_settings(kind)
    assert end.value.code == 2
    out, error = capsys.readouterr()
    assert out == ""
    return error


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({}, "VOLTBUS_KEY is not set"),
        ({"VOLTBUS_KEY": "guess-me"}, "VOLTBUS_KEY needs at least 16 characters, has 8"),
        (
            {"VOLTBUS_MOST": "three", "VOLTBUS_KEY": ""},
            "VOLTBUS_KEY needs at least 16 characters, has 0; VOLTBUS_MOST input should be a valid integer,"
            " unable to parse string as an integer",
        ),
        ({"VOLTBUS_KEY": "0123456789abcdef", "VOLTBUS_MOST": "0"}, "most is less than least"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    environment: dict[str, str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("VOLTBUS_KEY", "VOLTBUS_MOST", "VOLTBUS_LEAST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert said(capsys) == f"error: {line}\n"


def test_settings_that_fit_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLTBUS_KEY", "0123456789abcdef")
    monkeypatch.setenv("VOLTBUS_MOST", "7")
    settings = read_settings(Example)
    assert (settings.most, settings.key.get_secret_value()) == (7, "0123456789abcdef")


def test_a_variable_is_named_by_the_settings_own_prefix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = import_module("services.simulator.settings").Settings
    monkeypatch.setenv("VOLTBUS_SIMULATOR_TIMEOUT_S", "soon")
    assert said(capsys, kind).startswith("error: VOLTBUS_SIMULATOR_TIMEOUT_S input should be a valid number")


def test_a_value_may_be_in_a_file_of_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "voltbus_key").write_text("of-sixteen-characters\n")
    (tmp_path / "VOLTBUS_MOST").write_text("7")
    monkeypatch.setenv("VOLTBUS_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("VOLTBUS_MOST", "3")
    read = read_settings(Example)
    assert read.key.get_secret_value() == "of-sixteen-characters"
    assert read.most == 3


def test_a_folder_of_secrets_that_is_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("VOLTBUS_SECRETS_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("VOLTBUS_KEY", "of-sixteen-characters")
    assert "VOLTBUS_SECRETS_DIR" in said(capsys)
