-- What billing clerks reconcile: sessions in doubt, gaps, clocks, registers, energy that nobody pays for. Every view
-- with (since, until) is about the sessions that ended, and the messages and registers that came, from `since` until
-- before `until`: SELECT * FROM sessions_in_review(since = '2026-05-01 00:00:00', until = '2026-06-01 00:00:00').

-- What operators decided, each once: the first record of an id counts, as for the processor.
CREATE VIEW IF NOT EXISTS $database.session_decisions $on_cluster AS
SELECT
    d.event_id AS decision_id,
    d.station_id AS station_id,
    d.session_id AS session_id,
    if(d._type = 'SessionRecalled', 'recall', CAST(ifNull(d.decision, ''), 'String')) AS decision,
    d.billed_wh AS billed_wh,
    d.version AS version,
    d.reason AS reason,
    d.decided_by AS decided_by,
    d.recorded_at AS decided_at,
    multiIf(c.decision_id = '', 'pending', c.applied, 'applied', 'refused') AS status,
    CAST(c.detail, 'String') AS detail,
    if(c.decision_id = '', NULL, c.version) AS resulting_version
FROM
(
    SELECT *
    FROM $database.billing_decisions
    WHERE _type IN ('SessionDecided', 'SessionRecalled')
    ORDER BY _offset
    LIMIT 1 BY event_id
) AS d
LEFT JOIN
(
    SELECT decision_id, applied, detail, version
    FROM $database.billing_decided
    WHERE _type = 'SessionDecisionConcluded'
    ORDER BY _offset
    LIMIT 1 BY decision_id
) AS c ON c.decision_id = d.event_id;

-- Where each station is at a moment.
CREATE VIEW IF NOT EXISTS $database.station_sites $on_cluster AS
SELECT
    station_id,
    arrayLast((id, valid_from) -> valid_from <= {at:DateTime64(6, 'UTC')}, `sites.id`, `sites.valid_from`) AS site_id
FROM $database.stations;

-- The newest version of the charge records of the sessions that ended in a period.
CREATE VIEW IF NOT EXISTS $database.cdrs_ended $on_cluster AS
SELECT *
FROM $database.cdrs
WHERE ended_at >= {since:DateTime64(6, 'UTC')} AND ended_at < {until:DateTime64(6, 'UTC')}
  AND (station_id, session_id, cdr_id) IN
(
    SELECT station_id, session_id, cdr_id
    FROM $database.cdrs_by_end
    WHERE ended_at >= {since:DateTime64(6, 'UTC')} AND ended_at < {until:DateTime64(6, 'UTC')}
);

-- Sessions that an operator has to decide about. `at_stake_minor`: roughly what the energy in review costs, at the price
-- per kWh of the tariff's version; NULL without a tariff.
CREATE VIEW IF NOT EXISTS $database.sessions_in_review $on_cluster AS
SELECT
    c.session_id AS session_id, c.cdr_id AS cdr_id, c.version AS version, c.station_id AS station_id,
    c.evse_id AS evse_id, c.site_id AS site_id, c.id_token AS id_token, c.started_at AS started_at,
    c.ended_at AS ended_at,
    arrayFilter(doubt -> doubt != 'no_tariff', CAST(c.review, 'Array(String)')) AS doubts,
    c.energy_wh AS energy_wh, c.billed_wh AS billed_wh, c.review_wh AS review_wh, c.written_off_wh AS written_off_wh,
    CAST(c.tariff_id, 'Nullable(String)') AS tariff_id,
    CAST(c.currency, 'Nullable(String)') AS currency,
    c.amount_minor AS amount_minor,
    if(isNull(c.tariff_id), NULL, intDiv(c.review_wh * t.price_per_kwh_milli + 500000, 1000000)) AS at_stake_minor
FROM $database.cdrs_ended(since = {since:DateTime64(6, 'UTC')}, until = {until:DateTime64(6, 'UTC')}) AS c
LEFT JOIN
(
    SELECT tariff_id, version, price_per_kwh_milli
    FROM $database.tariffs
    ARRAY JOIN `versions.version` AS version, `versions.price_per_kwh_milli` AS price_per_kwh_milli
) AS t ON t.tariff_id = ifNull(c.tariff_id, '') AND t.version = ifNull(c.tariff_version, 0)
WHERE notEmpty(doubts) AND (isNull(c.decision_id) OR has(doubts, 'after_decision'));

-- Numbers of the messages about a 2.x transaction that never came: between the lowest and the highest that did.
CREATE VIEW IF NOT EXISTS $database.missing_messages $on_cluster AS
SELECT
    station_id, transaction_id, max(number) - min(number) + 1 - toInt64(uniqExact(number)) AS missing
FROM
(
    SELECT
        station_id,
        JSONExtractString(ifNull(payload, ''), 'transactionInfo', 'transactionId') AS transaction_id,
        JSONExtractInt(ifNull(payload, ''), 'seqNo') AS number
    FROM $database.ocpp_transactions
    WHERE _type = 'OcppCallReceived' AND action = 'TransactionEvent'
      AND recorded_at >= {since:DateTime64(6, 'UTC')} AND recorded_at < {until:DateTime64(6, 'UTC')}
)
GROUP BY station_id, transaction_id
HAVING missing > 0;

-- Sessions of which something is missing, or that took longer than `hours`. `ended_at` is NULL for one that still runs.
CREATE VIEW IF NOT EXISTS $database.session_gaps $on_cluster AS
SELECT
    c.session_id AS session_id, c.station_id AS station_id, c.evse_id AS evse_id, c.site_id AS site_id,
    c.started_at AS started_at, CAST(c.ended_at, 'Nullable(DateTime64(6, \'UTC\'))') AS ended_at,
    c.energy_wh AS energy_wh,
    arrayConcat(
        arrayFilter(doubt -> doubt = 'endless' OR (startsWith(doubt, 'no_') AND doubt != 'no_tariff'), CAST(c.review, 'Array(String)')),
        if(m.missing > 0, ['missing_messages'], []),
        if(c.ended_at > c.started_at + toIntervalHour({hours:UInt32}), ['long'], [])
    ) AS gaps,
    m.missing AS missing_messages,
    isNotNull(c.decision_id) AND NOT has(c.review, 'after_decision') AS decided
FROM $database.cdrs_ended(since = {since:DateTime64(6, 'UTC')}, until = {until:DateTime64(6, 'UTC')}) AS c
LEFT JOIN
(
    SELECT *
    FROM $database.missing_messages(
        since = {since:DateTime64(6, 'UTC')} - toIntervalDay(7), until = {until:DateTime64(6, 'UTC')} + toIntervalDay(7)
    )
) AS m ON m.station_id = c.station_id AND m.transaction_id = c.transaction_id
WHERE notEmpty(gaps)
UNION ALL
SELECT
    session_id, station_id, evse_id, site_id, started_at, ended_at, energy_wh,
    ['running_long'] AS gaps, toInt64(0) AS missing_messages, false AS decided
FROM $database.sessions
WHERE status = 'running'
  AND started_at < least({until:DateTime64(6, 'UTC')}, now64(6)) - toIntervalHour({hours:UInt32})
  AND (station_id, session_id) IN
(
    SELECT station_id, session_id
    FROM $database.sessions_by_start
    WHERE started_at < {until:DateTime64(6, 'UTC')}
    GROUP BY station_id, session_id
    HAVING max(stage) % 2 = 1
);

-- Stations whose clocks are off by more than `minutes`, or whose times could not be taken as they came. `ahead_s`: how
-- far a message lay in the future when it came. `behind_s`: how late the least late message of a day was, of those that
-- chargers do not keep back while they are offline.
CREATE VIEW IF NOT EXISTS $database.clock_skew $on_cluster AS
SELECT
    d.station_id AS station_id, s.site_id AS site_id,
    sum(d.timed) AS messages,
    intDiv(max(d.ahead_us), 1000000) AS ahead_s, intDiv(max(d.behind_us), 1000000) AS behind_s,
    sum(d.bent) AS bent_messages, arraySort(groupUniqArrayArray(d.bent_by)) AS quirks, max(d.last_at) AS last_at
FROM
(
    SELECT
        station_id, toDate(recorded_at) AS day,
        countIf(has_time) AS timed, greatest(maxIf(-late_us, has_time), 0) AS ahead_us,
        greatest(minIf(late_us, has_time AND at_once), 0) AS behind_us,
        countIf(notEmpty(clock_quirks)) AS bent, groupUniqArrayArray(clock_quirks) AS bent_by,
        max(recorded_at) AS last_at
    FROM
    (
        SELECT
            station_id, recorded_at,
            toUnixTimestamp64Micro(recorded_at) - toUnixTimestamp64Micro(occurred_at) AS late_us,
            arrayIntersect(CAST(quirks, 'Array(String)'), [
                'timestamp_out_of_bounds', 'timestamp_unreadable', 'timestamp_without_zone', 'timestamp_number',
                'local_time_marked_utc'
            ]) AS clock_quirks,
            late_us != 0 AND NOT hasAny(clock_quirks, ['timestamp_out_of_bounds', 'timestamp_unreadable'])
                AS has_time,
            action IN ('StatusNotification', 'NotifyEvent', 'SecurityEventNotification')
                OR (action = 'TransactionEvent' AND NOT JSONExtractBool(ifNull(payload, ''), 'offline')) AS at_once
        FROM
        (
            SELECT station_id, recorded_at, occurred_at, quirks, action, payload
            FROM $database.ocpp_transactions FINAL
            WHERE _type = 'OcppCallReceived'
              AND recorded_at >= {since:DateTime64(6, 'UTC')} AND recorded_at < {until:DateTime64(6, 'UTC')}
            UNION ALL
            SELECT station_id, recorded_at, occurred_at, quirks, action, payload
            FROM $database.ocpp_lifecycle FINAL
            WHERE _type = 'OcppCallReceived'
              AND recorded_at >= {since:DateTime64(6, 'UTC')} AND recorded_at < {until:DateTime64(6, 'UTC')}
        )
    )
    GROUP BY station_id, day
) AS d
LEFT JOIN (SELECT * FROM $database.station_sites(at = {until:DateTime64(6, 'UTC')})) AS s
    ON s.station_id = d.station_id
GROUP BY station_id, site_id
HAVING ahead_s > 60 * {minutes:UInt32} OR behind_s > 60 * {minutes:UInt32} OR bent_messages > 0;

-- What the energy register of each EVSE rose by in a period, within sessions and between them, beside what its sessions
-- delivered. The period is made of whole sessions: it begins early enough for those that ended in it, and ends when one
-- began that ended later or still runs. A fall of more than 100 Wh begins anew, as for the sessions. Of the samples the
-- first and the last of each hour are enough.
CREATE VIEW IF NOT EXISTS $database.register_rises $on_cluster AS
WITH
    -- (start, end, register at start, at end, energy, billed, in review, written off)
    arrayMin(arrayPushBack(
        arrayMap(s -> if(s.2 < {until:DateTime64(6, 'UTC')}, s.1, {since:DateTime64(6, 'UTC')}), seen),
        {since:DateTime64(6, 'UTC')}
    )) AS span_start,
    arrayMin(arrayPushBack(
        arrayMap(s -> if(s.2 < {until:DateTime64(6, 'UTC')}, {until:DateTime64(6, 'UTC')}, s.1), seen),
        {until:DateTime64(6, 'UTC')}
    )) AS span_end,
    arrayFilter(s -> s.2 < {until:DateTime64(6, 'UTC')} AND s.2 <= span_end, seen) AS whole,
    arrayFilter(s -> isNotNull(s.3) AND isNotNull(s.4), whole) AS metered,
    -- Of what comes at one moment: a session's start, a sample, a session's end.
    arraySort(arrayConcat(
        arrayMap(s -> (s.1, toUInt8(0), assumeNotNull(s.3)), metered),
        arrayMap(r -> (r.1, toUInt8(1), r.2), arrayFilter(r -> r.1 >= span_start AND r.1 < span_end, readings)),
        arrayMap(s -> (s.2, toUInt8(2), assumeNotNull(s.4)), metered)
    )) AS walk,
    -- (register, rises within sessions, rises between them, falls, sessions under way)
    arrayFold(
        (acc, step) -> (
            if(step.3 > acc.1 OR step.3 < acc.1 - 100, step.3, acc.1),
            acc.2 + if(step.3 > acc.1 AND acc.5 > 0, step.3 - acc.1, 0),
            acc.3 + if(step.3 > acc.1 AND acc.5 = 0, step.3 - acc.1, 0),
            acc.4 + if(step.3 < acc.1 - 100, 1, 0),
            acc.5 + multiIf(step.2 = 0, 1, step.2 = 2, -1, 0)
        ),
        walk,
        (tupleElement(walk[1], 3), toInt64(0), toInt64(0), toInt64(0), toInt64(0))
    ) AS walked
SELECT
    e.station_id AS station_id, e.evse_id AS evse_id, p.site_id AS site_id,
    walk[1].1 AS first_at, walk[-1].1 AS last_at, length(whole) AS sessions,
    walked.2 + walked.3 AS register_wh, walked.3 AS between_wh, walked.4 AS falls,
    arraySum(s -> s.5, whole) AS energy_wh, arraySum(s -> s.6, whole) AS billed_wh,
    arraySum(s -> s.7, whole) AS review_wh, arraySum(s -> s.8, whole) AS written_off_wh,
    register_wh - energy_wh AS departure_wh
FROM
(
    SELECT station_id, evse_id, groupArrayArray(some_seen) AS seen, groupArrayArray(some_readings) AS readings
    FROM
    (
        SELECT
            station_id, evse_id,
            [(
                started_at, ended_at, meter_start_wh, meter_stop_wh, energy_wh, billed_wh, review_wh, written_off_wh
            )] AS some_seen,
            CAST([], 'Array(Tuple(DateTime64(6, \'UTC\'), Int64))') AS some_readings
        FROM $database.cdrs_ended(
            since = {since:DateTime64(6, 'UTC')}, until = {until:DateTime64(6, 'UTC')} + toIntervalDay(92)
        )
        WHERE evse_id > 0 AND started_at < {until:DateTime64(6, 'UTC')}
        UNION ALL
        SELECT
            station_id, evse_id,
            [(
                started_at, toDateTime64('2200-01-01 00:00:00', 6, 'UTC'), CAST(NULL, 'Nullable(Int64)'),
                CAST(NULL, 'Nullable(Int64)'), toInt64(0), toInt64(0), toInt64(0), toInt64(0)
            )] AS some_seen,
            CAST([], 'Array(Tuple(DateTime64(6, \'UTC\'), Int64))') AS some_readings
        FROM $database.sessions
        WHERE status = 'running' AND evse_id > 0 AND started_at < {until:DateTime64(6, 'UTC')}
          AND (station_id, session_id) IN
        (
            SELECT station_id, session_id
            FROM $database.sessions_by_start
            WHERE started_at < {until:DateTime64(6, 'UTC')}
            GROUP BY station_id, session_id
            HAVING max(stage) % 2 = 1
        )
        UNION ALL
        SELECT
            station_id, evse_id,
            CAST(
                [],
                'Array(Tuple(DateTime64(6, \'UTC\'), DateTime64(6, \'UTC\'), Nullable(Int64), Nullable(Int64), Int64, Int64, Int64, Int64))'
            ) AS some_seen,
            [
                min((sample.sampled_at, intDiv(sample.value_milli + 500, 1000))),
                max((sample.sampled_at, intDiv(sample.value_milli + 500, 1000)))
            ] AS some_readings
        FROM $database.telemetry_measurements FINAL
        ARRAY JOIN samples AS sample
        WHERE evse_id > 0
          AND recorded_at >= {since:DateTime64(6, 'UTC')} - toIntervalDay(7)
          AND recorded_at < {until:DateTime64(6, 'UTC')} + toIntervalDay(7)
          AND sample.measurand = 'Energy.Active.Import.Register' AND isNull(sample.phase)
          AND ifNull(sample.location, 'Outlet') = 'Outlet' AND ifNull(sample.context, '') != 'Transaction.Begin'
          AND NOT hasAny(sample.quirks, ['timestamp_out_of_bounds', 'timestamp_unreadable'])
        GROUP BY station_id, evse_id, toStartOfHour(sample.sampled_at)
    )
    GROUP BY station_id, evse_id
) AS e
LEFT JOIN (SELECT * FROM $database.station_sites(at = {until:DateTime64(6, 'UTC')})) AS p
    ON p.station_id = e.station_id
WHERE notEmpty(walk);

-- Energy that nobody pays for, by station: of sessions without a tariff, in review, and what registers rose by between
-- sessions (by more than 100 Wh). `written_off_wh` was given up by operators.
CREATE VIEW IF NOT EXISTS $database.unbilled_energy $on_cluster AS
SELECT
    station_id, site_id, sum(no_tariff_wh) AS no_tariff_wh, sum(review_wh) AS review_wh,
    sum(between_wh) AS between_wh, no_tariff_wh + review_wh + between_wh AS unbilled_wh,
    sum(written_off_wh) AS written_off_wh
FROM
(
    SELECT
        station_id, ifNull(site_id, '') AS site_id, if(isNull(tariff_id), billed_wh, 0) AS no_tariff_wh, review_wh,
        toInt64(0) AS between_wh, written_off_wh
    FROM $database.cdrs_ended(since = {since:DateTime64(6, 'UTC')}, until = {until:DateTime64(6, 'UTC')})
    UNION ALL
    SELECT
        station_id, site_id, toInt64(0) AS no_tariff_wh, toInt64(0) AS review_wh,
        if(between_wh > 100, between_wh, 0) AS between_wh, toInt64(0) AS written_off_wh
    FROM $database.register_rises(since = {since:DateTime64(6, 'UTC')}, until = {until:DateTime64(6, 'UTC')})
)
GROUP BY station_id, site_id
HAVING unbilled_wh > 0 OR written_off_wh > 0;
