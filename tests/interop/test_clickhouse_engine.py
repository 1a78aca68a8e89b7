"""Topics read by ClickHouse's own Kafka engine, with the statements of docs/consumers.md."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

from libs.clickhouse.client import ClickHouseClient
from libs.clickhouse.settings import ClickHouseSettings
from libs.devstack import Endpoints
from tests.interop.documented import statements
from tests.interop.growth import REMOVED
from tests.interop.programs import skip_unless_possible
from tests.interop.test_consumers import Log, log
from tests.patience import until

__all__ = ["log"]

# Its consumers are slow to join and to leave on a busy machine.
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.interop,
    skip_unless_possible("clickhouse"),
]

COLUMNS = {
    "billing.cdrs.latest": "event_id String, cdr_id String, version Int32, credited Bool, amount_minor Int64",
    "stations.latest": (
        "event_id String, station_id String, connected Bool, model String,"
        " connectors Array(Tuple(evse_id Int32, connector_id Int32, status String, error_code String,"
        " since DateTime64(6, 'UTC')))"
    ),
    "commands.outcomes": "event_id String, station_id String, fate String",
    "sessions.events": "event_id String, session_id String",
}


@pytest.fixture(scope="module")
def client(stack: Endpoints) -> Iterator[ClickHouseClient]:
    settings = ClickHouseSettings(
        clickhouse_host=stack.clickhouse_host,
        clickhouse_port=stack.clickhouse_port,
        clickhouse_database="default",
    )
    made = ClickHouseClient(settings)
    yield made
    made.close()


async def rows_of(client: ClickHouseClient, table: str, count: int, order: str) -> list[dict[str, Any]]:
    """The rows of `table` once there are `count`; the engine takes its tables in turn."""

    async def there() -> list[dict[str, Any]] | None:
        rows: list[dict[str, Any]] = await asyncio.to_thread(
            client.rows, f"SELECT * FROM {table} ORDER BY {order}"
        )
        return rows if len(rows) >= count else None

    found: list[dict[str, Any]] = await until(there, f"{count} rows of {table}")
    return found


async def read(client: ClickHouseClient, log: Log, topic: str, columns: str) -> list[dict[str, Any]]:
    """What the engine makes of every record of `topic`, in its order; `_error` says why it made nothing."""
    settings = log.rig.bus.settings
    table = f"kafka_{topic.replace('.', '_')}"
    client.execute(
        f"CREATE TABLE {table} ({columns}) ENGINE = Kafka SETTINGS kafka_broker_list = '{settings.kafka}',"
        f" kafka_topic_list = '{settings.topic(topic)}', kafka_group_name = '{settings.group(table)}',"
        " kafka_format = 'AvroConfluent', kafka_flush_interval_ms = 500, kafka_handle_error_mode = 'stream',"
        f" format_avro_schema_registry_url = '{settings.registry_url}'"
    )
    view = f"{table}_read"
    client.execute(
        # The engine may read records again.
        f"CREATE MATERIALIZED VIEW {view} ENGINE = ReplacingMergeTree ORDER BY _offset AS"
        f" SELECT *, _offset, _error FROM {table}"
    )
    try:
        records = [each for each in log.written[topic] if each.news != REMOVED]
        return await rows_of(client, f"{view} FINAL", len(records), "_offset")
    finally:
        client.execute(f"DROP TABLE {view}")
        client.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize("topic", ["billing.cdrs.latest", "stations.latest", "commands.outcomes"])
async def test_the_engine_reads_a_topic_of_one_kind_whatever_grows(
    client: ClickHouseClient, log: Log, topic: str
) -> None:
    rows = await read(client, log, topic, COLUMNS[topic])
    assert [row["_error"] for row in rows] == [""] * len(rows)
    # A tombstone makes no row: whoever is removed stays in a table that is filled so.
    wanted = [each.event_id for each in log.written[topic] if each.news != REMOVED]
    assert [row["event_id"] for row in rows] == wanted


async def test_the_engine_refuses_a_topic_of_several_kinds(client: ClickHouseClient, log: Log) -> None:
    rows = await read(client, log, "sessions.events", COLUMNS["sessions.events"])
    assert {row["_error"] for row in rows} == {"Root schema must be a record"}


async def test_the_statements_of_the_guide_make_a_table_of_the_latest_sessions(
    client: ClickHouseClient, log: Log
) -> None:
    documented = statements("ClickHouse's Kafka engine", log.rig.bus.settings)
    tables = [found for each in documented for found in re.findall(r"CREATE \w+(?: VIEW)? (\w+)", each)]
    try:
        for statement in documented:
            client.execute(statement)
        # The example and the grown record are of one session, of which the last counts.
        last = log.written["sessions.latest"][-1].event_id
        await rows_of(client, f"my_sessions WHERE event_id = '{last}'", 1, "session_id")
        (row,) = await rows_of(client, "my_sessions FINAL", 1, "session_id")
        assert (row["event_id"], row["running"], row["energy_wh"], row["currency"]) == (
            last,
            False,
            11_000,
            "EUR",
        )
    finally:
        for table in reversed(tables):
            client.execute(f"DROP TABLE IF EXISTS {table}")
