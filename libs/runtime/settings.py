"""Settings from the environment: every name is prefixed VOLTBUS_."""

import os
import sys
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

S = TypeVar("S", bound=BaseSettings)

SECRETS_DIR: Final = "VOLTBUS_SECRETS_DIR"
"""A folder of files, each named as a variable in any case, that holds its value. The environment comes first."""


class Settings(BaseSettings):
    """Base of every settings class: frozen, read once at start from `VOLTBUS_<FIELD>`, or a file of that name.

    Raises pydantic's ValidationError for a value that does not fit; `read_settings` says it to a person.
    """

    model_config = SettingsConfigDict(
        env_prefix="VOLTBUS_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(  # noqa: D102
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, os.environ.get(SECRETS_DIR))


class ServiceSettings(Settings):
    """What each service process has: logging, where it serves health and metrics, and the bound of its stop."""

    log_level: str = Field(
        default="INFO", description="Least level that is logged: DEBUG, INFO, WARNING, ERROR, CRITICAL."
    )
    log_json: bool = Field(default=True, description="One JSON object per log line; false: text for people.")
    http_host: str = Field(default="127.0.0.1", description="Address of health and metrics.")
    http_port: int = Field(default=0, description="Health and metrics; 0 picks a free port.")
    stop_timeout_s: float = Field(
        default=25,
        gt=0,
        description="Longest stop, from SIGTERM or SIGINT; a process still running then ends with status 1.",
    )


def read_settings(kind: type[S]) -> S:
    """The settings that the environment gives, for a program's start.

    If they do not fit, a line on standard error names the variables and what is wrong with them, never their values,
    and the program ends with status 2.
    """
    folder = os.environ.get(SECRETS_DIR)
    if folder and not Path(folder).is_dir():
        sys.stderr.write(f"error: {SECRETS_DIR}: there is no such folder\n")
        raise SystemExit(2)
    try:
        return kind()
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        faults = error.errors(include_url=False, include_input=False)
        sys.stderr.write(f"error: {'; '.join(_fault(prefix, fault) for fault in faults)}\n")
        raise SystemExit(2) from None


def _fault(prefix: str, fault: Any) -> str:
    """One fault of a ValidationError for a person; that of several fields together has no name of its own."""
    if fault["type"] == "missing":
        what = "is not set"
    elif fault["type"] == "too_short":
        what = f"needs at least {fault['ctx']['min_length']} characters, has {fault['ctx']['actual_length']}"
    else:
        what = fault["msg"].removeprefix("Value error, ")
        what = what[:1].lower() + what[1:]
    return f"{prefix}{fault['loc'][0]}".upper() + f" {what}" if fault["loc"] else what
