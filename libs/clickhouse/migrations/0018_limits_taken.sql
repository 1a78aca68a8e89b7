-- What became of the limits of transactions that a charger did not take.

ALTER TABLE $database.load_observations $on_cluster ADD COLUMN IF NOT EXISTS limit_command_id Nullable(String);
ALTER TABLE $database.load_observations $on_cluster ADD COLUMN IF NOT EXISTS limit_taken Nullable(Bool);
