-- The raw OCPP log, connections and dead letters.
--
-- One table per topic, one row per record of the log (a tombstone or an unreadable record has its row too), all
-- under the position columns that begin with an underscore. No PARTITION BY: an insert must be one part, so that
-- it is stored whole or not at all. A row that was stored twice (a process killed or fenced off in the middle of
-- an insert) has the same sorting key and disappears when parts are merged; `FINAL` hides it at once.

CREATE TABLE IF NOT EXISTS $database.ocpp_transactions $on_cluster
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
    connection_epoch Int64,
    edge_id LowCardinality(String),
    version LowCardinality(String),
    message_id String,
    action LowCardinality(String),
    payload Nullable(String) CODEC(ZSTD(1)),
    answer Nullable(String) CODEC(ZSTD(1)),
    error_code LowCardinality(Nullable(String)),
    error_description Nullable(String),
    error_details Nullable(String) CODEC(ZSTD(1)),
    quirks Array(LowCardinality(String)),
    pending Nullable(Bool),
    vendor LowCardinality(Nullable(String)),
    model LowCardinality(Nullable(String)),
    firmware LowCardinality(Nullable(String)),
    source LowCardinality(Nullable(String)),
    slot Nullable(Int32)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.ocpp_lifecycle $on_cluster
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
    connection_epoch Int64,
    edge_id LowCardinality(String),
    version LowCardinality(Nullable(String)),
    message_id Nullable(String),
    action LowCardinality(Nullable(String)),
    payload Nullable(String) CODEC(ZSTD(1)),
    answer Nullable(String) CODEC(ZSTD(1)),
    error_code LowCardinality(Nullable(String)),
    error_description Nullable(String),
    error_details Nullable(String) CODEC(ZSTD(1)),
    quirks Array(LowCardinality(String)),
    pending Nullable(Bool),
    vendor LowCardinality(Nullable(String)),
    model LowCardinality(Nullable(String)),
    firmware LowCardinality(Nullable(String)),
    slot Nullable(Int32),
    remote_address Nullable(String),
    registered Nullable(Bool),
    code Nullable(Int32),
    reason Nullable(String),
    opened_at Nullable(DateTime64(6, 'UTC')),
    security_profile Nullable(Int32),
    source LowCardinality(Nullable(String))
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.ocpp_commands $on_cluster
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
    connection_epoch Int64,
    edge_id LowCardinality(String),
    command_id String,
    version LowCardinality(Nullable(String)),
    message_id Nullable(String),
    action LowCardinality(Nullable(String)),
    payload Nullable(String) CODEC(ZSTD(1)),
    outcome LowCardinality(Nullable(String)),
    result Nullable(String) CODEC(ZSTD(1)),
    error_code LowCardinality(Nullable(String)),
    error_description Nullable(String),
    error_details Nullable(String) CODEC(ZSTD(1)),
    sent_at Nullable(DateTime64(6, 'UTC')),
    round_trip_us Nullable(Int64),
    slot Nullable(Int32),
    reason LowCardinality(Nullable(String)),
    detail Nullable(String)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.ocpp_rejected $on_cluster
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
    connection_epoch Nullable(Int64),
    edge_id LowCardinality(String),
    version LowCardinality(Nullable(String)),
    message_id Nullable(String),
    action LowCardinality(Nullable(String)),
    code LowCardinality(Nullable(String)),
    reason String,
    frame Nullable(String) CODEC(ZSTD(1)),
    frame_bytes Nullable(Int32),
    answered Nullable(Bool),
    remote_address Nullable(String),
    http_status Nullable(Int32),
    count Nullable(Int32),
    first_at Nullable(DateTime64(6, 'UTC'))
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.edge_connections $on_cluster
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
    edge_id LowCardinality(String),
    slot Int32,
    connection_epoch Int64,
    version LowCardinality(String),
    connected Bool
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.dead_letters $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    record_key String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    processor LowCardinality(String),
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64,
    error_type LowCardinality(String),
    error String,
    key Nullable(String),
    value Nullable(String) CODEC(ZSTD(1)),
    headers Nested
    (
        name String,
        value String
    )
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (_topic, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;
