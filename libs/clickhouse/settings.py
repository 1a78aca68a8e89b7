"""Where ClickHouse is, and how its tables are kept."""

from typing import Self

from pydantic import Field, FilePath, SecretStr, model_validator

from libs.runtime.settings import Settings


class ClickHouseSettings(Settings):
    """`clickhouse_cluster` empty: one server, MergeTree tables. Named: Replicated* tables, made ON CLUSTER."""

    clickhouse_host: str = "127.0.0.1"
    clickhouse_port: int = Field(default=9000, description="Native protocol.")
    clickhouse_database: str = Field(default="voltbus", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    clickhouse_user: str = "default"
    clickhouse_password: SecretStr = SecretStr("")
    clickhouse_secure: bool = Field(default=False, description="TLS; the server's certificate is checked.")
    clickhouse_ssl_ca_file: FilePath | None = Field(
        default=None, description="PEM: who may vouch for the server; without it the usual authorities."
    )
    clickhouse_ssl_cert_file: FilePath | None = Field(default=None, description="PEM: shown to the server.")
    clickhouse_ssl_key_file: FilePath | None = None
    clickhouse_cluster: str = Field(default="", pattern=r"^[A-Za-z0-9_-]*$")
    clickhouse_timeout_s: float = Field(
        default=30, gt=0, description="Longest silence of the server in a query."
    )

    @model_validator(mode="after")
    def _clickhouse_is_reached_as_meant(self) -> Self:
        files = (self.clickhouse_ssl_ca_file, self.clickhouse_ssl_cert_file, self.clickhouse_ssl_key_file)
        if any(files) and not self.clickhouse_secure:
            raise ValueError("VOLTBUS_CLICKHOUSE_SSL_* need VOLTBUS_CLICKHOUSE_SECURE=true")
        return self
