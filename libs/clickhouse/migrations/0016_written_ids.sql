-- Tokens and their groups as they were entered, beside the folded ids.

ALTER TABLE $database.registry_tokens $on_cluster ADD COLUMN IF NOT EXISTS written String;
ALTER TABLE $database.registry_tokens $on_cluster ADD COLUMN IF NOT EXISTS group_written String;
