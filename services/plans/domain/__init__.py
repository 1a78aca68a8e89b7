"""What the ledger of a plan decides. Pure: no I/O, no clock, no randomness."""
