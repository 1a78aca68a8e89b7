"""Settings of provisioning."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from libs.bus.settings import BusSettings
from libs.runtime.settings import ServiceSettings
from services.provisioning.domain.onboarding import OnBoot


class ProvisioningSettings(ServiceSettings, BusSettings):
    """What every service has, and what stations are asked when they boot."""

    on_boot: Annotated[tuple[OnBoot, ...], NoDecode] = Field(
        default=(),
        description="What a station is asked when it has booted, separated by commas: configuration, limits, status.",
    )

    @field_validator("on_boot", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return (
            tuple(word.strip() for word in value.split(",") if word.strip())
            if isinstance(value, str)
            else value
        )
