-- Plans of driver groups: what bundles cover, and monthly fees. 0001 says what all these tables have in common.

CREATE TABLE IF NOT EXISTS $database.billing_prepaid_asked $on_cluster
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
    group_id LowCardinality(String),
    session_id String,
    revision Int32,
    tariff_id LowCardinality(String),
    tariff_version Int32,
    month LowCardinality(String),
    timezone LowCardinality(String),
    bundle_wh Int64,
    billed_wh Int64
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (group_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.billing_prepaid $on_cluster
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
    group_id LowCardinality(String),
    session_id String,
    revision Int32,
    tariff_id LowCardinality(String),
    month LowCardinality(String),
    billed_wh Int64,
    granted_wh Int64,
    closed Bool
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (group_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.billing_plan_months $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    group_id String,
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    tariff_id LowCardinality(String),
    tariff_version Int32,
    month LowCardinality(String),
    from_at DateTime64(6, 'UTC'),
    to_at DateTime64(6, 'UTC'),
    currency LowCardinality(String),
    amount_minor Int64,
    net_minor Int64,
    tax_minor Int64,
    taxes Nested
    (
        name LowCardinality(String),
        rate_milli Int64,
        net_minor Int64,
        tax_minor Int64
    ),
    bundle_wh Int64,
    used_wh Int64,
    sessions Int32
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (group_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

-- One row per group, tariff and month in which a plan was used or charged. `used_wh` is what the sessions have now, of
-- their last question the first answer; amounts are NULL until the month is charged.
CREATE VIEW IF NOT EXISTS $database.plan_months $on_cluster AS
SELECT
    group_id,
    tariff_id,
    month,
    max(bundle) AS bundle_wh,
    sum(used) AS used_wh,
    greatest(bundle_wh - used_wh, 0) AS left_wh,
    sum(users) AS sessions,
    max(charged) AS charged_at,
    max(code) AS currency,
    max(amount) AS amount_minor,
    max(net) AS net_minor,
    max(tax) AS tax_minor
FROM
(
    SELECT
        group_id, tariff_id, month, 0 AS bundle, sum(granted) AS used, 0 AS users,
        CAST(NULL, 'Nullable(DateTime64(6, \'UTC\'))') AS charged, CAST(NULL, 'Nullable(String)') AS code,
        CAST(NULL, 'Nullable(Int64)') AS amount, CAST(NULL, 'Nullable(Int64)') AS net,
        CAST(NULL, 'Nullable(Int64)') AS tax
    FROM
    (
        SELECT group_id, tariff_id, month, argMax(granted_wh, (revision, -billed_wh, -_offset)) AS granted
        FROM $database.billing_prepaid
        WHERE _type = 'PrepaidGranted' AND NOT closed
        GROUP BY group_id, tariff_id, month, station_id, session_id
    )
    GROUP BY group_id, tariff_id, month
    UNION ALL
    SELECT group_id, tariff_id, month, max(bundle_wh), 0, uniqExact(session_id), NULL, NULL, NULL, NULL, NULL
    FROM $database.billing_prepaid_asked
    WHERE _type = 'PrepaidAsked'
    GROUP BY group_id, tariff_id, month
    UNION ALL
    SELECT group_id, tariff_id, month, bundle_wh, 0, 0, recorded_at, currency, amount_minor, net_minor, tax_minor
    FROM $database.billing_plan_months
    WHERE _type = 'PlanMonthCharged'
)
GROUP BY group_id, tariff_id, month;
