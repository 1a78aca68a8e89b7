-- What EVSEs that do not keep to their share draw.

ALTER TABLE $database.load_plans $on_cluster ADD COLUMN IF NOT EXISTS allocations.drawn_ma Array(Int64);
