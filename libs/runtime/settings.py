"""Settings from the environment: every name is prefixed VOLTBUS_."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Base of every settings class: frozen, read once at start from `VOLTBUS_<FIELD>`.

    Raises pydantic's ValidationError, which names the variable, for a value that does not fit.
    """

    model_config = SettingsConfigDict(
        env_prefix="VOLTBUS_", frozen=True, extra="ignore", hide_input_in_errors=True
    )


class ServiceSettings(Settings):
    """What each service process has: logging, and where it serves health and metrics."""

    log_level: str = "INFO"
    log_json: bool = True
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, description="Health and metrics; 0 picks a free port.")
