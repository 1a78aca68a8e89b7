"""What the sink decides. Pure: no I/O, no clock, no randomness."""
