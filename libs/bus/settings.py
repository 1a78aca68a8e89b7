"""Where the bus is, and how its topics are laid out."""

from typing import Final, Literal, Self

from pydantic import Field, FilePath, SecretStr, model_validator

from libs.runtime.settings import Settings

TOPIC_BYTES: Final = 4 << 20
"""What every topic of the contract takes as one batch (`max.message.bytes`). All other sizes follow from it."""
MAX_RECORD_BYTES: Final = TOPIC_BYTES - (64 << 10)
"""The largest key and value that are written: with headers and batch they stay below `TOPIC_BYTES`."""
DEAD_LETTER_BYTES: Final = TOPIC_BYTES + (256 << 10)
"""What dead-letter topics take: the largest record and what is said about it. No producer sends more at once."""


class BusSettings(Settings):
    """`namespace` prefixes every topic, group and transactional id: several platforms can share a cluster."""

    kafka: str = Field(default="127.0.0.1:9092", description="Bootstrap servers, comma-separated.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT",
        description="TLS (SSL) and authentication by password (SASL) of connections to Kafka.",
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="How the password is proved to brokers."
    )
    kafka_sasl_username: str = Field(default="", description="Kafka principal; one for each service.")
    kafka_sasl_password: SecretStr = Field(default=SecretStr(""), description="Password of the principal.")
    kafka_ssl_ca_file: FilePath | None = Field(
        default=None, description="PEM: authorities of the brokers' certificates. Default: the system's."
    )
    kafka_ssl_cert_file: FilePath | None = Field(
        default=None, description="PEM: client certificate; without SASL its subject is the principal."
    )
    kafka_ssl_key_file: FilePath | None = Field(
        default=None,
        description="PEM, without a pass phrase; not needed if the certificate's file holds the key.",
    )
    registry_url: str = Field(
        default="http://127.0.0.1:8081/apis/ccompat/v7", description="Confluent-compatible schema registry."
    )
    registry_username: str = Field(default="", description="Basic authentication; empty: none.")
    registry_password: SecretStr = Field(
        default=SecretStr(""), description="Password of `VOLTBUS_REGISTRY_USERNAME`."
    )
    registry_ssl_ca_file: FilePath | None = Field(
        default=None, description="PEM: authorities of an https registry. Default: the system's."
    )
    registry_ssl_cert_file: FilePath | None = Field(
        default=None, description="PEM: client certificate for the registry."
    )
    registry_ssl_key_file: FilePath | None = Field(
        default=None,
        description="PEM, without a pass phrase; not needed if the certificate's file holds the key.",
    )
    kafka_session_timeout_s: float = Field(
        default=6,
        ge=1,
        description="A group member silent for this long loses its partitions to others. Not below the "
        "brokers' group.min.session.timeout.ms.",
    )
    kafka_instance_id: str | None = Field(
        default=None,
        description="Stable name of this process, unique in its service (KIP-345): after a restart within "
        "the session timeout it gets its partitions back at once. Not used on Faust.",
    )
    namespace: str = Field(
        default="",
        description="Prefix of every topic, group and transactional id: several platforms can share a cluster.",
    )
    partitions: int | None = Field(
        default=None, ge=1, description="Replaces the partition counts of the topic files."
    )
    slots: int | None = Field(default=None, ge=1, description="Replaces the number of edge slots.")
    replication: int = Field(
        default=1, ge=1, description="Copies of each topic that `voltbus contract apply` creates."
    )
    dead_letter_limit: int = Field(
        default=100,
        ge=0,
        description="Failures of a partition that may become dead letters within the window; at the next "
        "one the partition stops.",
    )
    dead_letter_window_s: float = Field(
        default=600, gt=0, description="Window of `VOLTBUS_DEAD_LETTER_LIMIT`."
    )
    state_release: str = Field(
        default="",
        description="During a rolling upgrade: the previous release, which can read the states that are written.",
    )
    compression: Literal["none", "lz4", "zstd"] = Field(
        default="lz4", description="Compression of the records that are produced."
    )

    @model_validator(mode="after")
    def _kafka_is_reached_as_meant(self) -> Self:
        protocol = self.kafka_security_protocol
        user, password = self.kafka_sasl_username, self.kafka_sasl_password.get_secret_value()
        files = (self.kafka_ssl_ca_file, self.kafka_ssl_cert_file, self.kafka_ssl_key_file)
        if protocol.startswith("SASL") and not (user and password):
            raise ValueError(f"{protocol} needs VOLTBUS_KAFKA_SASL_USERNAME and VOLTBUS_KAFKA_SASL_PASSWORD")
        if not protocol.startswith("SASL") and (user or password):
            raise ValueError("VOLTBUS_KAFKA_SASL_* need VOLTBUS_KAFKA_SECURITY_PROTOCOL=SASL_SSL")
        if not protocol.endswith("SSL") and any(files):
            raise ValueError("VOLTBUS_KAFKA_SSL_* need VOLTBUS_KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
        if self.kafka_ssl_key_file and not self.kafka_ssl_cert_file:
            raise ValueError("VOLTBUS_KAFKA_SSL_KEY_FILE belongs to VOLTBUS_KAFKA_SSL_CERT_FILE")
        return self

    @model_validator(mode="after")
    def _the_registry_is_reached_as_meant(self) -> Self:
        files = (self.registry_ssl_ca_file, self.registry_ssl_cert_file, self.registry_ssl_key_file)
        if self.registry_password.get_secret_value() and not self.registry_username:
            raise ValueError("VOLTBUS_REGISTRY_PASSWORD belongs to VOLTBUS_REGISTRY_USERNAME")
        if any(files) and not self.registry_url.startswith("https:"):
            raise ValueError("VOLTBUS_REGISTRY_SSL_* need an https URL in VOLTBUS_REGISTRY_URL")
        if self.registry_ssl_key_file and not self.registry_ssl_cert_file:
            raise ValueError("VOLTBUS_REGISTRY_SSL_KEY_FILE belongs to VOLTBUS_REGISTRY_SSL_CERT_FILE")
        return self

    def topic(self, name: str) -> str:
        """Kafka's name of the contract's topic `name`."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def group(self, name: str) -> str:
        """Kafka's name of a consumer group or transactional id."""
        return f"voltbus.{self.topic(name)}"

    def logical(self, topic: str) -> str:
        """The contract's name of Kafka's `topic`."""
        return topic.removeprefix(f"{self.namespace}.") if self.namespace else topic
