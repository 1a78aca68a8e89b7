"""What the ledger decides of a station's commands. Pure: no I/O, no clock, no randomness."""
