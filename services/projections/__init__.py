"""Latest states of sessions, charge records and stations, for consumers that want one record per key."""
