-- Capabilities of stations. 0001 says what all these tables have in common.

CREATE TABLE IF NOT EXISTS $database.stations_capabilities $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    station_id String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    version LowCardinality(String),
    vendor LowCardinality(String),
    model LowCardinality(String),
    firmware LowCardinality(String),
    serial_number String,
    features Array(LowCardinality(String)),
    lacking Array(LowCardinality(String)),
    variables Nested
    (
        name String,
        value String
    )
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;
