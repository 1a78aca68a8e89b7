-- The command ledger and what operators configured. 0001 says what all these tables have in common.

CREATE TABLE IF NOT EXISTS $database.commands_requested $on_cluster
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
    action LowCardinality(String),
    payload String CODEC(ZSTD(1)),
    dialect LowCardinality(String),
    requested_by LowCardinality(String),
    expires_at DateTime64(6, 'UTC'),
    call_timeout_ms Int32,
    replaces Nullable(String)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.commands_dispatch $on_cluster
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
    command_id Nullable(String),
    slot Int32,
    connection_epoch Int64,
    attempt Nullable(Int32),
    action LowCardinality(String),
    payload Nullable(String) CODEC(ZSTD(1)),
    send_by Nullable(DateTime64(6, 'UTC')),
    call_timeout_ms Nullable(Int32),
    message_id Nullable(String),
    answer Nullable(String) CODEC(ZSTD(1)),
    error_code LowCardinality(Nullable(String)),
    error_description Nullable(String),
    error_details Nullable(String) CODEC(ZSTD(1))
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.commands_outcomes $on_cluster
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
    command_id String,
    action LowCardinality(String),
    dialect LowCardinality(String),
    fate LowCardinality(String),
    reason String,
    result Nullable(String) CODEC(ZSTD(1)),
    error_code LowCardinality(Nullable(String)),
    error_description Nullable(String),
    error_details Nullable(String) CODEC(ZSTD(1)),
    requested_at DateTime64(6, 'UTC'),
    requested_by LowCardinality(String),
    attempts Int32,
    degraded LowCardinality(Nullable(String))
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.registry_stations $on_cluster
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
    name String,
    sites Nested
    (
        id String,
        valid_from DateTime64(6, 'UTC')
    ),
    boot_status LowCardinality(String),
    heartbeat_interval_s Int32,
    evses Int32,
    max_current_ma Int32,
    phases Int32,
    timezone LowCardinality(Nullable(String)),
    allow_no_subprotocol Bool,
    security_profile Int32,
    certificate_name Nullable(String),
    certification Bool,
    power_ratings Nested
    (
        power_w Int32,
        valid_from DateTime64(6, 'UTC')
    )
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.registry_sites $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    site_id String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    name String,
    timezone LowCardinality(String),
    limit_ma Nullable(Int64),
    tariffs Nested
    (
        id String,
        valid_from DateTime64(6, 'UTC')
    ),
    latitude Nullable(Float64),
    longitude Nullable(Float64)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (site_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.registry_tokens $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    id_token String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    type LowCardinality(String),
    status LowCardinality(String),
    valid_until Nullable(DateTime64(6, 'UTC')),
    group_id Nullable(String),
    driver String,
    groups Nested
    (
        group_id Nullable(String),
        valid_from DateTime64(6, 'UTC')
    )
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (id_token, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.registry_tariffs $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    tariff_id LowCardinality(String),
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    name String,
    versions Nested
    (
        version Int32,
        valid_from DateTime64(6, 'UTC'),
        currency LowCardinality(String),
        price_per_kwh_milli Int64,
        terms String
    )
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (tariff_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;
