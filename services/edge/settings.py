"""The edge's settings."""

import socket
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from libs.runtime.settings import ServiceSettings
from libs.runtime.urls import Network, networks
from services.edge.deferred import Deferrals, parse_deferrals
from services.edge.domain.rules import UnknownStations, UnknownTokens


class EdgeSettings(ServiceSettings):
    """Read from `VOLTBUS_<FIELD>`. Durations in seconds."""

    edge_host: str = "127.0.0.1"
    edge_port: int = Field(default=9080, description="Websockets; shared by all edge processes of a host.")
    edge_tls_port: int = Field(
        default=9443, description="The same over TLS; opened if tls_certificate is set."
    )
    edge_processes: int = Field(
        default=1, ge=1, le=64, description="Processes to run, on slots from `slot` on."
    )
    edge_id: str = Field(
        default="",
        max_length=128,
        description="Name of this process, kept over restarts, used by no other. Default: host name and slot.",
    )
    slot: int = Field(default=0, ge=0, description="Ordinal; modulo the partitions of commands.dispatch.")

    unknown_stations: UnknownStations = UnknownStations.REJECT
    unknown_tokens: UnknownTokens = UnknownTokens.REJECT
    transaction_key: SecretStr = Field(
        min_length=16, description="Secret of the 1.6 transaction ids, the same for every edge process."
    )
    secrets_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Opens passwords on their way to stations: as the API's. Without it they cannot be changed.",
    )
    heartbeat_interval_s: int = Field(
        default=300, ge=1, description="For stations that the registry leaves open."
    )
    boot_retry_s: int = Field(
        default=60, ge=1, description="What pending and rejected stations are told to wait."
    )

    tls_certificate: Path | None = Field(
        default=None, description="PEM, with its chain. All these files are read again when they change."
    )
    tls_key: Path | None = Field(default=None, description="PEM, without a pass phrase.")
    tls_second_certificate: Path | None = Field(
        default=None,
        description="As tls_certificate, with a key of another kind: RSA beside EC, for stations that know only that.",
    )
    tls_second_key: Path | None = Field(default=None, description="As tls_key.")
    tls_client_ca: Path | None = Field(
        default=None, description="PEM: who issues client certificates; without it there are none."
    )
    tls_crl: Path | None = Field(default=None, description="PEM or DER: revoked client certificates.")
    tls_rsa_key_exchange: bool = Field(
        default=False,
        description="Also TLS_RSA_WITH_AES_128/256_GCM, for stations that have nothing else: no forward secrecy.",
    )
    tls_boot_serial: bool = Field(
        default=True,
        description="A 2.x station with a certificate whose boot names another serial number than its CN is put out.",
    )
    tls_operator: str = Field(
        default="", description="Organisation that client certificates must name; empty: any."
    )
    least_security_profile: int = Field(
        default=1,
        ge=0,
        le=3,
        description="Of every connection but those of stations that are exempt: the same for edges and API.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Networks of the proxies in front, such as `10.0.0.0/8,fd00::/8`: what they say of a client's"
        " address is believed, and nobody else.",
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Connections of trusted proxies begin with a header of the PROXY protocol, version 1 or 2.",
    )
    forwarded: bool = Field(
        default=False,
        description="Of requests of trusted proxies, X-Forwarded-For says where they come from, X-Forwarded-Proto"
        " whether over TLS.",
    )
    handshake_timeout_s: float = Field(
        default=10, gt=0, description="From the accepted connection to the websocket, and for TLS before it."
    )
    max_handshakes: int = Field(
        default=10_000, ge=1, description="Under way at a time; beyond it those that take longest are cut."
    )
    auth_failures: int = Field(
        default=10,
        ge=0,
        description="Failed handshakes per address and identity in auth_window_s, then 429; 0: any number.",
    )
    auth_failures_per_address: int = Field(
        default=100, ge=0, description="As auth_failures, of all identities at one address (IPv6: /64)."
    )
    reconnects: int = Field(
        default=60,
        ge=0,
        description="Websockets of one identity from one address in auth_window_s, then 429.",
    )
    auth_window_s: float = Field(default=60, gt=0)
    auth_peers: int = Field(
        default=20_000, ge=1, description="Addresses and identities that are remembered for these limits."
    )

    deferred: Annotated[Deferrals, NoDecode, BeforeValidator(parse_deferrals)] = Field(
        default={},
        description="Calls that a processor answers, and for how many seconds it is waited for:"
        " `GetCertificateStatus:5,Authorize.iso15118CertificateHashData:5,Authorize.certificate:5,"
        "TransactionEvent.eventType=Ended:3`, Authorize only with one of these fields, the last only with that value.",
    )

    catch_up_s: float = Field(
        default=3,
        gt=0,
        description="How long a refusal waits at most until what was registered before it has been read.",
    )
    certificate_desk: bool = Field(
        default=False,
        description="Somebody answers certificate requests: SignCertificate is answered Accepted, not Rejected.",
    )

    publish_timeout_s: float = Field(
        default=10, gt=0, description="After this long without Kafka's acknowledgement the socket is closed."
    )
    drain_s: float = Field(
        default=20,
        ge=0,
        description="How long a stop waits for calls under way, and then for Kafka to take what is to be told.",
    )
    stop_timeout_s: float = Field(
        default=60, gt=0, description="From SIGTERM or SIGINT on; at least twice drain_s and 15 s."
    )
    ping_after_s: float = Field(default=30, gt=0, description="A socket silent for this long is pinged.")
    silence_timeout_s: float = Field(
        default=90, gt=0, description="A socket silent for this long is closed; longer if it never ponged."
    )
    command_timeouts: int = Field(
        default=3, ge=1, description="Unanswered commands in a row until a socket is closed."
    )

    max_connections: int = Field(default=20_000, ge=1)
    max_frame_bytes: int = Field(
        default=256 * 1024, ge=1024, description="Larger frames get an error; four times larger, a close."
    )
    max_unacknowledged_bytes: int = Field(
        default=64 << 20, ge=1 << 20, description="Payloads under way to Kafka; beyond it reading waits."
    )
    deflate: bool = Field(default=True, description="Offer permessage-deflate to 2.x stations (part 4 §3.4).")
    entries_per_s: int = Field(
        default=400,
        ge=0,
        description="Stations let in per second; more are refused for the moment. 0: no bound.",
    )
    retry_after_s: int = Field(
        default=5,
        ge=1,
        description="Stations that are refused for the moment are told to wait this long, or up to ten seconds more.",
    )
    refusal_window_s: float = Field(
        default=60, gt=0, description="Refused handshakes are recorded once per window."
    )
    refusal_kinds: int = Field(default=256, ge=1, description="Kinds of refused handshakes per window.")
    garbage_limit: int = Field(
        default=10, ge=1, description="Unusable frames of a station that are recorded, per refusal_window_s."
    )

    station_messages_per_s: float = Field(
        default=50, ge=0, description="Of one station, for ever; 0: any number. Beyond it its messages wait."
    )
    station_bytes_per_s: float = Field(default=128 * 1024, ge=0, description="As station_messages_per_s.")
    station_cpu: float = Field(
        default=0.02, ge=0, le=1, description="As station_messages_per_s: of one core, for its messages."
    )
    station_saved_s: float = Field(
        default=30, gt=0, description="So many seconds' worth of these a station may take at once."
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("VOLTBUS_TLS_CERTIFICATE and VOLTBUS_TLS_KEY belong together")
        if (self.tls_second_certificate is None) != (self.tls_second_key is None):
            raise ValueError("VOLTBUS_TLS_SECOND_CERTIFICATE and VOLTBUS_TLS_SECOND_KEY belong together")
        if self.tls_certificate is None and (
            self.tls_client_ca or self.tls_crl or self.tls_second_certificate
        ):
            raise ValueError(
                "VOLTBUS_TLS_CLIENT_CA, VOLTBUS_TLS_CRL and VOLTBUS_TLS_SECOND_CERTIFICATE need VOLTBUS_TLS_CERTIFICATE"
            )
        return self

    @model_validator(mode="after")
    def _proxies_are_named(self) -> Self:
        if (self.proxy_protocol or self.forwarded) != bool(self.proxies):
            raise ValueError(
                "VOLTBUS_TRUSTED_PROXIES and VOLTBUS_PROXY_PROTOCOL or VOLTBUS_FORWARDED belong together"
            )
        return self

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of the proxies. Raises ValueError."""
        return networks(self.trusted_proxies)

    @model_validator(mode="after")
    def _a_drain_has_time(self) -> Self:
        if self.stop_timeout_s < 2 * self.drain_s + 15:
            raise ValueError("VOLTBUS_STOP_TIMEOUT_S has to be at least twice VOLTBUS_DRAIN_S and 15 s")
        return self

    @property
    def name(self) -> str:
        """The edge id in force."""
        return self.edge_id or f"{socket.gethostname()}-{self.slot}"
