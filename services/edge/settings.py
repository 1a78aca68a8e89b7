"""The edge's settings."""

import socket
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from libs.runtime.settings import ServiceSettings
from libs.security.url_guard import Network, networks
from services.edge.deferred import Deferrals, parse_deferrals
from services.edge.domain.rules import UnknownStations, UnknownTokens


class EdgeSettings(ServiceSettings):
    """Read from `VOLTBUS_<FIELD>`. Durations in seconds."""

    edge_host: str = Field(default="127.0.0.1", description="Address of the chargers' ports.")
    edge_port: int = Field(
        default=9080, description="Websockets without TLS; shared by all edge processes of a host."
    )
    edge_tls_port: int = Field(
        default=9443, description="Websockets over TLS; open if `VOLTBUS_TLS_CERTIFICATE` is set."
    )
    edge_processes: int = Field(
        default=1, ge=1, le=64, description="Processes to run, on slots from `VOLTBUS_SLOT` on."
    )
    edge_id: str = Field(
        default="",
        max_length=128,
        description="Name of this process, kept over restarts and unique. Default: host name and slot.",
    )
    slot: int = Field(
        default=0, ge=0, description="Ordinal of this process, modulo the partitions of commands.dispatch."
    )

    unknown_stations: UnknownStations = Field(
        default=UnknownStations.REJECT, description="What happens to stations that are not registered."
    )
    unknown_tokens: UnknownTokens = Field(
        default=UnknownTokens.REJECT, description="What happens to id tokens that are not registered."
    )
    transaction_key: SecretStr = Field(
        min_length=16,
        description="Secret of the OCPP 1.6 transaction ids, the same for every edge process; never change "
        "it while sessions are open.",
    )
    secrets_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Opens sealed passwords on their way to stations; the same as at the API. Without it "
        "passwords cannot be changed over OCPP.",
    )
    heartbeat_interval_s: int = Field(
        default=300, ge=1, description="Heartbeat interval of stations whose registry entry has none."
    )
    boot_retry_s: int = Field(
        default=60, ge=1, description="Retry interval told to pending and rejected stations."
    )

    tls_certificate: Path | None = Field(
        default=None, description="PEM with its chain. TLS files are read again when they change."
    )
    tls_key: Path | None = Field(default=None, description="PEM, without a pass phrase.")
    tls_second_certificate: Path | None = Field(
        default=None,
        description="Certificate with a key of the other kind (RSA or EC), for stations that know only that.",
    )
    tls_second_key: Path | None = Field(default=None, description="PEM: key of the second certificate.")
    tls_client_ca: Path | None = Field(
        default=None, description="PEM: authorities of client certificates; without it there are none."
    )
    tls_crl: Path | None = Field(default=None, description="PEM or DER: revoked client certificates.")
    tls_rsa_key_exchange: bool = Field(
        default=False,
        description="Also offer TLS_RSA_WITH_AES_128/256_GCM, which have no forward secrecy.",
    )
    tls_boot_serial: bool = Field(
        default=True,
        description="Close the connection of a 2.x station whose boot names a serial number other than its "
        "certificate's CN.",
    )
    tls_operator: str = Field(
        default="", description="Organisation (O) that client certificates must name; empty: any."
    )
    least_security_profile: int = Field(
        default=1,
        ge=0,
        le=3,
        description="Least security profile of every station without an exemption; the same at the API.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Networks of proxies in front, such as `10.0.0.0/8,fd00::/8`; only they are believed "
        "about a client's address.",
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Connections of trusted proxies begin with a PROXY protocol header, version 1 or 2.",
    )
    forwarded: bool = Field(
        default=False,
        description="Trusted proxies set X-Forwarded-For and X-Forwarded-Proto.",
    )
    handshake_timeout_s: float = Field(
        default=10,
        gt=0,
        description="From the accepted connection to the websocket; the TLS handshake has the same bound.",
    )
    max_handshakes: int = Field(
        default=10_000,
        ge=1,
        description="Concurrent handshakes; beyond it the longest-running ones are closed.",
    )
    auth_failures: int = Field(
        default=10,
        ge=0,
        description="Failed handshakes per address and identity within `VOLTBUS_AUTH_WINDOW_S`, then 429; "
        "0: no limit.",
    )
    auth_failures_per_address: int = Field(
        default=100, ge=0, description="The same for all identities at one address (IPv6: /64)."
    )
    reconnects: int = Field(
        default=60,
        ge=0,
        description="Websockets of one identity from one address within `VOLTBUS_AUTH_WINDOW_S`, then 429.",
    )
    auth_window_s: float = Field(default=60, gt=0, description="Window of the limits on handshakes.")
    auth_peers: int = Field(
        default=20_000, ge=1, description="Addresses and identities remembered for these limits."
    )

    deferred: Annotated[Deferrals, NoDecode, BeforeValidator(parse_deferrals)] = Field(
        default={},
        description="Calls that a processor answers, with the seconds to wait for it: `GetCertificateStatus:5,"
        "Authorize.iso15118CertificateHashData:5,Authorize.certificate:5,TransactionEvent.eventType=Ended:3`."
        " Authorize is deferred only with one of these fields, TransactionEvent only with that value.",
    )

    catch_up_s: float = Field(
        default=3,
        gt=0,
        description="Longest wait of a refusal for registry changes that are not read yet.",
    )
    certificate_desk: bool = Field(
        default=False,
        description="Answer SignCertificate with Accepted, because somebody signs the requests; otherwise Rejected.",
    )

    publish_timeout_s: float = Field(
        default=10, gt=0, description="Without Kafka's acknowledgement for this long, the socket is closed."
    )
    drain_s: float = Field(
        default=20,
        ge=0,
        description="How long a stop waits for calls under way, and then for Kafka to take the last records.",
    )
    stop_timeout_s: float = Field(
        default=60,
        gt=0,
        description="Longest stop, from SIGTERM or SIGINT; at least twice `VOLTBUS_DRAIN_S` plus 15 s.",
    )
    ping_after_s: float = Field(default=30, gt=0, description="A socket silent for this long is pinged.")
    silence_timeout_s: float = Field(
        default=90,
        gt=0,
        description="A socket silent for this long is closed; later if it never answered a ping.",
    )
    command_timeouts: int = Field(
        default=3, ge=1, description="Consecutive unanswered commands after which the socket is closed."
    )

    max_connections: int = Field(default=20_000, ge=1, description="Open websockets of one process.")
    max_frame_bytes: int = Field(
        default=256 * 1024,
        ge=1024,
        description="Larger frames get an error; frames four times as large close the connection.",
    )
    max_unacknowledged_bytes: int = Field(
        default=64 << 20,
        ge=1 << 20,
        description="Payloads sent to Kafka and not yet acknowledged; beyond it reading waits.",
    )
    deflate: bool = Field(default=True, description="Offer permessage-deflate to 2.x stations (part 4 §3.4).")
    entries_per_s: int = Field(
        default=400,
        ge=0,
        description="Stations admitted per second; others are told to come back later. 0: no limit.",
    )
    retry_after_s: int = Field(
        default=5,
        ge=1,
        description="Least wait told to stations that are refused for the moment; up to ten seconds more.",
    )
    refusal_window_s: float = Field(
        default=60, gt=0, description="Refused handshakes of one kind are recorded once per window."
    )
    refusal_kinds: int = Field(
        default=256, ge=1, description="Kinds of refused handshakes told apart per window."
    )
    garbage_limit: int = Field(
        default=10, ge=1, description="Unusable frames of a station recorded per `VOLTBUS_REFUSAL_WINDOW_S`."
    )

    station_messages_per_s: float = Field(
        default=50,
        ge=0,
        description="Sustained rate of one station; beyond it its messages wait. 0: no limit.",
    )
    station_bytes_per_s: float = Field(default=128 * 1024, ge=0, description="The same in bytes.")
    station_cpu: float = Field(default=0.02, ge=0, le=1, description="The same as a share of one core.")
    station_saved_s: float = Field(
        default=30, gt=0, description="Burst: seconds' worth of these rates that a station may use at once."
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
