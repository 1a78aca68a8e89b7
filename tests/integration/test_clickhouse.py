"""The ClickHouse client on the real server."""

from collections.abc import Iterator

import pytest

from libs.clickhouse.client import ClickHouseClient
from libs.clickhouse.migrate import migrate
from libs.clickhouse.settings import ClickHouseSettings
from libs.devstack import Endpoints


@pytest.fixture
def settings(stack: Endpoints, namespace: str) -> ClickHouseSettings:
    return ClickHouseSettings(
        clickhouse_host=stack.clickhouse_host,
        clickhouse_port=stack.clickhouse_port,
        clickhouse_database=namespace,
    )


@pytest.fixture
def client(settings: ClickHouseSettings) -> Iterator[ClickHouseClient]:
    namespace = settings.clickhouse_database
    admin = ClickHouseClient(settings, database="default")
    admin.execute(f"CREATE DATABASE {namespace}")
    client = ClickHouseClient(settings)
    yield client
    client.close()
    admin.execute(f"DROP DATABASE {namespace}")
    admin.close()


def test_a_column_that_is_mostly_false_is_read_as_booleans(client: ClickHouseClient) -> None:
    """The server keeps such a column sparse, and sends it so."""
    client.execute(
        "CREATE TABLE facts (id Int32, so Bool) ENGINE = MergeTree ORDER BY id"
        " SETTINGS ratio_of_defaults_for_sparse_serialization = 0.5"
    )
    client.insert("facts", ["id", "so"], [list(range(100)), [number == 7 for number in range(100)]], "one")
    rows = client.rows("SELECT id, so FROM facts ORDER BY id")
    assert [row["so"] is (row["id"] == 7) for row in rows] == [True] * 100


@pytest.mark.parametrize("view", ["stations", "sites", "tokens", "tariffs"])
def test_views_of_the_registry_have_every_field(
    settings: ClickHouseSettings, client: ClickHouseClient, view: str
) -> None:
    """A view keeps the columns that its table had when it was made."""
    migrate(settings)
    table, shown = (
        [row["name"] for row in client.rows(f"DESCRIBE TABLE {name}")] for name in (f"registry_{view}", view)
    )
    assert shown == [name for name in table if not name.startswith("_")]
    assert "changed_by" in shown


def test_the_client_asks_for_the_compression_that_its_driver_can_read(client: ClickHouseClient) -> None:
    """Servers from 26.9 on have another default."""
    assert client.rows("SELECT getSetting('network_compression_method') AS method") == [{"method": "LZ4"}]
