"""Where ClickHouse is, and how its tables are kept."""

from typing import Self

from pydantic import Field, FilePath, SecretStr, model_validator

from libs.runtime.settings import Settings


class ClickHouseSettings(Settings):
    """`clickhouse_cluster` empty: one server, MergeTree tables. Named: Replicated* tables, made ON CLUSTER."""

    clickhouse_host: str = Field(default="127.0.0.1", description="Host of the server.")
    clickhouse_port: int = Field(default=9000, description="Port of the native protocol.")
    clickhouse_database: str = Field(
        default="voltbus",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Database of the platform's tables.",
    )
    clickhouse_user: str = Field(default="default", description="User of the connection.")
    clickhouse_password: SecretStr = Field(default=SecretStr(""), description="Password of the user.")
    clickhouse_secure: bool = Field(
        default=False, description="TLS; the server's certificate and name are checked."
    )
    clickhouse_ssl_ca_file: FilePath | None = Field(
        default=None, description="PEM: authorities of the server's certificate. Default: the usual ones."
    )
    clickhouse_ssl_cert_file: FilePath | None = Field(default=None, description="PEM: client certificate.")
    clickhouse_ssl_key_file: FilePath | None = Field(
        default=None, description="PEM: key of the client certificate."
    )
    clickhouse_cluster: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]*$",
        description="Name of a cluster: tables are Replicated* and made ON CLUSTER. Empty: one server.",
    )
    clickhouse_timeout_s: float = Field(
        default=30, gt=0, description="Longest silence of the server during a query."
    )

    @model_validator(mode="after")
    def _clickhouse_is_reached_as_meant(self) -> Self:
        files = (self.clickhouse_ssl_ca_file, self.clickhouse_ssl_cert_file, self.clickhouse_ssl_key_file)
        if any(files) and not self.clickhouse_secure:
            raise ValueError("VOLTBUS_CLICKHOUSE_SSL_* need VOLTBUS_CLICKHOUSE_SECURE=true")
        return self
