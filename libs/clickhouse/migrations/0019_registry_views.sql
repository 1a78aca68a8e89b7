-- A view has the columns that its table had when it was made: what operators configured, with the columns of 0017.

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
