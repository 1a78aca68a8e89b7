-- Sessions, charge records, measurements and station state. 0001 says what all these tables have in common.

CREATE TABLE IF NOT EXISTS $database.sessions_events $on_cluster
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
    evse_id Int32,
    transaction_id String,
    site_id Nullable(String),
    id_token Nullable(String),
    ocpp_version LowCardinality(Nullable(String)),
    started_at Nullable(DateTime64(6, 'UTC')),
    meter_start_wh Nullable(Int64),
    energy_wh Nullable(Int64),
    billed_wh Nullable(Int64),
    review_wh Nullable(Int64),
    written_off_wh Nullable(Int64),
    exported_wh Nullable(Int64),
    meter_wh Nullable(Int64),
    charging_state LowCardinality(Nullable(String)),
    ended_at Nullable(DateTime64(6, 'UTC')),
    meter_stop_wh Nullable(Int64),
    reason LowCardinality(Nullable(String)),
    review Array(LowCardinality(String)),
    quirks Array(LowCardinality(String)),
    signed Array(String),
    charging_s Nullable(Int32),
    suspended_s Nullable(Int32),
    idle_s Nullable(Int32),
    decision_id Nullable(String),
    decided_by Nullable(String),
    token_refusal LowCardinality(Nullable(String)),
    trigger LowCardinality(Nullable(String)),
    correction Nullable(Int32),
    revision Nullable(Int32)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.billing_cdrs $on_cluster
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
    cdr_id String,
    version Int32,
    session_id String,
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
    quirks Array(LowCardinality(String)),
    signed Array(String),
    charging_s Int32,
    suspended_s Int32,
    idle_s Int32,
    decision_id Nullable(String),
    decided_by Nullable(String),
    token_refusal LowCardinality(String),
    previous_hash String,
    hash String,
    credited_hash Nullable(String),
    tariff_id LowCardinality(Nullable(String)),
    tariff_version Nullable(Int32),
    currency LowCardinality(Nullable(String)),
    group_id LowCardinality(Nullable(String)),
    prepaid_wh Int64,
    amount_minor Int64,
    net_minor Int64,
    tax_minor Int64,
    lines Nested
    (
        kind LowCardinality(String),
        quantity Int64,
        unit LowCardinality(String),
        price_milli Int64,
        amount_minor Int64,
        net_minor Int64,
        tax_minor Int64,
        from_at DateTime64(6, 'UTC'),
        to_at DateTime64(6, 'UTC')
    ),
    taxes Nested
    (
        name LowCardinality(String),
        rate_milli Int64,
        net_minor Int64,
        tax_minor Int64
    ),
    sources Nested
    (
        topic LowCardinality(String),
        partition Int32,
        first_offset Int64,
        last_offset Int64
    ),
    readings Nested
    (
        at DateTime64(6, 'UTC'),
        wh Int64
    ),
    max_power_w Nullable(Int64),
    intervals Nested
    (
        to_at DateTime64(6, 'UTC'),
        energy_wh Int64,
        kind LowCardinality(String)
    ),
    timezone LowCardinality(Nullable(String))
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.telemetry_measurements $on_cluster
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
    evse_id Int32,
    connector_id Nullable(Int32),
    transaction_id Nullable(String),
    samples Nested
    (
        sampled_at DateTime64(6, 'UTC'),
        measurand LowCardinality(String),
        phase LowCardinality(Nullable(String)),
        location LowCardinality(Nullable(String)),
        context LowCardinality(Nullable(String)),
        value_milli Int64,
        unit LowCardinality(String),
        quirks Array(LowCardinality(String))
    )
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS $database.telemetry_health $on_cluster
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
    connected Nullable(Bool),
    version LowCardinality(Nullable(String)),
    vendor LowCardinality(Nullable(String)),
    model LowCardinality(Nullable(String)),
    serial Nullable(String),
    firmware_version LowCardinality(Nullable(String)),
    connectors Nested
    (
        evse_id Int32,
        connector_id Int32,
        status LowCardinality(String),
        error_code LowCardinality(String),
        since DateTime64(6, 'UTC')
    ),
    last_boot_at Nullable(DateTime64(6, 'UTC')),
    window_start Nullable(DateTime64(6, 'UTC')),
    window_end Nullable(DateTime64(6, 'UTC')),
    calls Nullable(Int32),
    boots Nullable(Int32),
    disconnects Nullable(Int32),
    faults Nullable(Int32),
    quirks Nullable(Int32),
    rejected Nullable(Int32)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (station_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;
