"""Ports and sizes of the local platform."""

from pathlib import Path

from pydantic import Field, SecretStr

from libs.runtime.settings import Settings
from libs.testing.localstack.endpoints import HOST, Ports, free_ports


class LocalSettings(Settings):
    """Read from `VOLTBUS_<FIELD>`, for instance `VOLTBUS_EDGE_PORT=19080 make up`.

    Whatever has another default here than in the services is a field, so that what is set wins. All other settings
    reach the services as they are set.
    """

    data: Path = Field(default=Path(".voltbus"), description="Everything that is kept between runs.")
    least_free_mb: int = Field(
        default=128,
        ge=0,
        description="With less room than this where the data is, everything is stopped in order.",
    )
    brokers: int = Field(default=1, description="1 or 3.")
    kafka_port: int = Field(default=9092, description="The first broker's; others follow it.")
    registry_port: int = 8081
    clickhouse_port: int = 9000
    edge_port: int = 9080
    api_port: int = 8080
    edge_processes: int = Field(default=2, ge=1, description="Edge processes on the one port.")
    partitions: int = Field(default=4, ge=1, description="Partitions of each topic.")
    unknown_stations: str = "accept"
    unknown_tokens: str = "accept"
    deferred: str = "TransactionEvent.eventType=Ended:3"
    namespace: str = ""
    slots: int = Field(default=0, ge=0, description="Of commands; 0: one for each edge process.")
    replication: int = Field(
        default=0, ge=0, description="Copies of each topic; 0: as many as brokers allow."
    )
    clickhouse_database: str = "voltbus"
    clickhouse_password: SecretStr = Field(
        default=SecretStr(""), description="Of its user voltbus. Empty: made once, and kept in the data."
    )
    api_host: str = HOST
    http_host: str = HOST
    api_key: SecretStr = Field(default=SecretStr(""), description="Likewise.")
    transaction_key: SecretStr = Field(default=SecretStr(""), description="Likewise.")
    secrets_key: SecretStr = Field(default=SecretStr(""), description="Likewise.")

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
        kafka, *others = sorted(free_ports(5))
        if brokers == 1 or kafka + brokers <= others[0]:
            break
    names = ("registry_port", "clickhouse_port", "edge_port", "api_port")
    ports = dict(zip(names, others, strict=True))
    return LocalSettings.model_validate({"data": data, "kafka_port": kafka, **ports, **overrides})
