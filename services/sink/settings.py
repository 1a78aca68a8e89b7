"""Settings of the sink."""

from pydantic import Field

from libs.bus.settings import BusSettings
from libs.clickhouse.settings import ClickHouseSettings
from libs.runtime.settings import ServiceSettings


class SinkSettings(ServiceSettings, BusSettings, ClickHouseSettings):
    """A table's rows are inserted when `sink_flush_rows` or `sink_flush_bytes` have come, or `sink_settle_ms` after
    the first of them, but never sooner than `sink_interval_ms` after the last insert: news of a quiet table is seen at
    once, and a busy one costs an insert per interval.
    """

    sink_flush_rows: int = Field(default=20_000, ge=1, le=500_000, description="Rows that trigger an insert.")
    sink_flush_bytes: int = Field(
        default=4 << 20,
        ge=1 << 16,
        description="Bytes of records that trigger an insert; decoded they take several times as much.",
    )
    sink_interval_ms: int = Field(
        default=2000, ge=0, description="Least time between inserts into one table."
    )
    sink_settle_ms: int = Field(
        default=50, ge=0, description="How long the first row of an insert waits for others."
    )
    sink_buffer_bytes: int = Field(
        default=128 << 20, ge=1 << 20, description="Records held in memory before reading pauses."
    )
    sink_threads: int = Field(
        default=2, ge=1, description="Threads that decode and insert, each with a connection."
    )
