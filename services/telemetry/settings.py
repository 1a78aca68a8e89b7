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

    @classmethod
    def _missing_(cls, value: object) -> "Part | None":
        # As 0.1.0 called it.
        return cls.ALL if value == "both" else None


class TelemetrySettings(ServiceSettings, BusSettings):
    """What every service has, and which processors to run."""

    telemetry: Part = Field(
        default=Part.ALL, description="Processors that this process runs; `all`: every one."
    )
