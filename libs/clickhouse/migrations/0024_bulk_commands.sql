-- Bulk commands: one command to each of many stations. 0001 says what all these tables have in common.

ALTER TABLE $database.commands_requested $on_cluster ADD COLUMN IF NOT EXISTS bulk_id Nullable(String);
ALTER TABLE $database.commands_requested_feed $on_cluster ADD COLUMN IF NOT EXISTS bulk_id Nullable(String);

CREATE TABLE IF NOT EXISTS $database.commands_bulk $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    bulk_id String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    requested_by LowCardinality(String),
    reason String,
    selection Nullable(String),
    messages Nested
    (
        action LowCardinality(String),
        payload String,
        dialect LowCardinality(String),
        version LowCardinality(String)
    ),
    stations Nested
    (
        station_id String,
        message Int32,
        skipped Int32
    ),
    skip_reasons Array(String),
    concurrency Nullable(Int32),
    stop_at_percent Nullable(Int32),
    stop_after Nullable(Int32),
    ttl_ms Nullable(Int32),
    call_timeout_ms Nullable(Int32),
    action LowCardinality(Nullable(String)),
    skipped Array(Int32)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (bulk_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.commands_bulk_stations $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    bulk_id String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    station_id String,
    status LowCardinality(String),
    command_id Nullable(String),
    reason String
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (bulk_id, station_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.commands_bulk_progress $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    bulk_id String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    status LowCardinality(String),
    reason String,
    round Int32,
    total Int32,
    waiting Int32,
    sent Int32,
    accepted Int32,
    rejected Int32,
    failed Int32,
    timed_out Int32,
    skipped Int32
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (bulk_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

-- One row per bulk command: the first request of an id, as the processor takes it, and its newest counts.
CREATE OR REPLACE VIEW $database.bulk_commands $on_cluster AS
SELECT
    r.bulk_id AS bulk_id, r.requested_by AS requested_by, r.recorded_at AS requested_at, r.reason AS reason,
    r.selection AS selection, r.messages.action AS actions, r.concurrency AS concurrency,
    ifNull(p.status, 'RUNNING') AS status, ifNull(p.stopped, '') AS stopped_because, ifNull(p.round, 1) AS round,
    toInt32(length(r.stations.station_id)) AS total, p.waiting AS waiting, p.sent AS sent, p.accepted AS accepted,
    p.rejected AS rejected, p.failed AS failed, p.timed_out AS timed_out, p.skipped AS skipped,
    ifNull(p.updated_at, r.recorded_at) AS updated_at
FROM (SELECT * FROM $database.commands_bulk WHERE _type = 'RequestBulkCommand'
      ORDER BY _offset LIMIT 1 BY bulk_id) AS r
LEFT JOIN (SELECT bulk_id, toNullable(CAST(status, 'String')) AS status, toNullable(reason) AS stopped,
                  toNullable(round) AS round, toNullable(waiting) AS waiting, toNullable(sent) AS sent,
                  toNullable(accepted) AS accepted, toNullable(rejected) AS rejected, toNullable(failed) AS failed,
                  toNullable(timed_out) AS timed_out, toNullable(skipped) AS skipped,
                  toNullable(recorded_at) AS updated_at
           FROM $database.commands_bulk_progress WHERE _type = 'BulkCommandProgressed'
           ORDER BY _offset DESC LIMIT 1 BY bulk_id) AS p ON p.bulk_id = r.bulk_id;

-- One row per station of a bulk command of which something was told: its newest status.
CREATE OR REPLACE VIEW $database.bulk_command_stations $on_cluster AS
SELECT bulk_id, station_id, status, command_id, reason, recorded_at AS updated_at
FROM $database.commands_bulk_stations
WHERE _type = 'BulkStationProgressed'
ORDER BY _offset DESC LIMIT 1 BY bulk_id, station_id;
