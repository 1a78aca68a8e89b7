-- Load management and firmware campaigns. 0001 says what all these tables have in common.

CREATE TABLE IF NOT EXISTS $database.load_observations $on_cluster
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
    station_id String,
    evse_id Int32,
    transaction_id Nullable(String),
    charging Bool,
    current_ma Nullable(Int64),
    max_current_ma Int64,
    phases Int32,
    reopened Bool
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (site_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.load_plans $on_cluster
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
    plan_no Int64,
    limit_ma Nullable(Int64),
    allocations Nested
    (
        station_id String,
        evse_id Int32,
        transaction_id String,
        current_ma Int64
    ),
    waiting Int32
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (site_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.firmware_campaigns $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    campaign_id String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    name String,
    target_version LowCardinality(String),
    location LowCardinality(Nullable(String)),
    stations Array(String),
    requested_by LowCardinality(Nullable(String)),
    deadline Nullable(DateTime64(6, 'UTC')),
    total Nullable(Int32),
    pending Nullable(Int32),
    installed Nullable(Int32),
    failed Nullable(Int32),
    finished Nullable(Bool)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (campaign_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.firmware_progress $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    campaign_id String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    station_id String,
    status LowCardinality(String),
    detail String,
    firmware_version LowCardinality(String)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (campaign_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.firmware_tasks $on_cluster
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
    campaign_id String,
    target_version LowCardinality(String),
    location LowCardinality(String),
    deadline DateTime64(6, 'UTC')
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;
