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

-- One row per session. What never changes is the maximum of its equal values; of what changes, the value of the
-- event with the highest rank counts that has one. Columns of their own: a query reads only those that it names.
--
-- `stage`: how often the session has ended and been reopened. Odd: it is under way (1: for the first time); even: it has
-- ended (2: SessionEnded, 4: the version 2 of its end, and so on).
CREATE TABLE IF NOT EXISTS $database.sessions_latest $on_cluster
(
    station_id String,
    session_id String,
    stage SimpleAggregateFunction(max, UInt32),
    evse_id SimpleAggregateFunction(max, Int32),
    transaction_id SimpleAggregateFunction(max, String),
    site_id SimpleAggregateFunction(max, Nullable(String)),
    ocpp_version SimpleAggregateFunction(max, Nullable(String)),
    correction SimpleAggregateFunction(max, Int32),
    updated_at SimpleAggregateFunction(max, DateTime64(6, 'UTC')),
    started_at AggregateFunction(argMax, Nullable(DateTime64(6, 'UTC')), UInt64),
    ended_at AggregateFunction(argMax, Nullable(DateTime64(6, 'UTC')), UInt64),
    id_token AggregateFunction(argMax, Nullable(String), UInt64),
    energy_wh AggregateFunction(argMax, Nullable(Int64), UInt64),
    meter_start_wh AggregateFunction(argMax, Nullable(Int64), UInt64),
    meter_wh AggregateFunction(argMax, Nullable(Int64), UInt64),
    meter_stop_wh AggregateFunction(argMax, Nullable(Int64), UInt64),
    charging_state AggregateFunction(argMax, Nullable(String), UInt64),
    reason AggregateFunction(argMax, Nullable(String), UInt64),
    review AggregateFunction(argMax, Array(String), UInt64),
    decision_id AggregateFunction(argMax, Nullable(String), UInt64),
    INDEX by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ${replicated}AggregatingMergeTree
ORDER BY (station_id, session_id)
SETTINGS index_granularity = 1024;

-- Rank: stage that the event tells of, the start below all others, then the offset. A station's events share a partition.
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.sessions_latest_mv $on_cluster
TO $database.sessions_latest AS
WITH
    multiIf(
        e._type = 'SessionStarted', 0,
        e._type = 'SessionEnded', 2,
        e._type = 'SessionCorrected', 2 * ifNull(e.correction, 1),
        2 * ifNull(e.revision, 0) + 1
    ) AS of_stage,
    bitShiftLeft(toUInt64(of_stage), 44) + toUInt64(e._offset) AS rank
SELECT
    e.station_id AS station_id,
    e.session_id AS session_id,
    max(toUInt32(greatest(of_stage, 1))) AS stage,
    max(e.evse_id) AS evse_id,
    max(e.transaction_id) AS transaction_id,
    max(e.site_id) AS site_id,
    max(CAST(e.ocpp_version, 'Nullable(String)')) AS ocpp_version,
    max(ifNull(e.correction, 0)) AS correction,
    max(e.recorded_at) AS updated_at,
    argMaxState(e.started_at, rank) AS started_at,
    argMaxState(e.ended_at, rank) AS ended_at,
    argMaxState(e.id_token, rank) AS id_token,
    argMaxState(e.energy_wh, rank) AS energy_wh,
    argMaxState(e.meter_start_wh, rank) AS meter_start_wh,
    argMaxState(e.meter_wh, rank) AS meter_wh,
    argMaxState(e.meter_stop_wh, rank) AS meter_stop_wh,
    argMaxState(CAST(e.charging_state, 'Nullable(String)'), rank) AS charging_state,
    argMaxState(CAST(e.reason, 'Nullable(String)'), rank) AS reason,
    argMaxState(CAST(e.review, 'Array(String)'), rank) AS review,
    argMaxState(e.decision_id, rank) AS decision_id
FROM $database.sessions_events_feed AS e
WHERE e.session_id != ''
GROUP BY station_id, session_id;

-- Sessions in the order of their starts, with what lists are filtered by: finds the newest of a million, or the few
-- with a certain token, without reading them all. A row says what the events with that start know: every token that
-- one of them named, as a correction may name another. A session whose start was corrected has several rows, and a
-- token that a running session got after its start is in none yet, but among the late tokens. Tokens are in lower case
-- in tables that lists are filtered by: case does not count.
CREATE TABLE IF NOT EXISTS $database.sessions_by_start $on_cluster
(
    started_at DateTime64(6, 'UTC'),
    station_id String,
    session_id String,
    site_id SimpleAggregateFunction(max, String),
    id_tokens SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    stage SimpleAggregateFunction(max, UInt32),
    INDEX by_site site_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_token id_tokens TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_stage modulo(stage, 2) TYPE minmax GRANULARITY 1
)
ENGINE = ${replicated}AggregatingMergeTree
ORDER BY (started_at, station_id, session_id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.sessions_by_start_mv $on_cluster
TO $database.sessions_by_start AS
SELECT
    assumeNotNull(e.started_at) AS started_at,
    e.station_id AS station_id,
    e.session_id AS session_id,
    max(ifNull(e.site_id, '')) AS site_id,
    groupUniqArrayIf(lowerUTF8(assumeNotNull(e.id_token)), isNotNull(e.id_token)) AS id_tokens,
    max(toUInt32(multiIf(
        e._type = 'SessionEnded', 2,
        e._type = 'SessionCorrected', 2 * ifNull(e.correction, 1),
        2 * ifNull(e.revision, 0) + 1
    ))) AS stage
FROM $database.sessions_events_feed AS e
WHERE e.session_id != '' AND isNotNull(e.started_at)
GROUP BY started_at, station_id, session_id;

-- Tokens that updates named: updates say no start. The end names the last one again.
CREATE TABLE IF NOT EXISTS $database.sessions_late_tokens $on_cluster
(
    id_token String,
    station_id String,
    session_id String
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (id_token, station_id, session_id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.sessions_late_tokens_mv $on_cluster
TO $database.sessions_late_tokens AS
SELECT DISTINCT lowerUTF8(assumeNotNull(e.id_token)) AS id_token, e.station_id AS station_id, e.session_id AS session_id
FROM $database.sessions_events_feed AS e
WHERE e.session_id != '' AND isNull(e.started_at) AND isNotNull(e.id_token);

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
    billed_wh Int64,
    review_wh Int64,
    written_off_wh Int64,
    exported_wh Int64,
    reason LowCardinality(String),
    review Array(LowCardinality(String)),
    decision_id Nullable(String),
    decided_by Nullable(String),
    token_refusal LowCardinality(String),
    charging_s Int32,
    suspended_s Int32,
    idle_s Int32,
    timezone LowCardinality(Nullable(String)),
    group_id LowCardinality(Nullable(String)),
    prepaid_wh Int64,
    tariff_id LowCardinality(Nullable(String)),
    tariff_version Nullable(Int32),
    currency LowCardinality(Nullable(String)),
    amount_minor Int64,
    net_minor Int64,
    tax_minor Int64,
    hash String,
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
    billed_wh, review_wh, written_off_wh, exported_wh, reason, review, decision_id, decided_by, token_refusal,
    charging_s, suspended_s, idle_s, timezone, group_id, prepaid_wh, tariff_id, tariff_version, currency,
    amount_minor, net_minor, tax_minor, hash,
    lines.kind, lines.quantity, lines.unit, lines.price_milli, lines.amount_minor
FROM $database.billing_cdrs_feed
WHERE cdr_id != '' AND _type = 'CdrIssued';

-- Charge records in the order of their ends, with what lists are filtered by.
CREATE TABLE IF NOT EXISTS $database.cdrs_by_end $on_cluster
(
    ended_at DateTime64(6, 'UTC'),
    station_id String,
    session_id String,
    cdr_id String,
    version_order UInt64,
    site_id String,
    id_token String,
    tariff_id String,
    INDEX by_site site_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_token id_token TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_tariff tariff_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${replicated}ReplacingMergeTree(version_order)
ORDER BY (ended_at, station_id, session_id, cdr_id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.cdrs_by_end_mv $on_cluster
TO $database.cdrs_by_end AS
SELECT
    e.ended_at AS ended_at, e.station_id AS station_id, e.session_id AS session_id, e.cdr_id AS cdr_id,
    bitShiftLeft(toUInt64(e.version), 44) + toUInt64(e._offset) AS version_order,
    ifNull(e.site_id, '') AS site_id, lowerUTF8(ifNull(e.id_token, '')) AS id_token,
    ifNull(e.tariff_id, '') AS tariff_id
FROM $database.billing_cdrs_feed AS e
WHERE e.cdr_id != '' AND e._type = 'CdrIssued';

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

-- One row per command. The first request of an id counts, as for the ledger; there is one fate.
CREATE TABLE IF NOT EXISTS $database.commands_latest $on_cluster
(
    station_id String,
    command_id String,
    action SimpleAggregateFunction(max, String),
    dialect SimpleAggregateFunction(max, String),
    requested_by SimpleAggregateFunction(max, String),
    requested_at SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    payload AggregateFunction(argMin, String, Int64),
    expires_at AggregateFunction(argMin, DateTime64(6, 'UTC'), Int64),
    fate SimpleAggregateFunction(max, Nullable(String)),
    reason SimpleAggregateFunction(max, String),
    result SimpleAggregateFunction(max, Nullable(String)),
    error_code SimpleAggregateFunction(max, Nullable(String)),
    error_description SimpleAggregateFunction(max, Nullable(String)),
    attempts SimpleAggregateFunction(max, Int32),
    concluded_at SimpleAggregateFunction(max, Nullable(DateTime64(6, 'UTC'))),
    INDEX by_command command_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ${replicated}AggregatingMergeTree
ORDER BY (station_id, command_id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.commands_latest_requests_mv $on_cluster
TO $database.commands_latest AS
SELECT
    e.station_id AS station_id,
    e.event_id AS command_id,
    max(CAST(e.action, 'String')) AS action,
    max(CAST(e.dialect, 'String')) AS dialect,
    max(CAST(e.requested_by, 'String')) AS requested_by,
    min(e.recorded_at) AS requested_at,
    argMinState(e.payload, e._offset) AS payload,
    argMinState(e.expires_at, e._offset) AS expires_at
FROM $database.commands_requested_feed AS e
WHERE e.event_id != ''
GROUP BY station_id, command_id;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.commands_latest_outcomes_mv $on_cluster
TO $database.commands_latest AS
SELECT
    e.station_id AS station_id,
    e.command_id AS command_id,
    max(CAST(e.action, 'String')) AS action,
    max(CAST(e.dialect, 'String')) AS dialect,
    max(CAST(e.requested_by, 'String')) AS requested_by,
    min(e.requested_at) AS requested_at,
    max(CAST(e.fate, 'Nullable(String)')) AS fate,
    max(e.reason) AS reason,
    max(e.result) AS result,
    max(CAST(e.error_code, 'Nullable(String)')) AS error_code,
    max(e.error_description) AS error_description,
    max(e.attempts) AS attempts,
    max(CAST(e.recorded_at, 'Nullable(DateTime64(6, \'UTC\'))')) AS concluded_at
FROM $database.commands_outcomes_feed AS e
WHERE e.command_id != ''
GROUP BY station_id, command_id;
