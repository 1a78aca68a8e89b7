"""Ports and sizes of the local platform."""

from pathlib import Path

from pydantic import Field, SecretStr

from libs.devstack.endpoints import HOST, Ports, free_ports
from libs.runtime.settings import Settings


class LocalSettings(Settings):
    """Read from `VOLTBUS_<FIELD>`, for instance `VOLTBUS_EDGE_PORT=19080 make up`.

    Whatever has another default here than in the services is a field, so that what is set wins. All other settings
    reach the services as they are set.
    """

    data: Path = Field(default=Path(".voltbus"), description="Folder of data, logs and secrets.")
    least_free_mb: int = Field(
        default=128,
        ge=0,
        description="Free disk space, in MiB, below which everything is stopped in order.",
    )
    brokers: int = Field(default=1, description="Kafka brokers, 1 or 3.")
    kafka_port: int = Field(default=9092, description="Port of the first broker; others follow it.")
    registry_port: int = Field(default=8081, description="Port of the schema registry.")
    clickhouse_port: int = Field(default=9000, description="Native protocol, user `voltbus`.")
    edge_port: int = Field(default=9080, description="Port of the chargers.")
    api_port: int = Field(default=8080, description="Port of the API.")
    console_port: int = Field(default=8090, description="Port of the console.")
    edge_processes: int = Field(default=2, ge=1, description="Edge processes on the one port, one slot each.")
    partitions: int = Field(default=4, ge=1, description="Partitions of each topic.")
    unknown_stations: str = Field(default="accept", description="As at the edge.")
    unknown_tokens: str = Field(default="accept", description="As at the edge.")
    deferred: str = Field(default="TransactionEvent.eventType=Ended:3", description="As at the edge.")
    namespace: str = Field(default="", description="As for Kafka.")
    slots: int = Field(default=0, ge=0, description="Edge slots; 0: one for each edge process.")
    replication: int = Field(
        default=0, ge=0, description="Copies of each topic; 0: as many as the brokers allow."
    )
    clickhouse_database: str = Field(default="voltbus", description="As for ClickHouse.")
    clickhouse_password: SecretStr = Field(
        default=SecretStr(""),
        description="Password of the user `voltbus`. Empty: made on the first run and kept with the data.",
    )
    api_host: str = Field(default=HOST, description="As at the API.")
    console_host: str = Field(default=HOST, description="As at the console.")
    http_host: str = Field(default=HOST, description="As for every service.")
    api_key: SecretStr = Field(
        default=SecretStr(""), description="Empty: made on the first run and kept with the data."
    )
    transaction_key: SecretStr = Field(
        default=SecretStr(""), description="Empty: made on the first run and kept with the data."
    )
    secrets_key: SecretStr = Field(
        default=SecretStr(""), description="Empty: made on the first run and kept with the data."
    )

    @property
    def stack_ports(self) -> Ports:
        """The ports of Kafka, registry and ClickHouse."""
        kafka = tuple(range(self.kafka_port, self.kafka_port + self.brokers))
        return Ports(kafka, self.registry_port, self.clickhouse_port)


def on_free_ports(data: Path, **overrides: object) -> LocalSettings:
    """Settings for a platform of its own beside whatever else runs here, with its data under `data`."""
    brokers = overrides.get("brokers", 1)
    assert isinstance(brokers, int)
    while True:
        kafka, *others = sorted(free_ports(6))
        if brokers == 1 or kafka + brokers <= others[0]:
            break
    names = ("registry_port", "clickhouse_port", "edge_port", "api_port", "console_port")
    ports = dict(zip(names, others, strict=True))
    return LocalSettings.model_validate({"data": data, "kafka_port": kafka, **ports, **overrides})
