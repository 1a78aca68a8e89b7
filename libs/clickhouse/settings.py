"""Where ClickHouse is, and how its tables are kept."""

from pydantic import Field, SecretStr

from libs.runtime.settings import Settings


class ClickHouseSettings(Settings):
    """`clickhouse_cluster` empty: one server, MergeTree tables. Named: Replicated* tables, made ON CLUSTER."""

    clickhouse_host: str = "127.0.0.1"
    clickhouse_port: int = Field(default=9000, description="Native protocol.")
    clickhouse_database: str = Field(default="voltbus", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    clickhouse_user: str = "default"
    clickhouse_password: SecretStr = SecretStr("")
    clickhouse_secure: bool = False
    clickhouse_cluster: str = Field(default="", pattern=r"^[A-Za-z0-9_-]*$")
    clickhouse_timeout_s: float = Field(
        default=30, gt=0, description="Longest silence of the server in a query."
    )
