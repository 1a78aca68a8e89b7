"""Ports and sizes of the local platform."""

from pathlib import Path

from pydantic import Field

from libs.runtime.settings import Settings
from libs.testing.localstack.endpoints import Ports, free_ports


class LocalSettings(Settings):
    """Read from `VOLTBUS_<FIELD>`, for instance `VOLTBUS_EDGE_PORT=19080 make up`."""

    data: Path = Field(default=Path(".voltbus"), description="Everything that is kept between runs.")
    brokers: int = Field(default=1, description="1 or 3.")
    kafka_port: int = Field(default=9092, description="The first broker's; others follow it.")
    registry_port: int = 8081
    clickhouse_port: int = 9000
    clickhouse_http_port: int = 8123
    edge_port: int = 9080
    api_port: int = 8080
    edge_processes: int = Field(default=2, ge=1, description="Edge processes on the one port.")
    partitions: int = Field(default=4, ge=1, description="Partitions of each topic.")
    unknown_stations: str = "accept"
    unknown_tokens: str = "accept"

    @property
    def stack_ports(self) -> Ports:
        """The ports of Kafka, registry and ClickHouse."""
        kafka = tuple(range(self.kafka_port, self.kafka_port + self.brokers))
        return Ports(kafka, self.registry_port, self.clickhouse_port, self.clickhouse_http_port)


def on_free_ports(data: Path, **overrides: object) -> LocalSettings:
    """Settings for a platform of its own beside whatever else runs here, with its data under `data`."""
    brokers = overrides.get("brokers", 1)
    assert isinstance(brokers, int)
    while True:
        kafka, *others = sorted(free_ports(6))
        if brokers == 1 or kafka + brokers <= others[0]:
            break
    names = ("registry_port", "clickhouse_port", "clickhouse_http_port", "edge_port", "api_port")
    ports = dict(zip(names, others, strict=True))
    return LocalSettings.model_validate({"data": data, "kafka_port": kafka, **ports, **overrides})
