"""The API's settings."""

import unicodedata
from typing import Final, Self

from pydantic import Field, SecretStr, model_validator

from libs.bus.settings import BusSettings
from libs.clickhouse.settings import ClickHouseSettings
from libs.runtime.settings import ServiceSettings
from libs.security.url_guard import FILES, networks
from services.api.domain.url_policy import ANY, UrlPolicy
from services.api.oidc.settings import OidcSettings

_COMMA: Final = ","
_SHORTEST_KEY: Final = 16
_LONGEST_NAME: Final = 64

PLATFORM: Final = "api"
"""Who asks with the platform's key."""
_RESERVED: Final = frozenset(
    {
        PLATFORM,
        "cli",
        "commands",
        "console",
        "bulk",
        "edge",
        "firmware",
        "load",
        "oidc",
        "onboarding",
        "plans",
        "provisioning",
    }
    | {"roaming", "sessions", "simulator", "sink", "telemetry"}
    | {"capabilities", "certificates", "firmware-stations", "load-observer", "projections"}
)
"""Names under which services ask for commands: what an operator asked for must not be taken for theirs."""


def name_fault(name: str) -> str:
    """Why nobody who asks can have this name; "" if somebody can."""
    if name != unicodedata.normalize("NFKC", name) or not name.isprintable() or len(name) > _LONGEST_NAME:
        return f"a name has up to {_LONGEST_NAME} characters that are seen as they are"
    return f"{name} is a part of the platform" if name.casefold() in _RESERVED else ""


class OperatorSettings(ServiceSettings, BusSettings, ClickHouseSettings, OidcSettings):
    """What every process needs that serves operators. Read from `VOLTBUS_<FIELD>`."""

    wrong_keys: int = Field(
        default=20,
        ge=0,
        description="Wrong keys per minute from one address (IPv6: /64), then 429 for further ones; 0: no limit.",
    )
    wrong_passwords: int = Field(
        default=10,
        ge=0,
        description="Wrong passwords of an account from one address in a quarter of an hour, then none is looked at; "
        "ten times as many from one address, and of one account from strange addresses. 0: no limit.",
    )
    sign_in_s: float = Field(default=12 * 3600, gt=0, description="How long a sign-in lasts.")
    fresh_s: float = Field(
        default=15 * 60,
        gt=0,
        description="How long after the password a person may do what needs a fresh sign-in: commands of security, "
        "accounts and keys.",
    )
    secrets_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Seals passwords on their way to stations; the same as at the edges. Without it "
        "passwords cannot be changed over OCPP.",
    )
    tls_operator: str = Field(
        default="",
        description="Organisation (O) that stations' certificates must name, as at the edges; empty: any.",
    )
    least_security_profile: int = Field(
        default=1,
        ge=0,
        le=3,
        description="Profile of stations created without one; below it a station needs an exemption. The "
        "same at the edges.",
    )
    url_schemes: str = Field(
        default=_COMMA.join(sorted(FILES)),
        description="Schemes of URLs given to chargers for firmware, logs and diagnostics.",
    )
    url_hosts: str = Field(
        default=ANY,
        description="Hosts that chargers may be sent to, such as `files.example.org,*.example.net`; `*`: "
        "any public one; empty: none.",
    )
    url_networks: str = Field(
        default="", description="Networks that are allowed though not public, such as `10.0.0.0/8,fd00::/8`."
    )
    url_credentials: bool = Field(
        default=False, description="Allow user and password in these URLs; they are visible in the log then."
    )
    settle_s: float = Field(
        default=5,
        ge=0,
        le=3600,
        description="Default delay from now until a new site, tariff or price applies.",
    )

    clickhouse_timeout_s: float = Field(
        default=10, gt=0, description="Longest silence of ClickHouse in a query."
    )
    clickhouse_connections: int = Field(default=4, ge=1, le=64, description="Connections for short queries.")
    report_connections: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Further connections, for reports over long periods; four times as many requests wait.",
    )

    publish_timeout_s: float = Field(
        default=10, gt=0, description="Longest wait for Kafka's acknowledgement; then 503."
    )
    read_back_s: float = Field(
        default=2,
        ge=0,
        description="Longest wait for a change to appear in the read model before it is answered.",
    )
    commands_bytes: int = Field(
        default=64 << 20,
        ge=1 << 20,
        description="Memory for recent commands, and the same for recent outcomes.",
    )
    commands_alert: int = Field(
        default=1000,
        ge=0,
        description="Commands under one key within an hour that raise an alert; 0: none.",
    )
    bulk_stations: int = Field(
        default=2000, ge=1, le=10_000, description="Most stations that one bulk command chooses."
    )
    max_body_bytes: int = Field(default=1 << 20, ge=1024, description="Largest request body.")

    stream_clients: int = Field(default=100, ge=1, description="Concurrent event streams.")
    stream_clients_per_key: int = Field(default=25, ge=1, description="Concurrent event streams of one key.")
    stream_clients_per_address: int = Field(
        default=50, ge=1, description="Concurrent event streams from one address."
    )
    stream_ring: int = Field(
        default=5000, ge=100, description="Events remembered for slow or returning clients."
    )
    stream_bytes: int = Field(
        default=64 << 20, ge=1 << 20, description="Memory for these events; the lower bound applies."
    )
    stream_heartbeat_s: float = Field(
        default=15, gt=0, description="Interval of heartbeats on an idle event stream."
    )
    state_refresh_s: float = Field(
        default=30, gt=0, description="Interval of comparing the live state with ClickHouse."
    )

    @property
    def keys(self) -> dict[str, str]:
        """The keys that requests may have, by whose they are."""
        return {}

    @model_validator(mode="after")
    def _provider_has_a_seal(self) -> Self:
        if self.oidc_issuer and self.secrets_key is None:
            raise ValueError("oidc_issuer: secrets_key seals what browsers keep while they sign in")
        return self

    @model_validator(mode="after")
    def _url_policy_is_right(self) -> Self:
        assert self.url_policy
        return self

    @property
    def url_policy(self) -> UrlPolicy:
        """Which URLs chargers may be given."""
        return UrlPolicy(
            frozenset(_names(self.url_schemes)),
            frozenset(_names(self.url_hosts)),
            networks(self.url_networks),
            self.url_credentials,
        )


class ApiSettings(OperatorSettings):
    """Read from `VOLTBUS_<FIELD>`. There is no default key: without one the API does not start."""

    api_host: str = Field(default="127.0.0.1", description="Address of the API.")
    api_port: int = Field(default=8080, ge=0, le=65535, description="Port of the API.")
    api_key: SecretStr = Field(
        min_length=_SHORTEST_KEY,
        description=f"The platform's bearer key: who asks with it is called `{PLATFORM}`.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Networks of proxies in front, such as `10.0.0.0/8`; their X-Forwarded-For is believed.",
    )
    operator_keys: SecretStr | None = Field(
        default=None,
        description="Operators' own keys, such as `anna=KEY,ben=KEY`: what they ask for carries their names.",
    )
    api_request_s: float = Field(
        default=15,
        gt=0,
        description="Time for a request, from the connection or its first byte to its last byte.",
    )
    api_half_open: int = Field(
        default=256,
        ge=8,
        description="Connections with an incomplete request, an eighth of them from one address; beyond it "
        "the oldest is closed.",
    )
    api_connections: int = Field(
        default=4096, ge=8, description="Open connections; fewer if descriptors would run out."
    )

    @model_validator(mode="after")
    def _keys_are_apart(self) -> Self:
        keys = self.keys
        if any(len(key) < _SHORTEST_KEY for key in keys.values()) or len(set(keys.values())) < len(keys):
            raise ValueError(
                f"operator_keys: each key has at least {_SHORTEST_KEY} characters and is one person's alone"
            )
        return self

    @property
    def keys(self) -> dict[str, str]:
        """The keys that requests may have, by whose they are."""
        found = {PLATFORM: self.api_key.get_secret_value()}
        for pair in _names(
            "" if self.operator_keys is None else self.operator_keys.get_secret_value(), fold=False
        ):
            name, _, key = (part.strip() for part in pair.partition("="))
            if not name or name.casefold() in {known.casefold() for known in found}:
                raise ValueError("operator_keys: name=key,name=key, each name once")
            if fault := name_fault(name):
                raise ValueError(f"operator_keys: {fault}")
            found[name] = key
        return found


def _names(text: str, *, fold: bool = True) -> list[str]:
    names = [name.strip() for name in text.split(_COMMA) if name.strip()]
    return [name.lower() for name in names] if fold else names
