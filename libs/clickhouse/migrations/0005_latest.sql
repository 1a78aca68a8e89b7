-- Tables of latest states, kept up to date by materialised views.
--
-- The views hang on feeds (engine Null), not on the tables: the sink writes every block to the feed first and to
-- the table last, so that a row in the table has reached everything derived from it, whatever was killed in
-- between. A block may therefore pass the feed more than once: each table here gives the same result however
-- often it sees a row. To fill a new one, or one that was truncated: INSERT INTO x_feed SELECT * FROM x FINAL.

CREATE TABLE IF NOT EXISTS $database.sessions_events_feed $on_cluster
AS $database.sessions_events ENGINE = Null;

CREATE TABLE IF NOT EXISTS $database.billing_cdrs_feed $on_cluster
AS $database.billing_cdrs ENGINE = Null;

CREATE TABLE IF NOT EXISTS $database.telemetry_health_feed $on_cluster
AS $database.telemetry_health ENGINE = Null;

CREATE TABLE IF NOT EXISTS $database.commands_requested_feed $on_cluster
AS $database.commands_requested ENGINE = Null;

CREATE TABLE IF NOT EXISTS $database.commands_outcomes_feed $on_cluster
AS $database.commands_outcomes ENGINE = Null;

-- One row per session. `latest`: by the event of the highest rank; `opening`: by the highest that knows the start.
CREATE TABLE IF NOT EXISTS $database.sessions_latest $on_cluster
(
    station_id String,
    session_id String,
    ocpp_version SimpleAggregateFunction(max, String),
    updated_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    opening AggregateFunction(argMax, Tuple(
        started_at DateTime64(6, 'UTC'), meter_start_wh Nullable(Int64)), UInt64),
    latest AggregateFunction(argMax, Tuple(
        status String, evse_id Int32, transaction_id String, site_id Nullable(String), id_token Nullable(String),
        energy_wh Int64, meter_wh Nullable(Int64), charging_state Nullable(String),
        ended_at Nullable(DateTime64(6, 'UTC')), meter_stop_wh Nullable(Int64), reason String,
        review Array(String), correction Int32), UInt64),
    INDEX by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ${replicated}AggregatingMergeTree
ORDER BY (station_id, session_id)
SETTINGS index_granularity = 1024;

-- Rank: kind of event, number of the correction, offset. A station's events share a partition.
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.sessions_latest_mv $on_cluster
TO $database.sessions_latest AS
WITH
    transform(_type, ['SessionStarted', 'SessionUpdated', 'SessionEnded', 'SessionCorrected'], [0, 1, 2, 3], 0)
        AS kind,
    bitShiftLeft(toUInt64(kind), 60) + bitShiftLeft(toUInt64(ifNull(correction, 0)), 44) + toUInt64(_offset)
        AS rank
SELECT
    station_id,
    session_id,
    max(ifNull(sessions_events_feed.ocpp_version, '')) AS ocpp_version,
    max(recorded_at) AS updated_at,
    argMaxStateIf(
        CAST((ifNull(started_at, toDateTime64(0, 6, 'UTC')), meter_start_wh),
            'Tuple(started_at DateTime64(6, \'UTC\'), meter_start_wh Nullable(Int64))'),
        rank, isNotNull(started_at)) AS opening,
    argMaxState(
        CAST((if(kind < 2, 'running', 'ended'), evse_id, transaction_id, site_id, id_token,
            ifNull(energy_wh, 0), meter_wh, charging_state, ended_at, meter_stop_wh, ifNull(reason, ''),
            review, ifNull(correction, 0)),
            'Tuple(status String, evse_id Int32, transaction_id String, site_id Nullable(String),
                id_token Nullable(String), energy_wh Int64, meter_wh Nullable(Int64),
                charging_state Nullable(String), ended_at Nullable(DateTime64(6, \'UTC\')),
                meter_stop_wh Nullable(Int64), reason String, review Array(String), correction Int32)'),
        rank) AS latest
FROM $database.sessions_events_feed
WHERE session_id != ''
GROUP BY station_id, session_id;

-- Sessions in the order of their starts, to find the newest of a million without reading them all.
CREATE TABLE IF NOT EXISTS $database.sessions_by_start $on_cluster
(
    started_at DateTime64(6, 'UTC'),
    station_id String,
    session_id String
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (started_at, station_id, session_id);

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.sessions_by_start_mv $on_cluster
TO $database.sessions_by_start AS
SELECT DISTINCT assumeNotNull(started_at) AS started_at, station_id, session_id
FROM $database.sessions_events_feed
WHERE session_id != '' AND isNotNull(started_at);

-- The latest version of every charge record.
CREATE TABLE IF NOT EXISTS $database.cdrs_latest $on_cluster
(
    station_id String,
    session_id String,
    cdr_id String,
    version Int32,
    version_order UInt64,
    issued_at DateTime64(6, 'UTC'),
    evse_id Int32,
    transaction_id String,
    site_id Nullable(String),
    id_token Nullable(String),
    started_at DateTime64(6, 'UTC'),
    ended_at DateTime64(6, 'UTC'),
    meter_start_wh Nullable(Int64),
    meter_stop_wh Nullable(Int64),
    energy_wh Int64,
    reason LowCardinality(String),
    review Array(LowCardinality(String)),
    tariff_id LowCardinality(Nullable(String)),
    tariff_version Nullable(Int32),
    currency LowCardinality(Nullable(String)),
    amount_minor Int64,
    lines Nested
    (
        kind LowCardinality(String),
        quantity Int64,
        unit LowCardinality(String),
        price_milli Int64,
        amount_minor Int64
    ),
    INDEX by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_cdr cdr_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ${replicated}ReplacingMergeTree(version_order)
ORDER BY (station_id, session_id, cdr_id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.cdrs_latest_mv $on_cluster
TO $database.cdrs_latest AS
SELECT
    station_id, session_id, cdr_id, version,
    bitShiftLeft(toUInt64(version), 44) + toUInt64(_offset) AS version_order,
    recorded_at AS issued_at,
    evse_id, transaction_id, site_id, id_token, started_at, ended_at, meter_start_wh, meter_stop_wh, energy_wh,
    reason, review, tariff_id, tariff_version, currency, amount_minor,
    lines.kind, lines.quantity, lines.unit, lines.price_milli, lines.amount_minor
FROM $database.billing_cdrs_feed
WHERE cdr_id != '';

CREATE TABLE IF NOT EXISTS $database.cdrs_by_end $on_cluster
(
    ended_at DateTime64(6, 'UTC'),
    station_id String,
    session_id String,
    cdr_id String
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (ended_at, station_id, session_id, cdr_id);

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.cdrs_by_end_mv $on_cluster
TO $database.cdrs_by_end AS
SELECT ended_at, station_id, session_id, cdr_id FROM $database.billing_cdrs_feed WHERE cdr_id != '';

CREATE TABLE IF NOT EXISTS $database.station_state_latest $on_cluster
(
    station_id String,
    _offset UInt64,
    connected Bool,
    version LowCardinality(String),
    vendor LowCardinality(String),
    model LowCardinality(String),
    serial String,
    firmware_version LowCardinality(String),
    connectors Nested
    (
        evse_id Int32,
        connector_id Int32,
        status LowCardinality(String),
        error_code LowCardinality(String),
        since DateTime64(6, 'UTC')
    ),
    last_boot_at Nullable(DateTime64(6, 'UTC')),
    changed_at DateTime64(6, 'UTC')
)
ENGINE = ${replicated}ReplacingMergeTree(_offset)
ORDER BY station_id
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.station_state_latest_mv $on_cluster
TO $database.station_state_latest AS
SELECT
    station_id,
    toUInt64(telemetry_health_feed._offset) AS _offset,
    ifNull(telemetry_health_feed.connected, false) AS connected,
    ifNull(telemetry_health_feed.version, '') AS version,
    ifNull(telemetry_health_feed.vendor, '') AS vendor,
    ifNull(telemetry_health_feed.model, '') AS model,
    ifNull(telemetry_health_feed.serial, '') AS serial,
    ifNull(telemetry_health_feed.firmware_version, '') AS firmware_version,
    connectors.evse_id, connectors.connector_id, connectors.status, connectors.error_code, connectors.since,
    last_boot_at,
    recorded_at AS changed_at
FROM $database.telemetry_health_feed
WHERE _type = 'StationStateChanged';

-- One row per command. The first request of an id counts, as for the ledger, and its one fate.
CREATE TABLE IF NOT EXISTS $database.commands_latest $on_cluster
(
    station_id String,
    command_id String,
    action SimpleAggregateFunction(max, String),
    dialect SimpleAggregateFunction(max, String),
    requested_by SimpleAggregateFunction(max, String),
    requested_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    request AggregateFunction(argMin, Tuple(
        payload String, expires_at Nullable(DateTime64(6, 'UTC'))), Int64),
    fate AggregateFunction(argMax, Tuple(
        fate Nullable(String), reason String, result Nullable(String), error_code Nullable(String),
        error_description Nullable(String), attempts Int32,
        concluded_at Nullable(DateTime64(6, 'UTC'))), Int64),
    INDEX by_command command_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ${replicated}AggregatingMergeTree
ORDER BY (station_id, command_id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.commands_latest_requests_mv $on_cluster
TO $database.commands_latest AS
SELECT
    station_id,
    event_id AS command_id,
    max(commands_requested_feed.action) AS action,
    max(commands_requested_feed.dialect) AS dialect,
    max(commands_requested_feed.requested_by) AS requested_by,
    min(recorded_at) AS requested_at,
    argMinState(
        CAST((payload, expires_at), 'Tuple(payload String, expires_at Nullable(DateTime64(6, \'UTC\')))'),
        _offset) AS request
FROM $database.commands_requested_feed
WHERE event_id != ''
GROUP BY station_id, command_id;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.commands_latest_outcomes_mv $on_cluster
TO $database.commands_latest AS
SELECT
    station_id,
    command_id,
    max(commands_outcomes_feed.action) AS action,
    max(commands_outcomes_feed.dialect) AS dialect,
    max(commands_outcomes_feed.requested_by) AS requested_by,
    min(commands_outcomes_feed.requested_at) AS requested_at,
    argMaxState(
        CAST((fate, reason, result, error_code, error_description, attempts, recorded_at),
            'Tuple(fate Nullable(String), reason String, result Nullable(String), error_code Nullable(String),
                error_description Nullable(String), attempts Int32,
                concluded_at Nullable(DateTime64(6, \'UTC\')))'),
        _offset) AS fate
FROM $database.commands_outcomes_feed
WHERE command_id != ''
GROUP BY station_id, command_id;
