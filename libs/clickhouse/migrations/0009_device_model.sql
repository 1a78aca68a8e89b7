-- What chargers told of themselves, and what they asked for: read from the few messages that tell it.
--
-- A station's own messages are found by the primary key; those of all stations by their action, which few granules
-- have.

ALTER TABLE $database.ocpp_lifecycle $on_cluster ADD INDEX IF NOT EXISTS by_action action TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE $database.ocpp_commands $on_cluster ADD INDEX IF NOT EXISTS by_action action TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE $database.commands_requested $on_cluster ADD INDEX IF NOT EXISTS by_action action TYPE bloom_filter(0.001) GRANULARITY 1;

-- One row per variable: its newest value by NotifyReport, GetVariables (2.x) or GetConfiguration (1.6, where a key is
-- a variable without component). What is a secret has no value here.
CREATE VIEW IF NOT EXISTS $database.device_model $on_cluster AS
SELECT
    station_id, component, component_instance, evse_id, connector_id, variable, variable_instance, attribute,
    if(lower(variable) IN ('authorizationkey', 'basicauthpassword'), NULL, newest.1) AS value,
    newest.2 AS mutability,
    newest.3 AS source,
    newest.4 AS at
FROM
(
    SELECT
        station_id, component, component_instance, evse_id, connector_id, variable, variable_instance, attribute,
        argMax((value, mutability, source, recorded_at), (recorded_at, _offset)) AS newest
    FROM
    (
        SELECT
            station_id, recorded_at, _offset,
            JSONExtractString(item, 'component', 'name') AS component,
            JSONExtractString(item, 'component', 'instance') AS component_instance,
            toInt32(JSONExtractInt(item, 'component', 'evse', 'id')) AS evse_id,
            toInt32(JSONExtractInt(item, 'component', 'evse', 'connectorId')) AS connector_id,
            JSONExtractString(item, 'variable', 'name') AS variable,
            JSONExtractString(item, 'variable', 'instance') AS variable_instance,
            if(JSONHas(told, 'type'), JSONExtractString(told, 'type'), 'Actual') AS attribute,
            JSONExtract(told, 'value', 'Nullable(String)') AS value,
            if(JSONHas(told, 'mutability'), JSONExtractString(told, 'mutability'), 'ReadWrite') AS mutability,
            'NotifyReport' AS source
        FROM
        (
            SELECT station_id, recorded_at, _offset, item,
                arrayJoin(JSONExtractArrayRaw(item, 'variableAttribute')) AS told
            FROM
            (
                SELECT station_id, recorded_at, _offset,
                    arrayJoin(JSONExtractArrayRaw(ifNull(payload, ''), 'reportData')) AS item
                FROM $database.ocpp_lifecycle
                WHERE action = 'NotifyReport' AND _type = 'OcppCallReceived'
            )
        )
        UNION ALL
        SELECT
            station_id, recorded_at, _offset,
            JSONExtractString(item, 'component', 'name') AS component,
            JSONExtractString(item, 'component', 'instance') AS component_instance,
            toInt32(JSONExtractInt(item, 'component', 'evse', 'id')) AS evse_id,
            toInt32(JSONExtractInt(item, 'component', 'evse', 'connectorId')) AS connector_id,
            JSONExtractString(item, 'variable', 'name') AS variable,
            JSONExtractString(item, 'variable', 'instance') AS variable_instance,
            if(JSONHas(item, 'attributeType'), JSONExtractString(item, 'attributeType'), 'Actual') AS attribute,
            JSONExtract(item, 'attributeValue', 'Nullable(String)') AS value,
            '' AS mutability,
            'GetVariables' AS source
        FROM
        (
            SELECT station_id, recorded_at, _offset,
                arrayJoin(JSONExtractArrayRaw(ifNull(result, ''), 'getVariableResult')) AS item
            FROM $database.ocpp_commands
            WHERE action = 'GetVariables' AND outcome = 'RESULT'
        )
        WHERE JSONExtractString(item, 'attributeStatus') = 'Accepted'
        UNION ALL
        SELECT
            station_id, recorded_at, _offset,
            '' AS component,
            '' AS component_instance,
            toInt32(0) AS evse_id,
            toInt32(0) AS connector_id,
            JSONExtractString(item, 'key') AS variable,
            '' AS variable_instance,
            'Actual' AS attribute,
            JSONExtract(item, 'value', 'Nullable(String)') AS value,
            if(JSONExtractBool(item, 'readonly'), 'ReadOnly', 'ReadWrite') AS mutability,
            'GetConfiguration' AS source
        FROM
        (
            SELECT station_id, recorded_at, _offset,
                arrayJoin(JSONExtractArrayRaw(ifNull(result, ''), 'configurationKey')) AS item
            FROM $database.ocpp_commands
            WHERE action = 'GetConfiguration' AND outcome = 'RESULT'
        )
    )
    GROUP BY
        station_id, component, component_instance, evse_id, connector_id, variable, variable_instance, attribute
);

-- One row per report: how many of its parts have come, and whether these are all (numbered from 0; the last says
-- that nothing is to be continued).
CREATE VIEW IF NOT EXISTS $database.device_reports $on_cluster AS
SELECT
    station_id,
    JSONExtractInt(ifNull(payload, ''), 'requestId') AS request_id,
    uniqExact(JSONExtractUInt(ifNull(payload, ''), 'seqNo')) AS parts,
    argMax(JSONExtractBool(ifNull(payload, ''), 'tbc'), JSONExtractUInt(ifNull(payload, ''), 'seqNo')) = 0
        AND parts = max(JSONExtractUInt(ifNull(payload, ''), 'seqNo')) + 1 AS complete,
    max(recorded_at) AS updated_at
FROM $database.ocpp_lifecycle
WHERE action = 'NotifyReport' AND _type = 'OcppCallReceived'
GROUP BY station_id, request_id;

-- One row per CSR that a station sent. `status`: OPEN until a certificate is sent, then PENDING until the command has
-- its fate, then that; DECLINED if the station was told that nobody signs.
CREATE VIEW IF NOT EXISTS $database.certificate_requests $on_cluster AS
SELECT
    asked.request_id AS request_id,
    asked.station_id AS station_id,
    asked.version AS version,
    asked.csr AS csr,
    asked.certificate_type AS certificate_type,
    asked.station_request_id AS station_request_id,
    asked.requested_at AS requested_at,
    nullIf(sent.command_id, '') AS command_id,
    multiIf(
        sent.command_id = '', if(asked.accepted, 'OPEN', 'DECLINED'),
        done.fate = '', 'PENDING',
        done.fate
    ) AS status
FROM
(
    SELECT
        event_id AS request_id,
        station_id,
        ifNull(version, '') AS version,
        JSONExtractString(ifNull(payload, ''), 'csr') AS csr,
        if(JSONHas(ifNull(payload, ''), 'certificateType'),
            JSONExtractString(ifNull(payload, ''), 'certificateType'), 'ChargingStationCertificate')
            AS certificate_type,
        JSONExtract(ifNull(payload, ''), 'requestId', 'Nullable(Int32)') AS station_request_id,
        recorded_at AS requested_at,
        JSONExtractString(ifNull(answer, ''), 'status') = 'Accepted' AS accepted
    FROM $database.ocpp_lifecycle
    WHERE action = 'SignCertificate' AND _type = 'OcppCallReceived'
    LIMIT 1 BY event_id
) AS asked
LEFT JOIN
(
    SELECT cause_id, argMax(event_id, recorded_at) AS command_id
    FROM $database.commands_requested
    WHERE action = 'CertificateSigned'
    GROUP BY cause_id
) AS sent ON sent.cause_id = asked.request_id
LEFT JOIN
(
    SELECT command_id, any(CAST(fate, 'String')) AS fate
    FROM $database.commands_outcomes
    WHERE action = 'CertificateSigned'
    GROUP BY command_id
) AS done ON done.command_id = sent.command_id;
