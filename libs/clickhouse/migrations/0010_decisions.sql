-- What operators decided about sessions in review. 0001 says what all these tables have in common.

CREATE TABLE IF NOT EXISTS $database.billing_decisions $on_cluster
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
    session_id String,
    decision LowCardinality(Nullable(String)),
    billed_wh Nullable(Int64),
    version Nullable(Int32),
    evidence Nullable(String),
    corrected Nullable(Bool),
    reason String,
    decided_by String
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.billing_decided $on_cluster
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
    session_id String,
    decision_id String,
    applied Bool,
    detail LowCardinality(String),
    version Int32
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;
