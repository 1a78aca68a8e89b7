-- Which fields the hash of a document about a charge is over: proto_schemas/hashes/. Documents that do not say have 1.

ALTER TABLE $database.billing_cdrs $on_cluster ADD COLUMN IF NOT EXISTS hash_version Int32 DEFAULT 1 AFTER hash;

-- In the same place as in the table that it feeds.
ALTER TABLE $database.billing_cdrs_feed $on_cluster ADD COLUMN IF NOT EXISTS hash_version Int32 DEFAULT 1 AFTER hash;
