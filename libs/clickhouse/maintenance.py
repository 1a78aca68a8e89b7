"""What an operator does to the tables: forget a topic, fill derived tables again."""

from libs.clickhouse.client import ClickHouseClient, ClickHouseError
from libs.clickhouse.table_mapping import DEAD_LETTERS_TABLE, DERIVED, layouts, table_name
from libs.events.contract import load_contract


def forget_topic(client: ClickHouseClient, topic: str) -> None:
    """Remove every row of `topic`, for a topic that was deleted from Kafka and made anew; stop the sinks before.

    Tables derived from it are emptied, and filled again from the other topics that they are derived from.
    Raises ClickHouseError for a topic that the contract does not have.
    """
    table = table_name(topic)
    if all(topic not in layout.topics for layout in layouts(load_contract()).values()):
        raise ClickHouseError(f"{topic} is not a topic of the contract")
    if table == DEAD_LETTERS_TABLE:
        client.execute(f"ALTER TABLE {table} DELETE WHERE _topic = '{topic}' SETTINGS mutations_sync = 2")
        return
    client.execute(f"TRUNCATE TABLE {table}")
    rebuild(client, DERIVED.get(table, ()))


def rebuild(client: ClickHouseClient, derived: tuple[str, ...]) -> None:
    """Empty derived tables and fill them from the tables of the log; stop the sinks before."""
    for name in derived:
        client.execute(f"TRUNCATE TABLE {name}")
    for source, fed in DERIVED.items():
        if set(fed) & set(derived):
            client.execute(f"INSERT INTO {source}_feed SELECT * FROM {source} FINAL")  # noqa: S608
