-- What analysts and the API query. Every view shows each fact once.

-- A session that was closed by a rule and goes on is running: how it had ended is not said while it does.

CREATE VIEW IF NOT EXISTS $database.sessions $on_cluster AS
SELECT
    s.session_id AS session_id,
    s.station_id AS station_id,
    CAST(s.evse_id, 'Int32') AS evse_id,
    CAST(s.site_id, 'Nullable(String)') AS site_id,
    if(s.stage % 2 = 1, 'running', 'ended') AS status,
    assumeNotNull(finalizeAggregation(s.started_at)) AS started_at,
    if(s.stage % 2 = 1, NULL, finalizeAggregation(s.ended_at)) AS ended_at,
    ifNull(finalizeAggregation(s.energy_wh), 0) AS energy_wh,
    finalizeAggregation(s.id_token) AS id_token,
    CAST(s.transaction_id, 'String') AS transaction_id,
    finalizeAggregation(s.meter_start_wh) AS meter_start_wh,
    finalizeAggregation(s.meter_wh) AS meter_wh,
    if(s.stage % 2 = 1, NULL, finalizeAggregation(s.meter_stop_wh)) AS meter_stop_wh,
    if(s.stage % 2 = 1, finalizeAggregation(s.charging_state), NULL) AS charging_state,
    if(s.stage % 2 = 1, '', ifNull(finalizeAggregation(s.reason), '')) AS reason,
    finalizeAggregation(s.review) AS review,
    finalizeAggregation(s.decision_id) AS decision_id,
    CAST(s.correction, 'Int32') AS correction,
    ifNull(s.ocpp_version, '') AS ocpp_version,
    CAST(s.updated_at, 'DateTime64(6, \'UTC\')') AS updated_at
FROM $database.sessions_latest AS s FINAL;

-- The newest sessions that started before a moment: SELECT * FROM recent_sessions(before = now64(6), rows = 50).
CREATE VIEW IF NOT EXISTS $database.recent_sessions $on_cluster AS
SELECT *
FROM $database.sessions
WHERE (station_id, session_id) IN
(
    SELECT station_id, session_id
    FROM $database.sessions_by_start
    WHERE started_at < {before:DateTime64(6, 'UTC')}
    ORDER BY started_at DESC
    LIMIT 1 BY session_id
    LIMIT {rows:UInt32}
)
ORDER BY started_at DESC;

CREATE VIEW IF NOT EXISTS $database.cdrs $on_cluster AS
SELECT * EXCEPT version_order
FROM $database.cdrs_latest FINAL;

-- The newest charge records that ended before a moment: SELECT * FROM recent_cdrs(before = now64(6), rows = 50).
CREATE VIEW IF NOT EXISTS $database.recent_cdrs $on_cluster AS
SELECT *
FROM $database.cdrs
WHERE (station_id, session_id, cdr_id) IN
(
    SELECT station_id, session_id, cdr_id
    FROM $database.cdrs_by_end
    WHERE ended_at < {before:DateTime64(6, 'UTC')}
    ORDER BY ended_at DESC
    LIMIT 1 BY cdr_id
    LIMIT {rows:UInt32}
)
ORDER BY ended_at DESC;

-- A session counts for the UTC day on which it ended, one that still runs for the day of its last news.
CREATE VIEW IF NOT EXISTS $database.energy_by_site_day $on_cluster AS
SELECT
    site_id,
    toDate(ifNull(ended_at, updated_at), 'UTC') AS day,
    sum(energy_wh) AS energy_wh,
    count() AS sessions,
    countIf(status = 'running') AS running
FROM $database.sessions
GROUP BY site_id, day;

CREATE VIEW IF NOT EXISTS $database.station_state $on_cluster AS
SELECT * EXCEPT _offset
FROM $database.station_state_latest FINAL;

-- A command without a fate is still under way.
CREATE VIEW IF NOT EXISTS $database.commands $on_cluster AS
SELECT
    c.command_id AS command_id,
    c.station_id AS station_id,
    CAST(c.action, 'String') AS action,
    CAST(c.dialect, 'String') AS dialect,
    finalizeAggregation(c.payload) AS payload,
    CAST(c.requested_by, 'String') AS requested_by,
    CAST(c.requested_at, 'DateTime64(6, \'UTC\')') AS requested_at,
    finalizeAggregation(c.expires_at) AS expires_at,
    CAST(c.fate, 'Nullable(String)') AS fate,
    CAST(c.reason, 'String') AS reason,
    CAST(c.result, 'Nullable(String)') AS result,
    CAST(c.error_code, 'Nullable(String)') AS error_code,
    CAST(c.error_description, 'Nullable(String)') AS error_description,
    CAST(c.attempts, 'Int32') AS attempts,
    CAST(c.concluded_at, 'Nullable(DateTime64(6, \'UTC\'))') AS concluded_at
FROM $database.commands_latest AS c FINAL;

CREATE VIEW IF NOT EXISTS $database.raw_messages $on_cluster AS
SELECT
    station_id, recorded_at, occurred_at, 'from station' AS direction, version, action, message_id, payload,
    answer, error_code, error_description, quirks, if(ifNull(pending, false), 'PENDING', 'ANSWERED') AS outcome,
    connection_epoch, edge_id, event_id, cause_id, _topic, _partition, _offset
FROM $database.ocpp_transactions FINAL
WHERE _type = 'OcppCallReceived'
UNION ALL
SELECT
    station_id, recorded_at, occurred_at, 'from station' AS direction, ifNull(version, '') AS version,
    ifNull(action, '') AS action, ifNull(message_id, '') AS message_id, ifNull(payload, '') AS payload,
    answer, error_code, error_description, quirks, if(ifNull(pending, false), 'PENDING', 'ANSWERED') AS outcome,
    connection_epoch, edge_id, event_id, cause_id, _topic, _partition, _offset
FROM $database.ocpp_lifecycle FINAL
WHERE _type = 'OcppCallReceived'
UNION ALL
SELECT
    station_id, recorded_at, occurred_at, 'to station' AS direction, ifNull(version, '') AS version,
    ifNull(action, '') AS action, ifNull(message_id, '') AS message_id, ifNull(payload, '') AS payload,
    result AS answer, error_code, error_description, [] AS quirks, ifNull(outcome, '') AS outcome,
    connection_epoch, edge_id, event_id, cause_id, _topic, _partition, _offset
FROM $database.ocpp_commands FINAL
WHERE _type = 'OcppCallSent'
UNION ALL
SELECT
    station_id, recorded_at, occurred_at, 'from station' AS direction, ifNull(version, '') AS version,
    ifNull(action, '') AS action, ifNull(message_id, '') AS message_id, ifNull(frame, '') AS payload,
    NULL AS answer, code AS error_code, reason AS error_description, [] AS quirks, 'REJECTED' AS outcome,
    ifNull(connection_epoch, 0) AS connection_epoch, edge_id, event_id, cause_id, _topic, _partition, _offset
FROM $database.ocpp_rejected FINAL
WHERE _type = 'FrameRejected';

CREATE VIEW IF NOT EXISTS $database.measurements $on_cluster AS
SELECT
    station_id,
    evse_id,
    connector_id,
    transaction_id,
    sample.sampled_at AS sampled_at,
    sample.measurand AS measurand,
    sample.phase AS phase,
    sample.location AS location,
    sample.context AS context,
    sample.value_milli AS value_milli,
    sample.unit AS unit,
    sample.quirks AS quirks,
    recorded_at,
    event_id,
    cause_id
FROM $database.telemetry_measurements FINAL
ARRAY JOIN samples AS sample;

-- What operators configured, as it is now. The last record by offset counts; a tombstone removes.
CREATE VIEW IF NOT EXISTS $database.stations $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_stations
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY station_id)
WHERE NOT _deleted;

CREATE VIEW IF NOT EXISTS $database.sites $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_sites
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY site_id)
WHERE NOT _deleted;

CREATE VIEW IF NOT EXISTS $database.tokens $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_tokens
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY id_token)
WHERE NOT _deleted;

CREATE VIEW IF NOT EXISTS $database.tariffs $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_tariffs
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY tariff_id)
WHERE NOT _deleted;
