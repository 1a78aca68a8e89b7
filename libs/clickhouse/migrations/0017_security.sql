-- Who changed the registry, what a connection proved, and what operators ought to look at.

ALTER TABLE $database.registry_stations $on_cluster ADD COLUMN IF NOT EXISTS profile_exempt Bool;
ALTER TABLE $database.registry_stations $on_cluster ADD COLUMN IF NOT EXISTS changed_by LowCardinality(String);
ALTER TABLE $database.registry_sites $on_cluster ADD COLUMN IF NOT EXISTS changed_by LowCardinality(String);
ALTER TABLE $database.registry_tokens $on_cluster ADD COLUMN IF NOT EXISTS changed_by LowCardinality(String);
ALTER TABLE $database.registry_tariffs $on_cluster ADD COLUMN IF NOT EXISTS changed_by LowCardinality(String);
ALTER TABLE $database.edge_connections $on_cluster ADD COLUMN IF NOT EXISTS security_profile Int32;
ALTER TABLE $database.edge_connections $on_cluster ADD COLUMN IF NOT EXISTS remote_address String;

CREATE TABLE IF NOT EXISTS $database.security_alerts $on_cluster
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
    kind LowCardinality(String),
    detail String,
    event_type LowCardinality(String),
    tech_info Nullable(String),
    remote_address String,
    former_address String,
    count Int32,
    requested_by LowCardinality(String)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

-- Each alert once, also if it was derived again.
CREATE VIEW IF NOT EXISTS $database.security_events $on_cluster AS
SELECT event_id AS alert_id, station_id, kind, detail, event_type, tech_info, remote_address, former_address, count,
    requested_by, occurred_at, recorded_at, cause_id
FROM $database.security_alerts
WHERE _type = 'SecurityAlertRaised'
ORDER BY recorded_at, _offset
LIMIT 1 BY event_id;

-- Who changed what in the registry, and when; passwords of stations are not stored here. An entry's end names nobody: the row
-- before it, of the same moment, says who removed it.
CREATE VIEW IF NOT EXISTS $database.registry_changes $on_cluster AS
SELECT kind, id, if(removed, toDateTime64(written_at, 6, 'UTC'), recorded_at) AS changed_at, changed_by, removed, event_id, position
FROM
(
    SELECT 'station' AS kind, _key AS id, recorded_at, _timestamp AS written_at, changed_by, _deleted AS removed, event_id,
        _offset AS position
    FROM $database.registry_stations FINAL
    UNION ALL
    SELECT 'site' AS kind, _key AS id, recorded_at, _timestamp AS written_at, changed_by, _deleted AS removed, event_id,
        _offset AS position
    FROM $database.registry_sites FINAL
    UNION ALL
    SELECT 'token' AS kind, _key AS id, recorded_at, _timestamp AS written_at, changed_by, _deleted AS removed, event_id,
        _offset AS position
    FROM $database.registry_tokens FINAL
    UNION ALL
    SELECT 'tariff' AS kind, _key AS id, recorded_at, _timestamp AS written_at, changed_by, _deleted AS removed, event_id,
        _offset AS position
    FROM $database.registry_tariffs FINAL
);
