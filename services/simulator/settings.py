"""Settings of the simulator, from the environment; command-line options go before them."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where the chargers connect and how patient they are, in real seconds."""

    model_config = SettingsConfigDict(env_prefix="VOLTBUS_SIMULATOR_", frozen=True)

    url: str = "ws://127.0.0.1:9080/ocpp"
    scenario: str = "smoke"
    timeout_s: float = 30.0
    drain_s: float = 60.0
