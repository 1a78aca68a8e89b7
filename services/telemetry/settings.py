"""Settings of telemetry."""

from enum import StrEnum

from pydantic import Field

from libs.bus.settings import BusSettings
from libs.runtime.settings import ServiceSettings


class Part(StrEnum):
    """Which processors a process runs; ALL: every one."""

    MEASUREMENTS = "measurements"
    HEALTH = "health"
    SECURITY = "security"
    ALL = "all"


class TelemetrySettings(ServiceSettings, BusSettings):
    """What every service has, and which processors to run."""

    telemetry: Part = Field(
        default=Part.ALL, description="Processors that this process runs; `all`: every one."
    )
