"""A connection to ClickHouse over the native protocol, compressed with LZ4."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError
from clickhouse_driver.errors import (
    NetworkError,
    PartiallyConsumedQueryError,
    ServerException,
    SocketTimeoutError,
)

from libs.clickhouse.settings import ClickHouseSettings

_NOT_FOUND_CODES = frozenset({60, 81})
"""UNKNOWN_TABLE, UNKNOWN_DATABASE."""

_BUSY_CODES = frozenset({159, 202, 209, 210, 236, 241, 242, 394, 439, 999})
"""TIMEOUT_EXCEEDED, TOO_MANY_SIMULTANEOUS_QUERIES, SOCKET_TIMEOUT, NETWORK_ERROR, ABORTED, MEMORY_LIMIT_EXCEEDED,
TABLE_IS_READ_ONLY, QUERY_WAS_CANCELLED, CANNOT_SCHEDULE_TASK, KEEPER_EXCEPTION: later the same query may succeed."""


class ClickHouseError(Exception):
    """ClickHouse refused a query, or the data does not fit; the message says why."""


class NotMigratedError(ClickHouseError):
    """The database or a table is not there: run the migrations."""


class ClickHouseUnavailableError(ClickHouseError):
    """ClickHouse does not answer, or is too busy to; whether a write took effect is not known."""


class ClickHouseClient:
    """One connection, opened by the first query and again after a failure. Not safe for several threads at once.

    Every method blocks, and raises ClickHouseError or one of its subclasses.
    """

    def __init__(self, settings: ClickHouseSettings, *, database: str | None = None) -> None:
        """`database` replaces the settings' one, for queries before it exists."""
        self._settings = settings
        self._database = settings.clickhouse_database if database is None else database
        self._client: Client | None = None

    def execute(self, sql: str) -> None:
        """Run a statement that returns nothing."""
        self._run(sql, None)

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of a query by column name. `%(name)s` in `sql` stands for the escaped `params["name"]`;
        without params a `%` is itself.

        DateTime64 values arrive as aware datetimes, arrays as lists, tuples as tuples.
        """
        rows, columns = self._run(sql, None if params is None else dict(params), with_column_types=True)
        names = [name for name, _ in columns]
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for name in (name for name, kind in columns if kind == "Bool"):
            for row in found:
                # Columns that are mostly false may come sparse: the driver then fills in 0.
                row[name] = bool(row[name])
        return found

    def insert(self, table: str, columns: Sequence[str], data: Sequence[list[Any]], token: str) -> None:
        """Insert `data` (one list per column, of equal lengths) as one block: all of it is stored, or none.

        The same `token` within the table's deduplication window is stored once. `data` is left as it was.
        Timestamps may be integers in the column's own unit.
        """
        names = ", ".join(f"`{name}`" for name in columns)
        self._run(
            f"INSERT INTO {table} ({names}) VALUES",
            # The driver replaces NULLs in the lists that it is given.
            [list(column) for column in data],
            columnar=True,
            settings={"insert_deduplication_token": token, "async_insert": 0},
        )

    def close(self) -> None:
        """Disconnect. A later query connects again."""
        if self._client is not None:
            self._client.disconnect()
            self._client = None

    def _run(self, sql: str, params: Any, **options: Any) -> Any:
        try:
            return self._connected().execute(sql, params, **options)
        except ServerException as error:
            raise _kind_of(error.code)(str(error.message).split(" Stack trace:")[0]) from error
        except (
            NetworkError,
            SocketTimeoutError,
            PartiallyConsumedQueryError,
            OSError,
            EOFError,
        ) as error:
            self.close()
            raise ClickHouseUnavailableError(f"{type(error).__name__}: {error}") from error
        except (DriverError, ValueError, TypeError, AttributeError) as error:
            self.close()
            raise ClickHouseError(f"{type(error).__name__}: {error}") from error

    def _connected(self) -> Client:
        if self._client is not None and self._client.connection.connected and self._client.connection.ping():
            return self._client
        self.close()
        settings = self._settings
        # Not with the database in the greeting: the embeddable server aborts if that is missing.
        client = Client(
            settings.clickhouse_host,
            port=settings.clickhouse_port,
            database="default",
            user=settings.clickhouse_user,
            password=settings.clickhouse_password.get_secret_value(),
            secure=settings.clickhouse_secure,
            ca_certs=_path(settings.clickhouse_ssl_ca_file),
            certfile=_path(settings.clickhouse_ssl_cert_file),
            keyfile=_path(settings.clickhouse_ssl_key_file),
            compression="lz4",
            # From 26.9 on servers answer in Zstandard unless asked otherwise, which the driver cannot read by itself.
            settings={"network_compression_method": "LZ4"},
            connect_timeout=5,
            send_receive_timeout=settings.clickhouse_timeout_s,
            client_name="voltbus",
            disable_reconnect=True,
        )
        client.execute(f"USE {self._database}")
        self._client = client
        return client


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _kind_of(code: int) -> type[ClickHouseError]:
    if code in _NOT_FOUND_CODES:
        return NotMigratedError
    return ClickHouseUnavailableError if code in _BUSY_CODES else ClickHouseError
