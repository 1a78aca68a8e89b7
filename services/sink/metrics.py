"""Every metric of the sink, declared once."""

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter("voltbus_sink_rows", "Rows inserted.", ["table"])
INSERT_SECONDS = Histogram(
    "voltbus_sink_insert_seconds", "Inserting one block, its feed included.", ["table"]
)
BLOCK_ROWS = Histogram(
    "voltbus_sink_block_rows", "Rows of an inserted block.", buckets=(1, 10, 100, 1000, 10_000, 100_000)
)
INSERT_FAILURES = Counter("voltbus_sink_insert_failures", "Failed attempts to insert a block.", ["table"])
BUFFERED_ROWS = Gauge("voltbus_sink_buffered_rows", "Rows read and not yet inserted.", ["table"])
LAG = Gauge("voltbus_sink_lag_records", "Records of a topic that are not in ClickHouse yet.", ["topic"])
LAST_INSERT = Gauge("voltbus_sink_last_insert_timestamp_seconds", "When rows were last inserted.", ["table"])
LAST_INSERT_AGE = Gauge("voltbus_sink_last_insert_age_seconds", "Since rows were last inserted anywhere.")
UNREADABLE = Counter("voltbus_sink_unreadable_records", "Records that could not be decoded.", ["topic"])
