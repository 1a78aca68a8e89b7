-- Organisations, and what belongs to which.

CREATE TABLE IF NOT EXISTS $database.registry_organisations $on_cluster
(
    _topic LowCardinality(String),
    _partition UInt16,
    _offset Int64 CODEC(Delta, ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    _key String,
    _type LowCardinality(String),
    _deleted Bool,
    event_id String,
    organisation_id LowCardinality(String),
    occurred_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    cause_id String,
    name String,
    changed_by LowCardinality(String)
)
ENGINE = ${replicated}ReplacingMergeTree
ORDER BY (organisation_id, recorded_at, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 1000;

ALTER TABLE $database.registry_stations $on_cluster ADD COLUMN IF NOT EXISTS organisation_id LowCardinality(String);
ALTER TABLE $database.registry_sites $on_cluster ADD COLUMN IF NOT EXISTS organisation_id LowCardinality(String);
ALTER TABLE $database.registry_tokens $on_cluster ADD COLUMN IF NOT EXISTS organisation_id LowCardinality(String);
ALTER TABLE $database.registry_tariffs $on_cluster ADD COLUMN IF NOT EXISTS organisation_id LowCardinality(String);

-- A view has the columns that its table had when it was made.

CREATE OR REPLACE VIEW $database.stations $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_stations
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY station_id)
WHERE NOT _deleted;

CREATE OR REPLACE VIEW $database.sites $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_sites
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY site_id)
WHERE NOT _deleted;

CREATE OR REPLACE VIEW $database.tokens $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_tokens
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY id_token)
WHERE NOT _deleted;

CREATE OR REPLACE VIEW $database.tariffs $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_tariffs
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY tariff_id)
WHERE NOT _deleted;

CREATE VIEW IF NOT EXISTS $database.organisations $on_cluster AS
SELECT * EXCEPT (_topic, _partition, _offset, _timestamp, _key, _type, _deleted)
FROM (SELECT * FROM $database.registry_organisations
      WHERE _type != 'undecodable' ORDER BY _offset DESC LIMIT 1 BY organisation_id)
WHERE NOT _deleted;

-- Who changed what in the registry, as before, with organisations.
CREATE OR REPLACE VIEW $database.registry_changes $on_cluster AS
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
    UNION ALL
    SELECT 'organisation' AS kind, _key AS id, recorded_at, _timestamp AS written_at, changed_by, _deleted AS removed, event_id,
        _offset AS position
    FROM $database.registry_organisations FINAL
);

-- Which organisation each belongs to now. Read with the rights of who made the tables: row policies on the tables ask
-- these views, which are not to ask the policies again.
CREATE VIEW IF NOT EXISTS $database.organisation_sites $on_cluster DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT site_id, argMax(organisation_id, _offset) AS organisation_id
FROM $database.registry_sites
WHERE _type != 'undecodable'
GROUP BY site_id
HAVING NOT argMax(_deleted, _offset);

CREATE VIEW IF NOT EXISTS $database.organisation_tokens $on_cluster DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT id_token, argMax(organisation_id, _offset) AS organisation_id
FROM $database.registry_tokens
WHERE _type != 'undecodable'
GROUP BY id_token
HAVING NOT argMax(_deleted, _offset);

CREATE VIEW IF NOT EXISTS $database.organisation_tariffs $on_cluster DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT tariff_id, argMax(organisation_id, _offset) AS organisation_id
FROM $database.registry_tariffs
WHERE _type != 'undecodable'
GROUP BY tariff_id
HAVING NOT argMax(_deleted, _offset);

-- A station belongs to the organisation of the site where it is now, and to its own while it is at none.
CREATE VIEW IF NOT EXISTS $database.organisation_stations $on_cluster DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT station_id, if(site_id = '', own, at_site) AS organisation_id
FROM
(
    SELECT station_id, argMax(organisation_id, _offset) AS own,
        arraySort(each -> each.2, arrayFilter(each -> each.2 <= now64(6, 'UTC'),
            argMax(arrayZip(sites.id, sites.valid_from), _offset)))[-1].1 AS site_id
    FROM $database.registry_stations
    WHERE _type != 'undecodable'
    GROUP BY station_id
    HAVING NOT argMax(_deleted, _offset)
) AS stations
LEFT ANY JOIN
(
    SELECT site_id, argMax(organisation_id, _offset) AS at_site
    FROM $database.registry_sites
    WHERE _type != 'undecodable'
    GROUP BY site_id
    HAVING NOT argMax(_deleted, _offset)
) AS sites USING (site_id);
