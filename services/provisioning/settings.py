"""Settings of provisioning."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from libs.bus.settings import BusSettings
from libs.runtime.settings import ServiceSettings
from libs.security.url_guard import networks
from services.provisioning.domain.onboarding.processor import OnBoot


class ProvisioningSettings(ServiceSettings, BusSettings):
    """What every service has, and what stations are asked when they boot."""

    on_boot: Annotated[tuple[OnBoot, ...], NoDecode] = Field(
        default=(),
        description="What a station is asked after it has booted: `configuration`, `limits`, `status`.",
    )

    certificate_checks: bool = Field(
        default=False,
        description="Check certificates by OCSP and answer GetCertificateStatus, GetCertificateChainStatus "
        "and Authorize with a contract certificate; set `VOLTBUS_DEFERRED` at the edge "
        "accordingly.",
    )
    certificate_authorities: Path | None = Field(
        default=None, description="PEM: issuers of contract certificates that may authorise."
    )
    ocsp_timeout_s: float = Field(default=4, gt=0, le=60, description="Timeout of one OCSP request.")
    url_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(networks)] = (
        Field(
            default=(),
            description="Networks of OCSP responders besides the public internet, such as `10.0.0.0/8`.",
        )
    )
    unknown_tokens: Literal["accept", "reject"] = Field(default="reject", description="As at the edge.")

    @field_validator("on_boot", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return (
            tuple(word.strip() for word in value.split(",") if word.strip())
            if isinstance(value, str)
            else value
        )
