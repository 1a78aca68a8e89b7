"""Settings of the simulator, from the environment; command-line options go before them."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where the chargers connect and how patient they are, in real seconds."""

    model_config = SettingsConfigDict(env_prefix="VOLTBUS_SIMULATOR_", frozen=True)

    url: str = Field(
        default="ws://127.0.0.1:9080/ocpp",
        description="Where the chargers connect; the station id is appended.",
    )
    scenario: str = Field(default="smoke", description="Scenario to run.")
    timeout_s: float = Field(default=30.0, description="Longest wait for an answer.")
    drain_s: float = Field(default=60.0, description="Longest wait at the end for what is still under way.")
